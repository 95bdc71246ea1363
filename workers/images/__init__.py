"""From the bytes of one file to the pixels of a backbone; never a batch, a run or a network."""
