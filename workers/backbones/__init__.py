"""Pretrained networks without their classifier. TensorFlow is imported only here (and in heads)."""
