"""The model that is served: where bundles are kept, prediction, and another model in its place."""
