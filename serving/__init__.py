"""The deployed side: a BentoML service that predicts and audits the model it serves. Needs no PyTorch."""
