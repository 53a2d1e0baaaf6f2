"""Which kernels a graph becomes: as few as the representation allows, never beyond its limits, always the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from lowered_operators import capture_function, run_function, slot_of
from tallystick.capture.lowering import lower
from tallystick.errors import CaptureError
from tallystick.ir.verifier import verify
from tallystick.spec.encoding import encode_program
from tallystick.spec.kernels import Kernel


def kernels_of(function: Callable, *tensors: Tensor) -> tuple[Kernel, ...]:
    program = capture_function(function, *tensors)[1].program
    verify(program)
    return program.kernels


def test_maps_around_a_product_run_in_its_epilogue() -> None:
    """Bias, activation and residual; what the backward pass needs is a second output."""

    def layer(x: Tensor, w: Tensor, b: Tensor) -> list[Tensor]:
        h = F.linear(x, w, b)
        return [F.gelu(h) + x, h]

    (kernel,) = kernels_of(layer, torch.randn(4, 6), torch.randn(6, 6), torch.randn(6))
    assert kernel.fold is not None and len(kernel.outputs) == 2
    assert len(kernel.body.instructions) == 4, "the contraction itself stays one fused multiply-add of two loads"


def test_maps_before_a_fold_run_in_its_body() -> None:
    (kernel,) = kernels_of(lambda x, y: ((x - y) * 2).exp().sum(1).sqrt(), torch.randn(4, 6), torch.randn(4, 1))
    assert kernel.reduce_shape == (6,)


def test_softmax_is_two_folds_and_a_map() -> None:
    kinds = [kernel.fold is not None for kernel in kernels_of(lambda x: x.softmax(-1) * 2, torch.randn(4, 6))]
    assert kinds == [True, True, False]


def test_operands_of_a_product_are_computed_once() -> None:
    """A contraction reads each element many times, so what it reads is stored."""
    kernels = kernels_of(lambda a, b: (a + 1).tanh() @ b.t(), torch.randn(5, 7), torch.randn(3, 7))
    assert len(kernels) == 2


def test_folds_of_the_same_tensor_are_one() -> None:
    (kernel,) = kernels_of(lambda x: [x.sum(1), (x * x).sum(1), x.amax(1), x.amin(1)], torch.randn(4, 1000))
    assert kernel.fold is not None and len(kernel.fold.init) == 4


def test_an_optimizer_step_is_one_kernel() -> None:
    def adam(p: Tensor, g: Tensor, m: Tensor, v: Tensor) -> list[Tensor]:
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        return [p - 0.01 * m / (v.sqrt() + 1e-8), m, v]

    (kernel,) = kernels_of(adam, *(torch.rand(50, 40) for _ in range(4)))
    assert len(kernel.outputs) == 3 and len(kernel.loads) == 4


def test_kernels_never_need_each_other() -> None:
    """y needs the sum of x * 2, which is at the points of x, so it cannot be made where x * 2 is."""

    def centred(x: Tensor) -> list[Tensor]:
        doubled = x * 2
        return [doubled, doubled - doubled.sum()]

    assert len(kernels_of(centred, torch.randn(600))) >= 2
    x = torch.linspace(-1, 3, 600)
    for got, want in zip(run_function(centred, x), centred(x), strict=True):
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-5)


def test_what_nobody_needs_is_not_computed() -> None:
    def function(x: Tensor) -> Tensor:
        values, _ = (x * 2).max(1)
        return values

    (kernel,) = kernels_of(function, torch.randn(3, 5))
    assert len(kernel.outputs) == 1


def test_a_cheap_value_is_recomputed_rather_than_stored() -> None:
    """The centred tensor is used by two kernels and stored by none."""
    kernels = kernels_of(lambda x: F.layer_norm(x, (512,)), torch.randn(40, 512))
    assert [kernel.output_types[0].elements for kernel in kernels] == [40, 40, 40 * 512]


LARGE: dict[str, tuple[Callable, tuple[int, ...]]] = {
    "a long chain": (lambda x: repeated(x, 150), (7,)),
    "many operands": (lambda x: sum(x[i] * (i + 1) for i in range(40)), (40, 3)),
    "many results": (lambda x: [x * i for i in range(1, 12)], (5,)),
    "many guards": (lambda x: torch.cat([F.pad(x, (i, 9 - i, 1, 1)) for i in range(9)], 0), (2, 3)),
    "many axes": (lambda x: x.permute(8, 6, 4, 2, 0, 1, 3, 5, 7).sin() + 1, (2,) * 9),
    "a sum over many axes": (lambda x: (x.permute(8, 6, 4, 2, 0, 1, 3, 5, 7) * 2).sum((1, 3, 5)), (2,) * 9),
    "a product over many axes": (lambda x: torch.einsum("abcdefgh,ahcfedgi->bfi", x, x), (2,) * 8),
    "elementary functions of one another": (lambda x: torch.cos(torch.tan(torch.sin(torch.cos(x)))) ** 1.5, (6,)),
}


def repeated(x: Tensor, times: int) -> Tensor:
    for i in range(times):
        x = x * 0.99 + 0.001 * i
    return x


@pytest.mark.parametrize("name", LARGE)
def test_graphs_beyond_the_limits_of_one_kernel_become_several(name: str) -> None:
    function, shape = LARGE[name]
    torch.manual_seed(0)
    x = torch.randn(shape)
    if len(shape) == 9:  # a state slot has at most 8 axes

        def flat(x: Tensor, function: Callable = function, shape: tuple[int, ...] = shape) -> Tensor:
            return function(x.reshape(shape)).reshape(-1)

        function, x = flat, x.reshape(-1)
    want = function(x)
    want = want if isinstance(want, list) else [want]
    for got, expected in zip(run_function(function, x), want, strict=True):
        np.testing.assert_allclose(got, expected.numpy(), rtol=2e-5, atol=2e-6)


def test_lowering_is_the_same_every_time() -> None:
    def function(x: Tensor, w: Tensor) -> list[Tensor]:
        h = F.gelu(x @ w)
        return [h.softmax(-1), h.sum(0), (h * h).sum(1)]

    traced, _ = capture_function(function, torch.randn(6, 5), torch.randn(5, 4))
    slots = [slot_of(made) for made in traced.inputs]
    programs = [encode_program(lower(traced.graph, slots).program) for _ in range(2)]
    assert programs[0] == programs[1]


def test_every_kernel_names_the_lines_it_came_from() -> None:
    def function(x: Tensor, w: Tensor) -> Tensor:
        h = x @ w
        return torch.relu(h + 1)

    (source,) = capture_function(function, torch.randn(3, 4), torch.randn(4, 2))[1].sources
    assert "h = x @ w" in source and "return torch.relu(h + 1)" in source and source.count(" | ") == 1


def test_an_operator_without_a_lowering_is_named_with_its_line() -> None:
    with pytest.raises(CaptureError, match=r"igamma.*torch\.igamma\(x, x\)"):
        capture_function(lambda x: torch.igamma(x, x), torch.ones(3))
