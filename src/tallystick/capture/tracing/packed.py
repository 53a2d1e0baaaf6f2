"""Packed sequences without packing: how many rows there are in one depends on data, and shapes must not.

While the user's code is traced, ``pack_padded_sequence`` makes a ``PackedSequence`` whose data are ``PaddedRows``: the
padded tensor, with the lengths. PyTorch's own modules and functions carry it on; the few functions that look inside
are exchanged here (``CALLS``), and every other use of it is refused.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NoReturn

import torch
import torch.nn.functional as F  # noqa: N812
from torch import _VF, Tensor

from tallystick.capture.decompositions.recurrence import Cell, gru_cell, layers, lstm_cell, plain_cell
from tallystick.capture.tracing.provenance import here
from tallystick.errors import CaptureError


class _OfData:
    """Something that has no fixed shape inside a program: unknown uses are refused, not tried."""

    what: str

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
        cls.refuse(getattr(func, "__name__", str(func)))

    @classmethod
    def refuse(cls, use: str) -> NoReturn:
        raise CaptureError(
            f"{use} is used on {cls.what}{here()}, whose number depends on data: unpack them first, with "
            "pad_packed_sequence(..., total_length=x.shape[1]), and leave the padding out by a mask, as in "
            "torch.arange(total_length) < lengths.unsqueeze(1)"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self.refuse(name)


class PaddedRows(_OfData):
    """Stands for the data of a packed sequence: ``padded`` (T, B, ...), of which ``lengths`` (B,) count.

    Lengths that PyTorch refuses can only be seen while the program runs: then all that comes of them is NaN.
    """

    what = "the rows of a packed sequence"

    def __init__(self, padded: Tensor, lengths: Tensor) -> None:
        self.padded, self.lengths = padded, lengths
        self.dtype, self.device, self.is_cuda = padded.dtype, padded.device, False
        self.requires_grad = padded.requires_grad

    def poisoned(self, x: Tensor) -> Tensor:
        """x, or NaN everywhere if a length is not from 1 to T, or one is longer than that of the row before."""
        lengths = self.lengths
        valid = (lengths > 0).all() & (lengths <= self.padded.shape[0]).all() & (lengths[1:] <= lengths[:-1]).all()
        return torch.where(valid, x, torch.nan)

    def dim(self) -> int:
        return self.padded.dim() - 1

    def size(self, dim: int) -> int:
        """The extent of an axis that is not that of the rows."""
        if dim in (0, -self.dim()):
            self.refuse(f"size({dim})")
        return self.padded.size(dim if dim < 0 else dim + 1)

    def to(self, *args: Any, **kwargs: Any) -> PaddedRows:
        moved = self.padded.to(*args, **kwargs)
        return self if moved is self.padded else PaddedRows(moved, self.lengths)


def _arithmetic(apply: Callable[[Any, Any], Tensor]) -> Callable[[PaddedRows, Any], PaddedRows]:
    """An operator between rows and numbers, other rows of the same lengths, or a tensor for every row."""

    def run(self: PaddedRows, other: Any) -> PaddedRows:
        if isinstance(other, Tensor) and other.dim() >= self.dim():
            self.refuse(apply.__name__)
        return PaddedRows(apply(self.padded, getattr(other, "padded", other)), self.lengths)

    return run


for _name in ("add", "mul", "sub", "truediv", "pow"):
    setattr(PaddedRows, f"__{_name}__", _arithmetic(getattr(operator, _name)))
for _name in ("add", "mul"):
    setattr(PaddedRows, f"__r{_name}__", _arithmetic(getattr(operator, _name)))


class Longest(int):
    """How long a row may be: all that is known of the longest row of a batch."""


class RowsPerStep(_OfData):
    """Stands for the batch sizes of a packed sequence. The first one is the number of rows."""

    what = "the batch sizes of a packed sequence"

    def __init__(self, rows: PaddedRows) -> None:
        self.rows = rows
        self.device = torch.device("cpu")
        self.is_cuda = False

    def __getitem__(self, number: Any) -> int:
        if number != 0:
            self.refuse(f"[{number}]")
        return self.rows.padded.shape[1]

    def size(self, dim: int = 0) -> int:
        return Longest(self.rows.padded.shape[0])


def pack(padded: Tensor, lengths: Tensor, batch_first: bool) -> tuple[PaddedRows, RowsPerStep]:
    padded = padded.transpose(0, 1) if batch_first else padded
    if lengths.shape != (padded.shape[1],):
        raise ValueError(f"there are {padded.shape[1]} sequences, and lengths of shape {tuple(lengths.shape)}")
    # What lies behind a row's end is nobody's number: it must not reach a sum, and neither must a NaN in it.
    rows = PaddedRows(torch.where(_inside(padded, lengths), padded, torch.zeros((), dtype=padded.dtype)), lengths)
    return rows, RowsPerStep(rows)


def unpack(
    data: Any, batch_sizes: Any, batch_first: bool, padding_value: float, total_length: int
) -> tuple[Tensor, Tensor]:
    if isinstance(total_length, Longest):
        raise CaptureError(
            f"pad_packed_sequence{here()} makes a tensor as long as the longest row of a batch, which depends on data: "
            f"give it a length, as in pad_packed_sequence(..., total_length=x.shape[1]), here {int(total_length)}"
        )
    padded = data.poisoned(data.padded) if data.dtype.is_floating_point else data.padded
    inside = _inside(padded, data.lengths)
    padded = torch.where(inside, padded, torch.full((), padding_value, dtype=padded.dtype))
    missing = total_length - padded.shape[0]
    if missing:
        filled = torch.full((missing, *padded.shape[1:]), padding_value, dtype=padded.dtype)
        padded = torch.cat([padded, filled])
    return padded.transpose(0, 1) if batch_first else padded, data.lengths


def _inside(padded: Tensor, lengths: Tensor) -> Tensor:
    """Whether an element is one of its row. Shapes: (T, B, ...), (B,) -> (T, B, 1, ...)."""
    inside = torch.arange(padded.shape[0]).unsqueeze(1) < lengths
    return inside.reshape(list(inside.shape) + [1] * (padded.dim() - 2))


def recurrent(cell: Cell, original: Callable[..., Any]) -> Callable[..., Any]:
    """A recurrent network over ``PaddedRows``, as PyTorch calls it for packed ones; over anything else, PyTorch's."""

    def run(*arguments: Any) -> Any:
        if not isinstance(arguments[0], PaddedRows):
            return original(*arguments)
        rows, _, first, *rest = arguments
        several = isinstance(first, (list, tuple))
        states = [rows.poisoned(state) for state in (first if several else [first])]
        padded, last = layers(cell, rows.padded, rows.lengths, states, *rest)
        return (PaddedRows(padded, rows.lengths), *last)

    return run


