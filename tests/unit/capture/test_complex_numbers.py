"""Complex numbers as pairs of real ones: operators, gradients, buffers and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import tallystick as ts
from eager_training import train_eagerly
from lowered_operators import gradients, run_function
from tallystick.capture import capture_training
from tallystick.capture.optimizers.adam import SGD
from tallystick.engine import Engine
from tallystick.errors import CaptureError

pairs, complexes = torch.view_as_real, torch.view_as_complex
SHAPE = (2, 3, 2)


def of(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)).requires_grad_()


def written(z: Tensor) -> Tensor:
    """Writes into parts of a complex tensor."""
    z = z * 1.0
    z[0] = 0.0
    z[:, 1] *= 1j
    z.real[1, 0] += 2.0
    return z


OPERATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": lambda x, y: pairs(complexes(x) + complexes(y) * (1 - 2j)),
    "difference with a scale": lambda x, y: pairs(torch.sub(complexes(x), complexes(y), alpha=2)),
    "real beside complex": lambda x, y: pairs(x[..., 0] + 2.0 * complexes(y) - y[..., 1] * complexes(x)),
    "numbers": lambda x, y: pairs((1j - complexes(x)) * (0.5 + 0.25j) + 1j * y[..., 0] + 3.0),
    "broadcasting": lambda x, y: pairs(complexes(x)[:, None] * complexes(y)[None] + x[0, 0, 0]),
    "product": lambda x, y: pairs(complexes(x) * complexes(y)),
    "quotient": lambda x, y: pairs(complexes(x) / complexes(y)),
    "quotient of reals": lambda x, y: pairs(x[..., 0] / complexes(y) + complexes(x) / y[..., 1] + 1 / complexes(x)),
    "conjugate": lambda x, y: pairs((complexes(x).conj() * complexes(y)).conj().resolve_conj()),
    "parts of a conjugate": lambda x, y: (complexes(x) * complexes(y)).conj().imag - complexes(x).conj().real,
    "size": lambda x, y: complexes(x).abs() + complexes(y).abs().square(),
    "angle": lambda x, y: complexes(x).angle() * torch.angle(complexes(y)),
    "signs": lambda x, y: pairs(complexes(x).sgn() * complexes(y)),
    "polar": lambda x, y: pairs(torch.polar(x[..., 0], y[..., 0]) * complexes(y)),
    "complex": lambda x, y: pairs(torch.complex(x[..., 0], y[..., 0]) * 2),
    "exponential": lambda x, y: pairs(torch.exp(complexes(x)) * torch.log(complexes(y))),
    "powers": lambda x, y: pairs(complexes(x) ** 2 + complexes(y) ** 3 + complexes(x).square()),
    "other powers": lambda x, y: pairs(complexes(x) ** 0.5 + complexes(y) ** -1),
    "root": lambda x, y: pairs(torch.sqrt(complexes(x)) + complexes(y).rsqrt()),
    "waves": lambda x, y: pairs(torch.sin(complexes(x)) + torch.cos(complexes(y))),
    "hyperbolas": lambda x, y: pairs(torch.tanh(complexes(x)) + torch.sinh(complexes(y)) + torch.cosh(complexes(y))),
    "matrices": lambda x, y: pairs(complexes(x) @ complexes(y).mH),
    "a real matrix": lambda x, y: pairs(complexes(x) @ torch.complex(y[..., 0], torch.zeros(2, 3)).T),
    "batches of matrices": lambda x, y: pairs(torch.einsum("ij,ik->ijk", complexes(x), complexes(y).conj())),
    "inner product": lambda x, y: pairs(torch.vdot(complexes(x)[0], complexes(y)[1])),
    "sums": lambda x, y: pairs(complexes(x).sum(0) + complexes(y).mean() + complexes(y).cumsum(1)[0]),
    "moved": lambda x, y: pairs(torch.cat([complexes(x).flip(0), complexes(y)]).roll(1, 0).T.reshape(2, -1)),
    "chosen": lambda x, y: pairs(torch.where(x[..., 0] > 0, complexes(x), complexes(y) * 2)),
    "by number": lambda x, y: pairs(complexes(x)[:, [2, 0]] + complexes(y).index_select(1, torch.tensor([1, 1]))),
    "padded": lambda x, y: pairs(F.pad(complexes(x), (1, 2)) * 1j),
    "written": lambda x, y: pairs(written(complexes(x))) * y,
    "written into zeros": lambda x, y: pairs(
        torch.zeros(2, 4, dtype=torch.complex64).index_put((torch.tensor([0]),), complexes(y)[0, :1])
    ),
    "converted": lambda x, y: pairs(x[..., 0].to(torch.complex64) * complexes(y)),
    "rotary": lambda x, y: (
        pairs(complexes(x) * torch.polar(torch.ones(3), torch.arange(3.0))).flatten(-2) * y.flatten(1)
    ),
    "masked": lambda x, y: pairs(complexes(x).masked_fill(y[..., 0] > 0, 0.5)),
    "equal": lambda x, y: (complexes(x) == complexes(x.clone())).float() * y[..., 0] + (complexes(x) != 0).float(),
    "seen as floats": lambda x, y: complexes(x).mul(1j).view(torch.float32) * y.flatten(1),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_and_gradients_are_those_of_pytorch(name: str) -> None:
    # Every operand has a gradient, if only of zeros. Bits seen as others have none.
    function = gradients(lambda x, y: OPERATORS[name](x, y) + 0.0 * (x.sum() + y.sum()))
    function = OPERATORS[name] if name == "seen as floats" else function
    operands = (of(*SHAPE), of(*SHAPE, seed=1))
    for ours, theirs in zip(run_function(function, *operands), as_list(function(*operands)), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=2e-5, atol=1e-5)


def as_list(found: Any) -> list[Tensor]:
    return list(found) if isinstance(found, (list, tuple)) else [found]


def test_sizes_and_quotients_of_large_and_small_numbers() -> None:
    x = torch.tensor([[3e30, 4e30], [3e-30, -4e-30], [0.0, 0.0], [torch.inf, 1.0], [-0.0, -2.0]])
    function = lambda x: complexes(x).abs()  # noqa: E731
    np.testing.assert_allclose(run_function(function, x)[0], function(x), rtol=1e-6)
    y = x[[0, 1, 4]]
    quotient = lambda y: pairs(complexes(y) / complexes(y.flip(-1)))  # noqa: E731
    np.testing.assert_allclose(run_function(quotient, y)[0], quotient(y), rtol=1e-6, atol=1e-6)


def test_complex_operands_and_constants_are_pairs() -> None:
    z, turn = torch.randn(2, 3, dtype=torch.complex64), torch.polar(torch.ones(3), torch.arange(3.0)).conj()
    (ours,) = run_function(lambda z: torch.view_as_real((z * turn).resolve_conj()), z)
    np.testing.assert_allclose(ours, pairs((z * turn).resolve_conj()), rtol=1e-6, atol=1e-6)


class Oscillator(nn.Module):
    """A layer with a complex buffer that it changes, and another that it does not."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("phase", torch.ones(2, dtype=torch.complex64))
        self.register_buffer("turn", torch.polar(torch.ones(2), torch.tensor([0.3, 0.7])))

    def forward(self, x: Tensor) -> Tensor:
        self.phase = self.phase * self.turn
        return pairs(complexes(self.linear(x).unflatten(-1, (-1, 2))) * self.phase).flatten(-2)


