"""Decides what to send next. Touches no pixels and never imports TensorFlow."""
