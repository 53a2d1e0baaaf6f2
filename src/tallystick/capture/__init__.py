"""From plain PyTorch to a program."""
