"""The embedded stack: a server and workers for a storage without a broker; no rack needs it."""
