"""The folder of photographs: its images, labels and splits, and what would spoil a run.

Opens no image itself, and writes nothing.
"""
