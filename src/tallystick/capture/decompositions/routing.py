"""What mixtures of experts are made of, with shapes that do not depend on data: grouped products and counting.

Rows that are sorted by expert make groups whose lengths are data. A program's shapes are not, so a grouped product has
to be written for every division of S rows into E groups at once:

- All rows by all experts, masked, costs E times the work of the rows' own experts.
- A matrix gathered for each row costs S copies of a matrix, and is a product of a vector at a time.
- **Blocks**, as here: every group is cut into blocks of B rows, its last one filled up with zeros. However the rows are
  divided there are at most (S - m) // B + m blocks, m = min(E, S), so that many are computed, each a dense product
  with the matrix of its one expert. No row is dropped. With B = ceil(S / E) the work is at most twice that of the
  rows themselves, and so are the matrices read; for one token (S = k rows) it is one matrix per row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._ops import OpOverload

from tallystick.errors import CaptureError

aten = torch.ops.aten


# GROUPED PRODUCTS
def grouped_mm(
    a: Tensor,
    b: Tensor,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """Products of E pairs of matrices; ``offs``, shape (E,), holds where each group ends in the dimension of length S.

    Shapes: (S, K) by (E, K, N) -> (S, N); (E, M, K) by (K, S) -> (M, S); (M, S) by (S, N) -> (E, M, N);
    without groups (E, M, K) by (E, K, N) -> (E, M, N). Rows behind the last group have product 0.
    """
    if bias is not None or out_dtype not in (None, a.dtype):
        raise CaptureError("grouped_mm is captured without bias and out_dtype; add the bias to its result")
    if offs is None:
        return torch.bmm(a, b)
    if a.dim() == 3:
        return rows_by_experts(b.t(), a.transpose(1, 2), offs).t()
    return rows_by_experts(a, b, offs) if b.dim() == 3 else rows_by_rows(a.t(), b, offs)


def rows_by_experts(x: Tensor, matrices: Tensor, offs: Tensor) -> Tensor:
    """Every row by its own expert's matrix. Shapes: x (S, K), matrices (E, K, N) -> (S, N)."""
    blocks = Blocks.of(offs, x.shape[0])
    products = torch.bmm(blocks.cut(x), matrices.index_select(0, blocks.expert))
    found = products.flatten(0, 1).index_select(0, blocks.slot)
    return torch.where(blocks.grouped.unsqueeze(1), found, 0.0)


def rows_by_rows(x: Tensor, y: Tensor, offs: Tensor) -> Tensor:
    """Every group's outer products, summed. Shapes: x (S, M), y (S, N) -> (E, M, N)."""
    blocks = Blocks.of(offs, x.shape[0])
    products = torch.bmm(blocks.cut(x).transpose(1, 2), blocks.cut(y))
    zeros = torch.zeros(offs.shape[0], x.shape[1], y.shape[1], dtype=products.dtype)
    return zeros.index_add(0, blocks.expert, products)


@dataclass(frozen=True)
class Blocks:
    """Where S grouped rows stand in blocks of B rows. See the top of this file."""

    expert: Tensor  # (blocks,) whose matrix a block takes
    row: Tensor  # (blocks, B) which row stands in a slot; any, where none does
    filled: Tensor  # (blocks, B) bool, whether a row stands there
    slot: Tensor  # (S,) where a row stands among all slots
    grouped: Tensor  # (S,) bool, whether a row is in a group at all

    @staticmethod
    def of(offs: Tensor, rows: int) -> Blocks:
        experts = offs.shape[0]
        end = offs.to(torch.int64)
        start = torch.cat([torch.zeros(1, dtype=torch.int64), end[:-1]])
        size = -(-rows // experts)
        groups = min(experts, rows)
        needed = (end - start + (size - 1)).div(size, rounding_mode="floor")
        last = needed.cumsum(0)
        first = last - needed

        block = torch.arange((rows - groups) // size + groups)
        expert = (last <= block.unsqueeze(1)).sum(1).clamp(max=experts - 1)
        within = (block - first[expert]).unsqueeze(1) * size + torch.arange(size)
        row = start[expert].unsqueeze(1) + within

        number = torch.arange(rows)
        group = (end <= number.unsqueeze(1)).sum(1)
        own = group.clamp(max=experts - 1)
        return Blocks(
            expert,
            row.clamp(max=rows - 1),
            row < end[expert].unsqueeze(1),
            first[own] * size + (number - start[own]),
            group < experts,
        )

    def cut(self, x: Tensor) -> Tensor:
        """Rows in their blocks, with zeros around them. Shapes: (S, n) -> (blocks, B, n)."""
        found = x.index_select(0, self.row.flatten()).unflatten(0, self.row.shape)
        return torch.where(self.filled.unsqueeze(2), found, 0.0)


# COUNTING
def histc(x: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements fall in each of equal intervals between two numbers. Shapes: (...) -> (bins,).

    Equal numbers stand for the smallest and the largest element.
    """
    low: Tensor | float = min
    high: Tensor | float = max
    if min == max:  # the interval that the data span
        least, most = aten.amin.default(x), aten.amax.default(x)
        single = least == most
        low, high = torch.where(single, least - 1, least), torch.where(single, most + 1, most)
    # PyTorch's own order of operations, which decides between two intervals.
    number = ((x.flatten() - low) * bins / (high - low)).to(torch.int64).clamp(max=bins - 1)
    inside = (x.flatten() >= low) & (x.flatten() <= high)
    return ((number == torch.arange(bins).unsqueeze(1)) & inside).sum(1).to(x.dtype)


ROUTING: dict[OpOverload, Callable] = {
    aten.histc.default: histc,
}
