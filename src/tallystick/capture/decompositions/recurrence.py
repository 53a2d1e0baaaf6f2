"""Recurrent layers over rows of different lengths, with masks instead of packing.

Every row is as long as the longest may be, T. Past its end a row's state stays as it is, so that the last state is the
one at its end; backwards, it stays the first state until its end is reached. Axes: T time, B rows, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

States = tuple[Tensor, ...]
Cell = Callable[[Tensor, States, Sequence[Tensor], bool], States]


def lstm_cell(gates: Tensor, state: States, weights: Sequence[Tensor], biased: bool) -> States:
    """One step of an LSTM, of what the input gives to its gates. State: h (B, H or P), c (B, H)."""
    h, c = state
    recurrent = weights[-1] if len(weights) in (3, 5) else None
    gates = gates + torch.nn.functional.linear(h, weights[1], weights[3] if biased else None)
    take, keep, new, show = gates.chunk(4, -1)
    c = torch.sigmoid(keep) * c + torch.sigmoid(take) * torch.tanh(new)
    h = torch.sigmoid(show) * torch.tanh(c)
    return (h if recurrent is None else h @ recurrent.T), c


def gru_cell(gates: Tensor, state: States, weights: Sequence[Tensor], biased: bool) -> States:
    """One step of a GRU. State: h (B, H)."""
    (h,) = state
    reset, update, new = gates.chunk(3, -1)
    of_reset, of_update, of_new = torch.nn.functional.linear(h, weights[1], weights[3] if biased else None).chunk(3, -1)
    update = torch.sigmoid(update + of_update)
    new = torch.tanh(new + torch.sigmoid(reset + of_reset) * of_new)
    return (new + update * (h - new),)


def plain_cell(activation: Callable[[Tensor], Tensor]) -> Cell:
    """One step of a plain recurrent network. State: h (B, H)."""

    def cell(gates: Tensor, state: States, weights: Sequence[Tensor], biased: bool) -> States:
        return (activation(gates + torch.nn.functional.linear(state[0], weights[1], weights[3] if biased else None)),)

    return cell


def layers(
    cell: Cell,
    rows: Tensor,
    lengths: Tensor,
    first: Sequence[Tensor],
    weights: Sequence[Tensor],
    biased: bool,
    count: int,
    dropout: float,
    training: bool,
    both_ways: bool,
) -> tuple[Tensor, list[Tensor]]:
    """Several layers, in one or both directions. Returns the rows (zero past their ends) and the last states.

    Shapes: rows (T, B, X); ``first``, one tensor per state, (layers * directions, B, H), and so are the last ones.
    ``weights`` are PyTorch's, flat: per layer and direction w_ih, w_hh, b_ih and b_hh if biased, w_hr if projected.
    """
    directions = 2 if both_ways else 1
    share = len(weights) // (count * directions)
    inside = torch.arange(rows.shape[0]).unsqueeze(1) < lengths
    last: list[States] = []
    for layer in range(count):
        found: list[Tensor] = []
        for direction in range(directions):
            number = layer * directions + direction
            own = weights[number * share : (number + 1) * share]
            state = tuple(part[number] for part in first)
            out, state = _pass(cell, rows, inside, state, own, biased, direction == 1)
            found.append(out)
            last.append(state)
        rows = torch.cat(found, -1) if both_ways else found[0]
        if dropout and training and layer < count - 1:
            rows = torch.nn.functional.dropout(rows, dropout)
    return rows, [torch.stack(parts) for parts in zip(*last, strict=True)]


def _pass(
    cell: Cell,
    rows: Tensor,
    inside: Tensor,
    state: States,
    weights: Sequence[Tensor],
    biased: bool,
    backwards: bool,
) -> tuple[Tensor, States]:
    """One direction of one layer: its outputs (T, B, H), zero past the ends, and its last state."""
    gates = torch.nn.functional.linear(rows, weights[0], weights[2] if biased else None)
    outputs: list[Tensor] = []
    times = range(rows.shape[0])
    for t in reversed(times) if backwards else times:
        here = inside[t].unsqueeze(-1)
        after = cell(gates[t], state, weights, biased)
        state = tuple(torch.where(here, new, old) for new, old in zip(after, state, strict=True))
        outputs.append(torch.where(here, state[0], 0.0))
    return torch.stack(outputs[::-1] if backwards else outputs), state
