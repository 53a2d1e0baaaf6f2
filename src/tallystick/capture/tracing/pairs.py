"""Writing a graph with complex numbers as one with pairs of real ones; see ``decompositions.complex_numbers``.

A complex placeholder becomes a float32 one with a last axis of 2, and so does a complex result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import _disable_current_modes

from tallystick.capture.decompositions.complex_numbers import COMPLEX, Pair, pair_of
from tallystick.capture.decompositions.fourier import Fourier
from tallystick.capture.decompositions.tables import CORE
from tallystick.capture.inputs import Input
from tallystick.capture.tracing.cleaning import clean
from tallystick.capture.tracing.provenance import SOURCE
from tallystick.capture.tracing.rerun import SourceKeeper
from tallystick.errors import CaptureError


def has_complex_numbers(graph: fx.Graph) -> bool:
    return any(_is_complex(node) for node in graph.nodes)


def without_complex_numbers(module: fx.GraphModule, examples: Sequence[Tensor]) -> fx.GraphModule:
    """The same graph with a pair of real tensors for every complex one. Run in the mode of the examples.

    Raises: CaptureError for an operator that is not written for pairs, with the user's line.
    """
    writer = PairWriter(module)
    real = [torch.empty((*e.shape, 2)) if e.is_complex() else e for e in examples]
    return clean(make_fx(lambda *tensors: writer.run(*tensors), CORE)(*real))


def input_of_pairs(made: Input) -> Input:
    """An input as the graph of pairs takes it; its array holds pairs already."""
    return replace(made, dtype=torch.float32, shape=(*made.shape, 2)) if made.dtype.is_complex else made


class PairWriter(SourceKeeper):
    """Runs a functional graph with a ``Pair`` for every complex value."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self._whole: dict[fx.Node, Tensor] = {}
        self._rules: dict[Any, Callable[..., Any]] = {**COMPLEX, **Fourier().rules}

    def evaluate(self, n: fx.Node) -> Any:
        if n.op == "output":
            return [self._result(node) for node in _results(n)]
        if n.op == "get_attr" and _is_complex(n):
            constant = super().evaluate(n)
            with _disable_current_modes():
                constant = torch.view_as_real(constant.resolve_conj()).to(torch.float32)
            return pair_of(constant)
        if n.op == "placeholder" and _is_complex(n):
            self._whole[n] = super().evaluate(n)
            return pair_of(self._whole[n])
        if n.op != "call_function" or not any(_is_complex(node) for node in (n, *n.all_input_nodes)):
            return super().evaluate(n)
        rule = self._rules.get(n.target)
        if rule is None:
            raise CaptureError(
                f"{n.meta.get(SOURCE)}\n  {n.target} of complex numbers cannot be captured: write it with sums, "
                "products, quotients, conj, abs, angle, exp, log, matrix products or torch.fft, or with "
                "torch.view_as_real"
            )
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        result = rule(*args, **kwargs)
        if isinstance(result, Pair):
            # A part that one operand alone decided may still want broadcasting to the shape of the other.
            shape = list(n.meta["val"].shape)
            return Pair(_spread(result.real, shape), _spread(result.imag, shape))
        return result

    def _result(self, node: Any) -> Any:
        """What a result of the graph is; one that is an operand stays it, so that a slot nobody changes is seen."""
        value = self.env[node] if isinstance(node, fx.Node) else node
        if not isinstance(value, Pair):
            return value
        return self._whole[node] if node in self._whole else value.joined()


def _spread(part: Tensor | float, shape: Sequence[int]) -> Tensor:
    return part.expand(list(shape)) if isinstance(part, Tensor) else torch.full(list(shape), float(part))


def _results(output: fx.Node) -> Sequence[Any]:
    results = output.args[0]
    assert isinstance(results, (list, tuple)), "a step returns a list"
    return results


def _is_complex(node: fx.Node) -> bool:
    """Whether a node's value is complex. Raises: CaptureError where it has not 64 bits."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or not value.is_complex():
        return False
    # A Python number stays a number, though PyTorch has it in double precision for its own arithmetic.
    if value.dtype != torch.complex64 and (value.dim() or value.dtype != torch.complex128):
        raise CaptureError(f"{node.meta.get(SOURCE)}\n  makes a tensor of {value.dtype}; use complex64")
    return True
