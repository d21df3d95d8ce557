"""The deployed side: a BentoML service that predicts, and audits of the model it serves. Needs no PyTorch."""
