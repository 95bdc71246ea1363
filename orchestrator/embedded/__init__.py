"""A server and workers of our own, for whoever has no broker; never needed on a rack."""
