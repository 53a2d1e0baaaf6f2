"""What the benchmarks share: running PyTorch as a user would, timing both sides in turn, printing what was measured."""
