"""The small classifier on bottlenecks: fitting, judging and keeping it; never TensorFlow."""
