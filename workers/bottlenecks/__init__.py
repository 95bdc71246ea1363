"""From a batch of images to its bottleneck shard: fast, or one by one; never a label or a head."""
