"""What cannot be captured because a number or a shape would depend on data, and what can be written instead.

A program runs the same kernels over the same shapes in every step, whatever the values are: that is what makes its work
known beforehand, and every step of it something to dispute.
"""

from __future__ import annotations

from torch._ops import OpOverload

_NUMBERS = (
    "takes a number out of a tensor (item, tolist, int, float, bool, if, while, assert, range), which depends on data: "
    "leave it a tensor; instead of choosing with if, compute both and choose with torch.where"
)
_SELECTIONS = (
    "selects as many elements as data decide (x[mask], nonzero, torch.where(mask), masked_select): keep all of them "
    "and replace or weigh those that do not count, as in torch.where(mask, x, 0.0) or (x * mask).sum() / mask.sum(). "
    "Rows of experts: sort them by expert and use torch.nn.functional.grouped_mm"
)
_VALUES = (
    "has as many results as data have values: count a fixed range of values instead, as in "
    "(x.unsqueeze(-1) == torch.arange(n)).sum(0)"
)
_LENGTHS = (
    "makes a tensor as long as its values say: give the length, as output_size= does for repeat_interleave, or spread "
    "with expand and cut with torch.where"
)
_OTHER = (
    "makes Python, or a shape, depend on the values of tensors: choose with torch.where, or mask instead of selecting"
)
_BY_NAME: dict[str, str] = {
    **dict.fromkeys(("_local_scalar_dense", "item", "is_nonzero", "equal", "allclose"), _NUMBERS),
    **dict.fromkeys(("nonzero", "index", "masked_select", "argwhere", "nonzero_numpy"), _SELECTIONS),
    **dict.fromkeys(
        ("_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive", "bincount"), _VALUES
    ),
    "repeat_interleave": _LENGTHS,
}


def explain(operator: OpOverload) -> str:
    """Why an operator whose result depends on data is refused, and what to write instead."""
    name = operator._schema.name.partition("::")[2]
    return f"{_BY_NAME.get(name, _OTHER)} ({operator})"
