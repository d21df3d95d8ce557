"""Training of robust classifiers: data, losses, methods and the loop."""
