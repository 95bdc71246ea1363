"""Heads: small classifiers trained on bottlenecks."""
