"""CTC loss and its gradient are PyTorch's, whether lengths are numbers or data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from eager_training import GraphRunner, train_eagerly
from lowered_operators import capture_function, compare, gradients, run_function
from tallystick.capture.optimizers.adam import SGD
from tallystick.capture.tracing.ctc import ctc_loss
from tallystick.capture.training import captured, trace_training
from tallystick.engine import Engine
from tallystick.engine.target import Target
from tallystick.errors import CaptureError

INPUTS, WANTED = torch.tensor([6, 4, 2]), torch.tensor([3, 1, 2])
TARGETS = torch.tensor([[1, 1, 2], [3, -7, 0], [2, 2, 1]])  # row 2 cannot be reached: repeated labels need a blank
FLAT = torch.tensor([1, 1, 2, 3, 2, 2])
KNOWN = ((6, 4, 2), (3, 1, 2))


def scores(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_()


@pytest.mark.parametrize("seed", range(60))
def test_what_is_written_out_is_pytorchs_loss(seed: int) -> None:
    """Any sizes, rows without targets, targets that no path reaches, scores that are no probabilities."""
    generator = torch.Generator().manual_seed(seed)

    def number(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=generator)

    times, rows, classes, longest = (int(number(*bounds)) for bounds in ((1, 9), (1, 5), (2, 6), (1, 5)))
    x = torch.randn(times, rows, classes, generator=generator)
    x = x.log_softmax(-1) if seed % 2 else x
    inputs, wanted, blank = number(1, times + 1, rows), number(0, longest + 1, rows), int(number(0, classes))
    targets = number(0, classes - 1, rows, longest)
    targets = targets + (targets >= blank)
    for reduction in ("none", "mean", "sum"):
        results = []
        for function in (F.ctc_loss, ctc_loss):
            own = x.clone().requires_grad_()
            loss = function(own, targets, inputs, wanted, blank, reduction, bool(seed % 3))
            results.append((loss, *torch.autograd.grad(loss, own, torch.full_like(loss, 1.5))))
        for mine, theirs in zip(results[1], results[0], strict=True):
            torch.testing.assert_close(mine, theirs, equal_nan=True, rtol=1e-4, atol=1e-5)


CASES: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "lengths as data": (
        lambda x, t, i, w: F.ctc_loss(x, t, i, w, reduction="none", zero_infinity=True),
        (TARGETS, INPUTS, WANTED),
    ),
    "lengths as numbers": (lambda x, t: F.ctc_loss(x, t, *KNOWN, zero_infinity=True), (TARGETS,)),
    "one after the other": (lambda x, t: F.ctc_loss(x, t, *KNOWN, blank=0, zero_infinity=True), (FLAT,)),
    "infinite": (lambda x, t: F.ctc_loss(x, t, *KNOWN, reduction="none"), (TARGETS,)),
    "another blank": (lambda x, t: F.ctc_loss(x, t, *KNOWN, blank=4, reduction="sum", zero_infinity=True), (TARGETS,)),
    "one row": (lambda x, t: F.ctc_loss(x[:, 0], t, (5,), (3,)), (TARGETS[0],)),
    "one row, lengths without a dimension": (
        lambda x, t, i, w: F.ctc_loss(x[:, 0], t, i, w),
        (TARGETS[0], torch.tensor(6), torch.tensor(3)),
    ),
    "one time step": (lambda x, t: F.ctc_loss(x[:1], t, (1, 1, 1), (1, 1, 0), reduction="none"), (TARGETS,)),
    "by PyTorch's own name": (lambda x, t: torch.ctc_loss(x, t, *KNOWN, 0, 2, True), (TARGETS,)),
}


@pytest.mark.parametrize("name", CASES)
def test_captured(name: str) -> None:
    function, operands = CASES[name]
    compare(
        gradients(lambda x, *rest: function(x.log_softmax(-1), *rest)), scores(6, 3, 5), *operands, rtol=2e-5, atol=2e-5
    )


def test_targets_one_after_the_other_with_lengths_of_data_are_refused_and_the_advice_works() -> None:
    def flat(x: Tensor, wanted: Tensor) -> Tensor:
        return F.ctc_loss(x.log_softmax(-1), FLAT, INPUTS, wanted, zero_infinity=True)  # cut by data

    with pytest.raises(CaptureError, match=r"test_ctc.*cut by data.*\(N, S\), padded at the end, or target_lengths as"):
        run_function(flat, scores(6, 3, 5), WANTED)
    compare(lambda x, w: F.ctc_loss(x.log_softmax(-1), TARGETS, INPUTS, w, zero_infinity=True), scores(6, 3, 5), WANTED)
    compare(lambda x: F.ctc_loss(x.log_softmax(-1), FLAT, *KNOWN, zero_infinity=True), scores(6, 3, 5))


def test_the_number_of_kernels_does_not_grow_with_time() -> None:
    counts = []
    for times in (8, 40):
        lengths = (times, times - 1, times)
        function = gradients(
            lambda x, lengths=lengths: F.ctc_loss(x.log_softmax(-1), TARGETS.clamp(min=0), lengths, (3, 1, 3))
        )
        counts.append(len(capture_function(function, scores(times, 3, 5))[1].program.kernels))
    assert counts[1] <= counts[0] + 3


# SELECTED TARGETS
class Speech(nn.Module):
    """Computes its loss as the speech models of transformers do, from labels padded with -100, also in between."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 6)

    def forward(self, x: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        log_probs = self.layer(x).log_softmax(-1).transpose(0, 1)
        given = labels >= 0
        with torch.backends.cudnn.flags(enabled=False):
            return F.ctc_loss(log_probs, labels.masked_select(given), lengths, given.sum(-1), zero_infinity=True)


def speech() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 6, (12, 4))
    labels[rng.random((12, 4)) < 0.4] = -100
    return {
        "x": rng.standard_normal((12, 9, 4), dtype=np.float32),
        "labels": labels,
        "lengths": rng.integers(6, 10, 12),
    }


