"""Models as attacks see them: logits and gradients of a bundle, an ONNX file or a PyTorch module."""
