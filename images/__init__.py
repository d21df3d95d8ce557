"""What a picture is: files decoded, 8-bit pixels, bit-planes, labelled sets and PNG files. No PyTorch."""
