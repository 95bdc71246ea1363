"""Starts Flower and TensorBoard; draws nothing itself."""
