"""The files in shared storage: where they lie, what they hold, how they are written whole.

Never imports anything else of `workers` but `workers.errors`.
"""
