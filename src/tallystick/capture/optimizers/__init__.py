"""Optimizers as descriptions and the arithmetic of one update."""