def test_selected_targets_train_as_in_eager_pytorch() -> None:
    torch.manual_seed(0)
    model, data, options = Speech(), speech(), {"batch_size": 4, "steps": 6}
    losses, _ = train_eagerly(model, lambda m, **batch: m(**batch), SGD(0.3), data, **options)
    trace = trace_training(
        model=model, loss=lambda m, x, labels, lengths: m(x, labels, lengths), optimizer=SGD(0.3), data=data, **options
    )
    runner = GraphRunner(trace)
    runner.advance(6)
    np.testing.assert_allclose(runner.losses, losses, rtol=1e-4)
    job = captured(trace)
    engine = Engine(job.program, threads=1, target=Target.host(0))
    with engine.start(job.state, job.constants) as session:
        session.advance(6)
        recorded = np.array(session.state()[job.state_names.index("record.loss")])
    np.testing.assert_allclose(recorded, losses, rtol=1e-4)


@pytest.mark.parametrize(
    "use", [lambda s: s.sum(), lambda s: s + 1, lambda s: s.shape[0], lambda s: torch.cat([s, s]), lambda s: s.tolist()]
)
def test_any_other_use_of_a_selection_is_refused_with_the_line_that_selects(use: Callable[[Tensor], object]) -> None:
    def function(x: Tensor, labels: Tensor) -> Tensor:
        selected = labels.masked_select(labels >= 0)  # chosen by data
        use(selected)
        return x

    with pytest.raises(CaptureError, match=r"test_ctc.*chosen by data[\s\S]*selects as many elements as data decide"):
        run_function(function, torch.ones(2), TARGETS)
    with pytest.raises(CaptureError, match="selects as many elements as data decide"):
        run_function(lambda x: x.masked_select(x > 0), torch.ones(2))
