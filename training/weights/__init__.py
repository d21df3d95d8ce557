"""What training does with a model's weights and statistics besides stepping along the gradient."""
