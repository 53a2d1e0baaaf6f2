"""Every operator knows the line of the user's code it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sample_models import ConvolutionalNetwork, classify, images
from tallystick.capture.optimizers.adam import SGD, AdamW
from tallystick.capture.tracing.trace import Trace
from tallystick.capture.training import trace_training

aten = torch.ops.aten


class Twice(nn.Module):
    """One layer used at two lines, a custom gradient, a helper function."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)  # first use
        x = torch.sin(x)  # sine
        x = self.layer(x)  # second use
        x = helper(x)
        return Negated.apply(x)  # custom gradient


def helper(x: Tensor) -> Tensor:
    return (
        x.tanh() * 2.0  # inside a statement of several lines
    )


class Negated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.cosh()  # inside the custom function

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return -grads[0]  # custom backward


def mean(model: nn.Module, x: Tensor) -> Tensor:
    return model(x).square().mean()


def trace_twice() -> Trace:
    data = {"x": np.ones((4, 3), np.float32)}
    return trace_training(model=Twice(), loss=mean, optimizer=AdamW(clip_norm=1.0), data=data, batch_size=2, steps=3)


def sources_of(trace: Trace, operator: Any) -> list[str]:
    return [node.meta["source"] for node in trace.graph.nodes if node.target is operator]


def test_forward_lines() -> None:
    trace = trace_twice()
    (sine,) = sources_of(trace, aten.sin.default)
    assert sine == f"test_trace_sources.py:{line_of('# sine')} forward: x = torch.sin(x)  # sine"
    first, second = sources_of(trace, aten.addmm.default)
    assert "# first use" in first and "# second use" in second
    (tanh,) = sources_of(trace, aten.tanh.default)
    assert tanh.startswith("test_trace_sources.py:") and " helper: x.tanh()" in tanh
    assert "# inside the custom function" in sources_of(trace, aten.cosh.default)[0]


def test_backward_lines() -> None:
    trace = trace_twice()
    (cosine,) = sources_of(trace, aten.cos.default)
    assert cosine.startswith("backward of test_trace_sources.py:") and "# sine" in cosine
    products = sources_of(trace, aten.mm.default)
    assert {"first use" in source for source in products} == {True, False}
    assert all(source.startswith("backward of ") and " use" in source for source in products)
    assert any(source.endswith("# custom backward") for source in sources_of(trace, aten.neg.default))


def test_lines_of_the_rest() -> None:
    trace = trace_twice()
    sources = {node.meta["source"] for node in trace.graph.nodes if node.op == "call_function"}
    assert "batch: x" in sources and "batch: rows of the data" in sources
    assert "optimizer: AdamW" in sources and "record: loss" in sources


def test_every_operator_has_a_source() -> None:
    trace = trace_training(
        model=ConvolutionalNetwork(), loss=classify, optimizer=SGD(0.1), data=images(), batch_size=4, steps=2
    )
    known = ("batch: ", "optimizer: ", "record: ", "backward of ", "sample_models.py:")
    for node in trace.graph.nodes:
        if node.op == "call_function":
            assert node.meta["source"].startswith(known), f"{node.format_node()} comes from {node.meta['source']}"
    lost = [source for node in trace.graph.nodes if (source := node.meta.get("source")) == "backward of the loss"]
    assert len(lost) <= 1, "only the gradient's start has no line"


def line_of(comment: str) -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(comment))


def test_graphs_are_clean() -> None:
    trace = trace_twice()
    assert {node.op for node in trace.graph.nodes} == {"placeholder", "call_function", "output"}
    made: set[tuple] = set()
    for node in trace.graph.nodes:
        if node.op == "call_function":
            assert node.users, f"{node} is dead"
            key = (node.target, repr(node.args), repr(node.kwargs))
            assert key not in made, f"{node} is computed twice"
            made.add(key)
