"""Agreement on one value a height, over opaque digests (arXiv:1807.04938)."""
