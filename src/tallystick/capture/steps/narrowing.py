"""Tensors stored narrow: rounding them, widening them, and integers with scales."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, fx

from tallystick.capture.inputs import Input, Role, from_array, from_tensor
from tallystick.capture.tracing.provenance import SOURCE
from tallystick.capture.tracing.random import philox_words
from tallystick.errors import CaptureError

NARROW: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "f16": torch.float16}
LARGEST = 127  # of a quantised weight: symmetric, so that -128 is not used
WIDENED = "model: weights as float32"  # source of the operators that widen
SCALE = "_scale"  # what the name of a quantised weight's scale ends with

_LIBRARY = torch.library.Library("tallystick", "FRAGMENT")
_LIBRARY.define("round_stochastic(Tensor x, Tensor step, int seed, int site) -> Tensor")


@torch.library.impl(_LIBRARY, "round_stochastic", "Meta")
def _stochastic_shape(x: Tensor, step: Tensor, seed: int, site: int) -> Tensor:
    return torch.empty(x.shape, dtype=torch.bfloat16, device="meta")


@torch.library.impl(_LIBRARY, "round_stochastic", "CPU")
def _stochastic_values(x: Tensor, step: Tensor, seed: int, site: int) -> Tensor:
    """bfloat16: 16 random bits are added to the bits that are cut off. One block of Philox per element."""
    words = philox_words(seed, site, x.numel(), int(step))[:, 0].reshape(tuple(x.shape))
    bits = x.contiguous().numpy().view(np.uint32)
    cut = np.where(np.isnan(x.numpy()), np.uint32(0x7FC00000), bits + (words >> np.uint32(16)))
    return torch.from_numpy((cut >> np.uint32(16)).astype(np.uint16).view(np.int16)).view(torch.bfloat16)


def stored_narrow(made: Input, kind: str | None) -> Input:
    """A float32 input stored as a narrower float, rounded to nearest; as it is for None.

    Raises: CaptureError for a finite number that the narrow type cannot hold.
    """
    if kind is None or made.dtype != torch.float32:
        return made
    assert made.array is not None, "a stored tensor has data"
    wide = torch.from_numpy(np.array(made.array))
    narrow = wide.to(NARROW[kind])
    lost = torch.isinf(narrow) & torch.isfinite(wide)
    if lost.any():
        at = tuple(int(i) for i in torch.nonzero(lost)[0])
        raise CaptureError(
            f"{made.name}[{', '.join(map(str, at))}] is {wide[at].item()}, beyond {kind}: use bf16 or float32"
        )
    return from_tensor(made.name, made.role, narrow)


def quantized(made: Input) -> tuple[Input, Input]:
    """A float32 tensor as int8 and one float32 scale per row. Shapes: (A, ...) -> (A, ...), (A, 1, ...)."""
    assert made.array is not None, "a stored tensor has data"
    axes = tuple(range(1, made.array.ndim))
    scale = (np.abs(made.array).max(axes, keepdims=True) / np.float32(LARGEST)).astype(np.float32)
    scale[scale == 0] = 1.0
    integers = np.rint(made.array / scale).clip(-LARGEST, LARGEST).astype(np.int8)
    return from_array(made.name, made.role, integers), from_array(made.name + SCALE, Role.CONSTANT, scale)


def dequantized(x: Tensor, scale: Tensor) -> Tensor:
    """The float32 weight that integers and scales stand for."""
    return x.to(torch.float32) * scale


def sink(graph: fx.Graph, source: str) -> None:
    """Move the operators of a source to just before what reads them first: a value made late is kept for less long."""
    nodes = list(graph.nodes)
    place = {node: number for number, node in enumerate(nodes)}
    for node in reversed(nodes):
        if node.op == "call_function" and node.meta.get(SOURCE) == source:
            first = min(node.users, key=place.__getitem__)
            place[node] = place[first]
            first.prepend(node)
    graph.lint()
