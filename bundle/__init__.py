"""The deployed format: manifest, ONNX checks, runtime sessions and signatures. No PyTorch."""
