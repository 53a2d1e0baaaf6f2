"""Step functions: what one step of a training job, a generation or any program is, in PyTorch."""
