"""PyTorch's own sample inputs of an operator, as functions of tensors alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import OpInfo
from torch.utils import _pytree as pytree

MOST = 12  # samples of one operator that are run, evenly spaced among those that PyTorch gives
SEED = 20260101


@dataclass(frozen=True)
class Sample:
    """One call of an operator. ``call`` takes the tensors and returns the tensors among the results."""

    operator: str
    number: int
    call: Callable[..., list[Tensor]]
    tensors: list[Tensor]

    @property
    def differentiable(self) -> list[Tensor]:
        return [tensor for tensor in self.tensors if tensor.requires_grad]


@cache
def operators() -> dict[str, OpInfo]:
    """PyTorch's entries by name: ``nn.functional.pad.reflect``."""
    found: dict[str, OpInfo] = {}
    for entry in op_db:
        if dtype_of(entry) is not None:
            assert entry.full_name not in found, f"{entry.full_name} stands twice in PyTorch's list"
            found[entry.full_name] = entry
    return dict(sorted(found.items()))


def dtype_of(entry: OpInfo) -> torch.dtype | None:
    """The dtype to test with: float32, else int64; None for what takes neither."""
    return next((dtype for dtype in (torch.float32, torch.int64) if entry.supports_dtype(dtype, "cpu")), None)


def samples_of(name: str, most: int = MOST) -> Iterator[Sample]:
    """Up to ``most`` samples, always the same ones."""
    entry = operators()[name]
    given = list(given_samples(entry))
    chosen = range(len(given)) if len(given) <= most else [i * len(given) // most for i in range(most)]
    for number in chosen:
        yield sample_from(entry, number, given[number])


def first_samples(name: str, count: int) -> Iterator[Sample]:
    """The first ones, without making the others."""
    entry = operators()[name]
    for number, given in enumerate(islice(given_samples(entry), count)):
        yield sample_from(entry, number, given)


def given_samples(entry: OpInfo) -> Iterator[Any]:
    """PyTorch's samples, as PyTorch gives them."""
    dtype = dtype_of(entry)
    assert dtype is not None, "operators without a dtype are left out"
    torch.manual_seed(SEED)
    with_gradient = entry.supports_autograd and dtype.is_floating_point
    yield from entry.sample_inputs("cpu", dtype, requires_grad=with_gradient)


def sample_from(entry: OpInfo, number: int, given: Any) -> Sample:
    """Takes the tensors out of a sample's arguments, wherever they stand in them."""
    leaves, structure = pytree.tree_flatten((given.input, given.args, given.kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    # The samples of one operator may share memory, or need a gradient without being a leaf.
    tensors = [leaves[i].detach().clone().requires_grad_(leaves[i].requires_grad) for i in places]

    def call(*operands: Tensor) -> list[Tensor]:
        filled = list(leaves)
        for i, operand in zip(places, operands, strict=True):
            filled[i] = operand
        input, args, kwargs = pytree.tree_unflatten(filled, structure)
        results = pytree.tree_leaves(entry.op(input, *args, **kwargs))
        return [in_parts(leaf) for leaf in results if isinstance(leaf, Tensor)]

    return Sample(entry.full_name, number, call, tensors)


def in_parts(result: Tensor) -> Tensor:
    """A complex result as its real and imaginary parts: a program holds both."""
    return torch.view_as_real(result.resolve_conj()) if result.is_complex() else result


def with_gradients(sample: Sample) -> Callable[..., list[Tensor]]:
    """The results, and the gradients of the float ones by every operand that has one, for fixed incoming gradients."""

    def differentiate(*operands: Tensor) -> list[Tensor]:
        results = sample.call(*operands)
        ends = [result for result in results if result.requires_grad]
        incoming = [((torch.arange(end.numel()) % 7 - 3.0) * 0.5).reshape(end.shape).to(end.dtype) for end in ends]
        wanted = [operand for operand in operands if operand.requires_grad]
        found = torch.autograd.grad(ends, wanted, incoming, allow_unused=True)
        return [*(result.detach() for result in results), *(gradient for gradient in found if gradient is not None)]

    return differentiate
