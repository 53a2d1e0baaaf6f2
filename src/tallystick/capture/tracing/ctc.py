"""Connectionist temporal classification, written out over the places of the target.

Source: Graves et al., "Connectionist Temporal Classification", ICML'06, equations 6 to 15, in logarithms. The paths
that arrive in a place, at all times, are one running sum of those that arrived in the two places before. The lengths
may be data: a row's loss is read where its target ends when its input ends.

Axes: T time steps, N rows of the batch, C classes, S targets, L = 2 S + 1 places: targets with blanks around them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from tallystick.capture.tracing.provenance import here
from tallystick.capture.tracing.selection import Selection
from tallystick.errors import CaptureError

Lengths = Tensor | Sequence[int] | int
IMPOSSIBLE = -math.inf  # the logarithm of a probability of 0


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """The loss of ``torch.nn.functional.ctc_loss``, and its gradient.

    Shapes: log_probs (T, N, C) or (T, C); targets (N, S) padded at the end, (S,) for one row, or all one after the
    other if the target lengths are numbers; lengths (N,) -> (N,), or () if reduced or for one row.
    Raises: CaptureError for targets one after the other whose lengths are data.
    """
    single = log_probs.dim() == 2
    batch = log_probs.unsqueeze(1) if single else log_probs
    rows = batch.shape[1]
    inputs, wanted = as_lengths(input_lengths, rows), as_lengths(target_lengths, rows)
    targets = padded_targets(targets, target_lengths, wanted, rows)
    loss = _CTC.apply(batch, targets, inputs, wanted, blank, zero_infinity)
    if zero_infinity:
        loss = torch.where(loss == math.inf, 0.0, loss)
    if reduction == "mean":
        return (loss / wanted.clamp(min=1)).mean()
    if reduction == "sum":
        return loss.sum()
    return loss.squeeze(0) if single else loss


def ctc_loss_by_number(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: int = 1,
    zero_infinity: bool = False,
) -> Tensor:
    """``torch.ctc_loss``, which counts the reductions."""
    name = ("none", "mean", "sum")[reduction]
    return ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, name, zero_infinity)


def as_lengths(lengths: Lengths, rows: int) -> Tensor:
    given = lengths if isinstance(lengths, Tensor) else torch.tensor(lengths)
    return given.long().reshape(-1).expand(rows)


def padded_targets(targets: Tensor, lengths: Lengths, wanted: Tensor, rows: int) -> Tensor:
    """One row of targets for each row of the batch; what is behind a row's length does not matter."""
    if isinstance(targets, Selection):
        return targets.rows(wanted)
    if targets.dim() == 2:
        return targets.long()
    if rows == 1:
        return targets.long().unsqueeze(0)
    known = known_lengths(lengths)
    starts = [sum(known[:row]) for row in range(rows)]
    last = max(targets.shape[0] - 1, 0)
    longest = max(1, *known)
    places = torch.tensor([[min(start + i, last) for i in range(longest)] for start in starts], dtype=torch.int64)
    return targets.long()[places.reshape(-1)].reshape(rows, longest)


def known_lengths(lengths: Lengths) -> list[int]:
    try:
        numbers = lengths.tolist() if isinstance(lengths, Tensor) else lengths
        return [int(length) for length in ([numbers] if isinstance(numbers, int) else numbers)]
    except (CaptureError, RuntimeError) as error:
        raise CaptureError(
            f"ctc_loss{here()} has its targets one after the other, and target_lengths are data: a program cannot cut "
            "by data. Pass targets of shape (N, S), padded at the end, or target_lengths as a tuple of numbers"
        ) from error


class _CTC(torch.autograd.Function):
    """Minus the logarithm of the probability of every row's targets. Shapes: (T, N, C), (N, S), (N,), (N,) -> (N,)."""

    @staticmethod
    def forward(
        ctx: Any,
        log_probs: Tensor,
        targets: Tensor,
        inputs: Tensor,
        wanted: Tensor,
        blank: int,
        zero_infinity: bool,
    ) -> Tensor:
        labels, skips = labels_and_skips(targets, wanted, blank)
        emitted = log_probs.permute(1, 2, 0).gather(1, labels.unsqueeze(2).expand(*labels.shape, log_probs.shape[0]))
        alphas = forward_variables(emitted, skips)
        rows, end = torch.arange(len(labels)), (inputs - 1).clamp(min=0)
        last = alphas[rows, 2 * wanted, end]
        before = torch.where(wanted > 0, alphas[rows, (2 * wanted - 1).clamp(min=0), end], IMPOSSIBLE)
        nothing = torch.where(wanted > 0, math.inf, 0.0)  # the loss of a row without input
        loss = torch.where(inputs > 0, -log_sum(last, before), nothing)
        ctx.save_for_backward(log_probs, labels, skips, emitted, alphas, loss, inputs, wanted)
        ctx.zero_infinity = zero_infinity
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """By PyTorch's formula, which takes it that probabilities sum to 1: p minus the share of the paths."""
        log_probs, labels, skips, emitted, alphas, loss, inputs, wanted = ctx.saved_tensors
        betas = backward_variables(emitted, skips, inputs, wanted)
        possible = emitted > IMPOSSIBLE
        both = alphas + betas - torch.where(possible, emitted, 0.0)
        share = torch.where(possible, (both + loss.reshape(-1, 1, 1)).exp(), 0.0)
        classes = torch.zeros_like(log_probs.permute(1, 2, 0))
        paths = classes.scatter_add(1, labels.unsqueeze(2).expand(share.shape), share).permute(2, 0, 1)
        slope = log_probs.exp() - paths
        infinite = (loss == math.inf).unsqueeze(1)
        slope = torch.where(infinite, 0.0 if ctx.zero_infinity else math.nan, slope)
        lasts = (torch.arange(slope.shape[0]).unsqueeze(1) < inputs).unsqueeze(2)
        return torch.where(lasts, slope * grads[0].unsqueeze(1), 0.0), None, None, None, None, None


