"""Negative log-likelihood and cross-entropy over every shape of scores, with weights, smoothing and ignored labels."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lowered_operators import compare, gradients

CLASSES = 4
WEIGHTS = torch.tensor([0.5, 1.5, 0.0, 2.0])
SHAPES = [(CLASSES,), (5, CLASSES), (3, CLASSES, 2), (2, CLASSES, 3, 2), (2, CLASSES, 2, 1, 2)]

# Whether classes have weights, which label is ignored, and by how much labels are smoothed.
KINDS = [(False, None, 0.0), (True, -100, 0.0), (True, 1, 0.2), (False, -100, 0.2), (True, None, 0.2)]


def scores(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3)).requires_grad_()


def labels(shape: tuple[int, ...], ignored: int | None = None) -> Tensor:
    """One label for each of the scores' places; every second one is ignored if a number is given for that."""
    places = shape[2:] if len(shape) == 1 else shape[:1] + shape[2:]
    made = torch.randint(0, CLASSES, places, generator=torch.Generator().manual_seed(4))
    if ignored is not None and made.dim():
        made.view(-1)[::2] = ignored
    return made


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_labels(shape: tuple[int, ...], reduction: str) -> None:
    dim = 0 if len(shape) == 1 else 1
    for weighted, ignored, smoothing in KINDS:
        weight, target = (WEIGHTS if weighted else None), labels(shape, ignored)
        options = {"weight": weight, "ignore_index": -100 if ignored is None else ignored, "reduction": reduction}

        def function(
            x: Tensor, smoothing: float = smoothing, target: Tensor = target, options: dict = options
        ) -> Tensor:
            if smoothing:
                return F.cross_entropy(x, target, label_smoothing=smoothing, **options)
            return F.nll_loss(x.log_softmax(dim), target, **options)

        compare(gradients(function), scores(shape), rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_probabilities(shape: tuple[int, ...], reduction: str) -> None:
    target = scores(shape).detach().softmax(0 if len(shape) == 1 else 1).requires_grad_()
    for weight, smoothing in ((None, 0.0), (WEIGHTS, 0.2)):
        options = {"weight": weight, "label_smoothing": smoothing, "reduction": reduction}
        compare(
            gradients(lambda x, p, o=options: F.cross_entropy(x, p, **o)), scores(shape), target, rtol=1e-5, atol=3e-6
        )


def test_a_mean_over_nothing_but_ignored_labels_is_not_a_number() -> None:
    """And its gradient is 0, as in PyTorch."""
    target = torch.full((3,), -100)
    compare(gradients(lambda x: F.cross_entropy(x, target)), scores((3, CLASSES)))
