"""What a picture is: 8-bit pixels, bit-planes, labelled sets and PNG files. No PyTorch."""
