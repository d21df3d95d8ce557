"""An ONNX classifier to the graph of its gradients, by reverse-mode differentiation of the graph itself. No PyTorch."""
