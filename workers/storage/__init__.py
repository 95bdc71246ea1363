"""The layout of shared storage and its file formats: storage is the truth."""