def oscillator_job() -> dict[str, Any]:
    torch.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((16, 4), dtype=np.float32)
    return {
        "model": Oscillator(),
        "loss": lambda model, x: (model(x) - x).square().mean(),
        "optimizer": SGD(0.2),
        "data": {"x": x},
        "batch_size": 4,
        "steps": 10,
    }


def test_complex_buffers_are_state_as_pairs() -> None:
    job = oscillator_job()
    captured = capture_training(**job)
    with Engine(captured.program, threads=1).start(captured.state, captured.constants, step=0) as session:
        session.advance(10)
        state = dict(zip(captured.state_names, session.state(), strict=True))
    losses, theirs = train_eagerly(**job)
    np.testing.assert_allclose(state["record.loss"], losses, rtol=1e-3)
    assert state["model.phase"].shape == (2, 2)
    np.testing.assert_allclose(state["model.phase"], pairs(theirs["phase"]), rtol=1e-5)
    assert captured.constants[captured.constant_names.index("model.turn")].shape == (2, 2)


def test_a_trained_model_has_its_complex_buffers_back(tmp_path) -> None:
    job = oscillator_job() | {"optimizer": ts.optim.SGD(lr=0.2)}
    run = ts.TrainingJob(**job).run(tmp_path / "run")
    _, theirs = train_eagerly(**job)
    trained = run.model()
    assert trained.phase.dtype == torch.complex64
    torch.testing.assert_close(trained.phase, theirs["phase"], rtol=1e-5, atol=1e-6)
    opened = ts.Run.open(tmp_path / "run").model(Oscillator())
    torch.testing.assert_close(opened.phase, trained.phase, rtol=0.0, atol=0.0)
    assert torch.equal(opened.turn, theirs["turn"])


