"""Every operator of PyTorch on PyTorch's own samples: captured, run, and compared."""
