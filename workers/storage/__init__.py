"""The files in shared storage: where they lie, what they hold, how they are written whole.

Of the rest of `workers` it imports only the errors, the key of a backbone and the recipe of
distortions.
"""
