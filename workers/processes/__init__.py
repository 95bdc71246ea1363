"""Child processes and what the machine can hold; never anything about images."""