def test_complex_data() -> None:
    signal = torch.randn(16, 4, dtype=torch.complex64)
    job = oscillator_job() | {"data": {"z": signal.numpy()}, "loss": lambda model, z: model(z.abs()).square().mean()}
    captured = capture_training(**job)
    with Engine(captured.program, threads=1).start(captured.state, captured.constants, step=0) as session:
        session.advance(10)
        losses = dict(zip(captured.state_names, session.state(), strict=True))["record.loss"]
    np.testing.assert_allclose(losses, train_eagerly(**job)[0], rtol=1e-3)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_what_is_not_written_for_pairs_is_refused_with_the_line() -> None:
    with pytest.raises(
        CaptureError, match=r"test_complex_numbers.py:\d+ [^\n]*\n  aten.atan.default of complex numbers"
    ):
        run_function(lambda x: pairs(torch.atan(complexes(x))), of(*SHAPE).detach())
    with pytest.raises(CaptureError, match=r"makes a tensor of torch.complex128; use complex64"):
        run_function(lambda x: pairs(complexes(x) * torch.ones(3, dtype=torch.complex128)).float(), of(*SHAPE).detach())
    with pytest.raises(CaptureError, match=r"makes a tensor of torch.complex32; use complex64"):
        run_function(lambda x: pairs(x.sum().chalf()).float(), of(*SHAPE).detach())
    with pytest.raises(CaptureError, match="phase is complex128: make it complex64"):
        job = oscillator_job()
        job["model"].phase = job["model"].phase.to(torch.complex128)
        capture_training(**job)


class Spectral(nn.Module):
    """A complex weight, as it is, or as a real parameter that is seen as one."""

    def __init__(self, real: bool) -> None:
        super().__init__()
        weight = torch.polar(torch.ones(3), torch.arange(3.0))
        self.weight = nn.Parameter(pairs(weight) if real else weight)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight if self.weight.is_complex() else complexes(self.weight)
        return torch.fft.irfft(torch.fft.rfft(x) * weight)


def test_trained_complex_parameters_are_refused_with_a_way_around() -> None:
    x = np.random.default_rng(0).standard_normal((16, 4), dtype=np.float32)
    job = oscillator_job() | {"data": {"x": x}, "loss": lambda model, x: (model(x) - x.roll(1, -1)).square().mean()}
    with pytest.raises(CaptureError, match=r"model.weight is torch.complex64.*view_as_real"):
        capture_training(**job | {"model": Spectral(real=False)})
    job["model"] = Spectral(real=True)
    captured = capture_training(**job)
    with Engine(captured.program, threads=1).start(captured.state, captured.constants, step=0) as session:
        session.advance(10)
        losses = dict(zip(captured.state_names, session.state(), strict=True))["record.loss"]
    theirs = train_eagerly(**job)[0]
    assert theirs[-1] < 0.9 * theirs[0]
    np.testing.assert_allclose(losses, theirs, rtol=1e-3)
    np.testing.assert_allclose(train_eagerly(**job | {"model": Spectral(real=False)})[0], theirs, rtol=1e-5)
