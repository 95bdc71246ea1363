"""A trained model in the formats of other tools, written by a separate program with TensorFlow."""
