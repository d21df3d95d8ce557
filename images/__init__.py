"""What a picture is: 8-bit pixels, bit-planes, labelled sets, PNG files. No PyTorch."""
