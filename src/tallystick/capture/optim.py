"""What a user writes as ``ts.optim``: optimizers, learning-rate schedules, averages of weights."""

from tallystick.capture.optimizers.adam import SGD, Adam, AdamW, NAdam, RAdam
from tallystick.capture.optimizers.ema import EMA
from tallystick.capture.optimizers.muon import Muon
from tallystick.capture.optimizers.optimizer import Optimizer
from tallystick.capture.optimizers.others import Adafactor, Adagrad, Lion, RMSprop
from tallystick.capture.optimizers.schedules import (
    Schedule,
    exponential,
    multi_step,
    one_cycle,
    warmup_constant,
    warmup_cosine,
    warmup_inverse_sqrt,
    warmup_linear,
    warmup_polynomial,
)

__all__ = [
    "EMA",
    "SGD",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Lion",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Schedule",
    "exponential",
    "multi_step",
    "one_cycle",
    "warmup_constant",
    "warmup_cosine",
    "warmup_inverse_sqrt",
    "warmup_linear",
    "warmup_polynomial",
]
