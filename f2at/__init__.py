"""Train a robust image classifier, export it, serve it, and audit the deployed model on demand."""
