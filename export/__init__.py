"""From a checkpoint to a bundle, with the proof that its graphs compute what the model does."""
