"""What audits start from: a bundle or an ONNX file, opened as the model that the harness attacks."""