def by_rows(original: Callable[..., Any]) -> Callable[..., Any]:
    """A function that makes a row of a row: of padded rows as of packed ones."""

    def run(*args: Any, **kwargs: Any) -> Any:
        packed = [a for a in (*args, *kwargs.values()) if isinstance(a, PaddedRows)]
        if not packed:
            return original(*args, **kwargs)
        if min(rows.dim() for rows in packed) < 2 and original in _OF_THE_LAST_AXIS:
            packed[0].refuse(original.__name__)
        padded = original(
            *(a.padded if isinstance(a, PaddedRows) else a for a in args),
            **{name: a.padded if isinstance(a, PaddedRows) else a for name, a in kwargs.items()},
        )
        return PaddedRows(padded, packed[0].lengths)

    return run


_OF_THE_LAST_AXIS = (F.linear, F.layer_norm)
_BY_ROWS: tuple[Callable[..., Any], ...] = (
    F.dropout, F.embedding, F.gelu, F.relu, F.silu, F.linear, F.layer_norm,
    torch.embedding, torch.relu, torch.sigmoid, torch.tanh,
)  # fmt: skip

CALLS: dict[Any, Callable[..., Any]] = {
    **{function: by_rows(function) for function in _BY_ROWS},
    _VF._pack_padded_sequence: pack,
    _VF._pad_packed_sequence: unpack,
    _VF.gru: recurrent(gru_cell, _VF.gru),
    _VF.lstm: recurrent(lstm_cell, _VF.lstm),
    _VF.rnn_relu: recurrent(plain_cell(torch.relu), _VF.rnn_relu),
    _VF.rnn_tanh: recurrent(plain_cell(torch.tanh), _VF.rnn_tanh),
}
