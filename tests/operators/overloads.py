"""What capture makes of every ATen operator: lowered, written out in terms of others, drawn, or refused.

The list has PyTorch's core operators, those that capture lowers or writes out, and those that the samples reach. How
many kernels an operator takes, and what it is written out in, is found by capturing it alone, on the arguments of the
first sample that reaches it.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from lowered_operators import capture_function
from operators.samples import Sample
from operators.trial import first_line
from tallystick.capture.decompositions.tables import CORE, UNDER_AUTOGRAD
from tallystick.capture.registry import lowerings
from tallystick.capture.tracing.draws import DRAWS
from tallystick.errors import CaptureError

NAMESPACES = ("aten", "prims")
ELSEWHERE = ("out", "backend", "quantized", "mkldnn", "cudnn", "miopen", "sparse", "nested", "foreach", "fused")

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Arrivals(TorchDispatchMode):
    """Keeps the arguments with which each operator is reached first, below autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[OpOverload, Arguments] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func not in self.seen and func.namespace in NAMESPACES and has_elements((args, kwargs, result)):
            self.seen[func] = pytree.tree_map(copied, (args, kwargs or {}))
        return result


def has_elements(values: Any) -> bool:
    return all(
        leaf.layout is torch.strided and leaf.numel() for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor)
    )


def copied(leaf: Any) -> Any:
    return leaf.detach().clone() if isinstance(leaf, Tensor) else leaf


def arrivals(sample: Sample, function: Callable[..., list[Tensor]]) -> dict[OpOverload, Arguments]:
    """What a function reaches, in PyTorch itself."""
    with Arrivals() as mode, contextlib.suppress(Exception):
        function(*sample.tensors)
    return mode.seen


def known_overloads() -> list[OpOverload]:
    """PyTorch's core operators, and those that capture has a rule for."""
    core = []
    for name in torch.ops.aten:
        packet = getattr(torch.ops.aten, name)
        core += [getattr(packet, overload) for overload in packet.overloads()]
    core = [operator for operator in core if torch.Tag.core in operator.tags]
    return [*core, *lowerings(), *CORE, *UNDER_AUTOGRAD, *DRAWS]


def is_listed(operator: OpOverload) -> bool:
    """Whether an operator means anything without a second place to write to, and on dense tensors of a processor."""
    name = operator.name()
    mutates = operator._schema.is_mutable
    return operator.namespace in NAMESPACES and not mutates and not any(part in name for part in ELSEWHERE)


def describe(operator: OpOverload, arguments: Arguments | None) -> dict[str, Any]:
    """What the table says of an operator."""
    if operator in DRAWS:
        return {"is": "drawn", "sampled": arguments is not None}
    rule = "lowered" if operator in lowerings() else ""
    rule = "decomposed" if operator in CORE or operator in UNDER_AUTOGRAD else rule
    if arguments is None:
        return {"is": rule or "refused", "sampled": False}
    args, kwargs = arguments
    leaves, structure = pytree.tree_flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]

    def call(*tensors: Tensor) -> list[Tensor]:
        filled = list(leaves)
        for i, tensor in zip(places, tensors, strict=True):
            filled[i] = tensor
        own_args, own_kwargs = pytree.tree_unflatten(filled, structure)
        results = pytree.tree_leaves(operator(*own_args, **own_kwargs))
        return [result for result in results if isinstance(result, Tensor)]

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced, lowered = capture_function(call, *(leaves[i] for i in places))
    except CaptureError as error:
        return {"is": "refused", "sampled": True, "message": first_line(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        return {"is": rule or "refused", "sampled": True, "message": f"{type(error).__name__}: {first_line(error)}"}
    targets = {node.target for node in traced.graph.nodes if node.op == "call_function"}
    names = {target.name() for target in targets if isinstance(target, OpOverload)}
    if operator.name() in names and operator in lowerings():
        rule = "lowered"  # only certain forms of it are written out before
    parts = sorted({name.removeprefix("aten::").split(".")[0] for name in names})
    found = {"is": rule or "decomposed", "sampled": True, "kernels": len(lowered.program.kernels)}
    return found | ({"into": parts} if found["is"] == "decomposed" else {})
