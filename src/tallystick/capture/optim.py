"""What a user writes as ``ts.optim``: optimizers and learning-rate schedules."""

from tallystick.capture.optimizers import SGD, Adam, AdamW, Optimizer
from tallystick.capture.schedules import Schedule, warmup_cosine, warmup_linear

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "Schedule", "warmup_cosine", "warmup_linear"]
