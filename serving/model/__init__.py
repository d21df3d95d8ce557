"""The served model: bundle storage, prediction, and swapping in another model."""
