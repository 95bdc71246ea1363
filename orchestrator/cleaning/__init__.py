"""What is removed: runs by their names, and what no run needs."""
