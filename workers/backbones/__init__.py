"""Pretrained networks without their classifier: the table, the conversion, the loading.

TensorFlow is imported here and in `workers.exports` only, and only inside functions.
"""
