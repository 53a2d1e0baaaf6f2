"""The losses of ``torch.nn`` on a perceptron. Shapes of the data: x (rows, 8); targets below."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data import CLASSES, IGNORED, ROWS
from zoo.family import LAYERS, WIDTH, Family


def perceptron(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> nn.Sequential:
    """(N, 8) -> (N, CLASSES)."""
    inner = [part for _ in range(layers - 1) for part in (nn.Linear(width, width), nn.Tanh(), nn.Dropout(dropout))]
    return nn.Sequential(nn.Linear(8, width), nn.Tanh(), *inner, nn.Linear(width, CLASSES))


def points(seed: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Points and what a fixed linear function makes of them, (ROWS, 8) and (ROWS, CLASSES)."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((ROWS, 8)).astype(np.float32)
    return x, x @ draw.standard_normal((8, CLASSES)).astype(np.float32)


def labels() -> dict[str, np.ndarray]:
    x, scores = points()
    chosen = scores.argmax(1)
    chosen[::5] = IGNORED
    return {"x": x, "y": chosen}


def numbers() -> dict[str, np.ndarray]:
    x, scores = points()
    return {"x": x, "y": scores}


def yes_or_no() -> dict[str, np.ndarray]:
    x, scores = points()
    return {"x": x, "y": (scores > 0).astype(np.float32)}


def distributions() -> dict[str, np.ndarray]:
    x, scores = points()
    return {"x": x, "y": torch.from_numpy(scores).softmax(1).numpy()}


def of(criterion: nn.Module, log_probabilities: bool = False) -> Callable[..., Tensor]:
    """The loss function that hands a model's answers to a module of ``torch.nn``."""

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        answers = model(x)
        return criterion(answers.log_softmax(1) if log_probabilities else answers, y)

    return loss


CROSS_ENTROPY = nn.CrossEntropyLoss(ignore_index=IGNORED, label_smoothing=0.1)
FAMILIES = {
    "cross entropy, smoothed, with ignored labels": Family(perceptron, of(CROSS_ENTROPY), labels),
    "cross entropy with distributions": Family(perceptron, of(nn.CrossEntropyLoss()), distributions),
    "mean squared error": Family(perceptron, of(nn.MSELoss()), numbers),
    "mean absolute error": Family(perceptron, of(nn.L1Loss()), numbers),
    "binary cross entropy with logits": Family(perceptron, of(nn.BCEWithLogitsLoss()), yes_or_no),
    "Kullback-Leibler divergence": Family(perceptron, of(nn.KLDivLoss(reduction="batchmean"), True), distributions),
    "Huber": Family(perceptron, of(nn.HuberLoss(delta=0.5)), numbers),
    "smooth absolute error": Family(perceptron, of(nn.SmoothL1Loss(beta=0.5)), numbers),
}
