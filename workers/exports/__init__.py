"""A trained model in the formats of other tools, made by a program of its own with TensorFlow."""