def labels_and_skips(targets: Tensor, wanted: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    """Every place's class, and whether the blank before it may be left out."""
    rows, most = targets.shape
    counts = torch.arange(most) < wanted.unsqueeze(1)
    targets = torch.where(counts, targets, blank)
    blanks = torch.full((rows, most), blank)
    labels = F.pad(torch.stack([blanks, targets], 2).reshape(rows, 2 * most), (0, 1), value=blank)
    two_before = F.pad(labels, (2, 0), value=blank)[:, : labels.shape[1]]
    return labels, (labels != blank) & (labels != two_before)


def forward_variables(emitted: Tensor, skips: Tensor) -> Tensor:
    """The paths from the start that are in a place at a time. Shapes: emitted (N, L, T), skips (N, L) -> (N, L, T)."""
    nowhere = torch.full_like(emitted[:, 0], IMPOSSIBLE)
    places = [nowhere, nowhere]
    for place in range(emitted.shape[1]):
        start = 0.0 if place < 2 else IMPOSSIBLE
        one = F.pad(places[-1], (1, -1), value=start)
        two = F.pad(torch.where(skips[:, place : place + 1], places[-2], IMPOSSIBLE), (1, -1), value=IMPOSSIBLE)
        places.append(running(emitted[:, place], one, two))
    return torch.stack(places[2:], 1)


def backward_variables(emitted: Tensor, skips: Tensor, inputs: Tensor, wanted: Tensor) -> Tensor:
    """The paths from a place at a time to the target's end when the input ends. Shapes: as above."""
    backwards = emitted.flip(2)
    nowhere = torch.full_like(emitted[:, 0], IMPOSSIBLE)
    places = [nowhere, nowhere]
    time = emitted.shape[2] - 1 - torch.arange(emitted.shape[2])
    ends_now = time == (inputs - 1).unsqueeze(1)
    for place in reversed(range(emitted.shape[1])):
        is_end = ((2 * wanted == place) | (2 * wanted - 1 == place)).unsqueeze(1)
        one = F.pad(places[-1], (1, -1), value=IMPOSSIBLE)
        one = torch.where(ends_now & is_end, 0.0, one)
        two = nowhere
        if place + 2 < emitted.shape[1]:
            leap = skips[:, place + 2 : place + 3]
            two = F.pad(torch.where(leap, places[-2], IMPOSSIBLE), (1, -1), value=IMPOSSIBLE)
        places.append(running(backwards[:, place], one, two))
    return torch.stack(places[:1:-1], 1).flip(2)


def running(emitted: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """Paths that stay, or arrive in two ways. Shapes: (N, T) each."""
    if emitted.shape[1] == 1:
        return log_sum(one, two) + emitted
    return torch.ops.tallystick.running_paths(emitted, one, two)


def log_sum(*parts: Tensor) -> Tensor:
    """The logarithm of a sum of probabilities, of which all may be 0."""
    most = parts[0]
    for part in parts[1:]:
        most = torch.maximum(most, part)
    base = torch.where(most == IMPOSSIBLE, 0.0, most)
    total = (parts[0] - base).exp()
    for part in parts[1:]:
        total = total + (part - base).exp()
    return total.log() + base


# THE OPERATOR
_LIBRARY = torch.library.Library("tallystick", "FRAGMENT")
_LIBRARY.define("running_paths(Tensor emitted, Tensor one, Tensor two) -> Tensor")


@torch.library.impl(_LIBRARY, "running_paths", "Meta")
def _running_shape(emitted: Tensor, one: Tensor, two: Tensor) -> Tensor:
    return torch.empty(emitted.shape, dtype=torch.float32, device="meta")


@torch.library.impl(_LIBRARY, "running_paths", "CPU")
def _running_values(emitted: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """x[t] = log(exp(x[t - 1]) + exp(one[t]) + exp(two[t])) + emitted[t], from nothing on. Shapes: (N, T) each."""
    paths = torch.full_like(emitted[:, 0], IMPOSSIBLE)
    times = []
    for t in range(emitted.shape[1]):
        paths = log_sum(paths, one[:, t], two[:, t]) + emitted[:, t]
        times.append(paths)
    return torch.stack(times, 1)
