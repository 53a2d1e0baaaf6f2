"""The trial finds what it is there to find: faults that are put into our side on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tallystick as ts
from differential.comparison import compare
from differential.eager import Finished
from differential.nodes import Node, Tree
from differential.program import loaded, written
from differential.shrinking import shrunk_lines
from differential.snapshot import changes, fakes, snapshot
from differential.tally import kind_of
from differential.trial import (
    BEYOND,
    BOTH,
    CRASHED,
    EQUAL,
    FALSE_REPORT,
    INVALID,
    NAN,
    REFUSED,
    REPORTED,
    SILENT,
    UNNOTICED,
    WRONG_EXCEPTION,
    Ending,
    Ours,
    attempt,
    judged,
)
from differential.workers import Workers
from tallystick.capture.optimizers.adam import SGD
from tallystick.capture.steps import training_step
from tallystick.capture.steps.loss import with_metrics

PLAIN = Tree(3, Node("vectors", 0), (Node("Linear", 1), Node("nn Tanh()", 0)), Node("loss F.mse_loss(out, y)", 0))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ending_of(tree: Tree, folder: Path) -> Ending:
    return attempt(loaded(written(tree), folder, "job"))


def test_a_job_that_is_equal(tmp_path: Path) -> None:
    ending = ending_of(PLAIN, tmp_path)
    assert ending.kinds == [EQUAL] and ending.steps == 6 and ending.worst < 1e-5


@pytest.mark.parametrize("factor", [1.01, 0.999])
def test_an_update_that_is_wrong(factor: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = lambda self, p, grad, slots, factors: (p - factor * factors["lr"] * grad, {})  # noqa: E731
    monkeypatch.setattr(SGD, "update", wrong)
    assert ending_of(PLAIN, tmp_path).kinds == [SILENT]


def test_a_loss_that_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def doubled(returned: Any, metrics: Any, every: bool = True) -> Any:
        value, found = with_metrics(returned, metrics, every)
        return value * 1.0001, found

    monkeypatch.setattr(training_step, "with_metrics", doubled)
    ending = ending_of(PLAIN, tmp_path)
    assert ending.kinds == [SILENT] and "loss of step 0" in ending.details[0]


def test_a_refusal_and_what_both_refuse(tmp_path: Path) -> None:
    chosen = Node("index x[x > 0].sum() + x", 0)
    refused = Tree(1, PLAIN.data, (Node("Linear", 1), chosen), PLAIN.loss)
    ending = ending_of(refused, tmp_path)
    assert ending.kinds == [REFUSED] and "selects as many" in kind_of(ending.details[0])
    both = Tree(1, PLAIN.data, PLAIN.model, Node("bare model(x).detach().mean()", 0))
    assert ending_of(both, tmp_path).kinds == [BOTH]


@pytest.mark.parametrize(
    "ours, raised, kind",
    [
        (Ours(run=1), IndexError("index out of range in self"), UNNOTICED),
        (Ours(run=1), RuntimeError("derivative for aten::x is not implemented"), BEYOND),
        (Ours(run=1), ts.CaptureError("multinomial cannot be drawn"), SILENT),
        (Ours(report=ts.JobError("an index is outside of its table")), IndexError("index out of range"), REPORTED),
        (Ours(refusal=ts.CaptureError("an index is outside of its table")), IndexError("index out of range"), BOTH),
        (Ours(refusal=RuntimeError("INTERNAL ASSERT")), IndexError("index out of range"), WRONG_EXCEPTION),
        (Ours(report=ts.IntegrityError("bytes")), None, WRONG_EXCEPTION),
    ],
)
def test_words_for_how_both_ended(ours: Ours, raised: Exception | None, kind: str) -> None:
    assert judged(None, ours, None, raised, {}).kinds == [kind]  # type: ignore[arg-type]


def test_a_run_that_reports_what_eager_pytorch_does_not() -> None:
    eager = run_of([1.0, 0.9, 0.8])
    report = Ours(report=ts.JobError("the loss became NaN in step 1"))
    assert judged(None, report, eager, None, {}).kinds == [FALSE_REPORT]  # type: ignore[arg-type]
    assert judged(None, report, run_of([1.0, np.nan, np.nan]), None, {}).kinds == [NAN]  # type: ignore[arg-type]
    assert judged(None, Ours(run=1), run_of([1.0, np.nan, np.nan]), None, {}).kinds == [SILENT]  # type: ignore[arg-type]


def run_of(losses: list[float], **state: list[float]) -> Finished:
    arrays = {name: np.array(value) for name, value in state.items()}
    start = {name: np.zeros_like(value) for name, value in arrays.items()}
    return Finished(nn.Identity(), {"loss": np.array(losses, np.float32)}, arrays, {}, start)


def test_comparison_by_the_distance_of_runs_that_are_right() -> None:
    right, near = run_of([1.0, 0.5, 0.1], w=[1.0, 2.0]), run_of([1.0, 0.5, 0.1], w=[1.0, 2.0 + 1e-6])
    assert not compare(near, right, [near], ["w"]).differences
    assert compare(run_of([1.0, 0.5001, 0.1], w=[1.0, 2.0]), right, [near], ["w"]).differences
    assert compare(run_of([1.0, 0.5, 0.1], w=[1.0, 2.01]), right, [near], ["w"]).differences
    assert compare(run_of([1.0, np.nan, 0.1], w=[1.0, 2.0]), right, [near], ["w"]).differences
    assert compare(run_of([1.0, 0.5, 0.1]), right, [near], ["w"]).differences == ["w is missing"]
    far = run_of([1.0, 0.50002, 0.1], w=[1.0, 2.0])
    assert not compare(run_of([1.0, 0.5001, 0.1], w=[1.0, 2.0]), right, [far], ["w"]).differences
    chaotic = run_of([1.0, 0.6, 0.4], w=[1.0, 3.0])
    assert compare(run_of([1.0, 0.7, 0.9], w=[5.0, 5.0]), right, [chaotic], ["w"]).steps == 1
    assert not compare(run_of([1.0, 0.7, 0.9], w=[5.0, 5.0]), right, [chaotic], ["w"]).differences
    assert compare(run_of([1.1, 0.7, 0.9], w=[5.0, 5.0]), right, [chaotic], ["w"]).differences


def test_a_small_tensor_is_compared_by_the_way_it_moved() -> None:
    """Most of a weight is its start: an update that is wrong by a tenth changes it by little."""
    right, wrong = run_of([1.0], w=[1.00001, 2.0]), run_of([1.0], w=[1.000011, 2.0])
    for run in (right, wrong):
        run.start["w"] = np.array([1.0, 2.0])
    assert compare(wrong, right, [right], ["w"]).differences


def test_whole_numbers_are_compared_exactly() -> None:
    right, wrong = run_of([1.0]), run_of([1.0])
    right.state["count"], wrong.state["count"] = np.array(6), np.array(1)
    assert compare(wrong, right, [right], ["count"]).differences
    assert not compare(right, right, [right], ["count"]).differences


class Remembering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen, self.calls = nn.Linear(2, 2), [], 0


def test_snapshots_see_every_change() -> None:
    module, count = Remembering(), [0]

    def loss(model: Any) -> int:
        return count[0]

    def change(action: Any) -> list[str]:
        before = snapshot(module, loss)
        action()
        return changes(before, snapshot(module, loss))

    assert change(lambda: None) == []
    assert change(lambda: setattr(module, "calls", 1)) == ["0.calls was 0, is 1"]
    assert change(lambda: count.append(1))
    assert change(lambda: module.layer.weight.data.mul_(1.0000001))
    assert change(lambda: module.layer.bias.register_hook(lambda grad: grad))
    assert change(lambda: setattr(module.layer, "weight", nn.Parameter(module.layer.weight.data)))
    assert change(lambda: torch.rand(1)) and change(lambda: np.random.rand())
    assert change(lambda: setattr(module.layer, "bias", None))
    module.seen.append(torch.empty(2, device="meta"))
    assert fakes(snapshot(module)) == ["0.seen[0]"]


def test_lines_that_do_not_matter_are_left_out() -> None:
    text = written(
        Tree(3, PLAIN.data, (*PLAIN.model, Node("counter in a buffer", 1), Node("nn GELU()", 0)), PLAIN.loss)
    )
    small = shrunk_lines(text, lambda fewer: "+= 1" in fewer or ".add_(1)" in fewer or "+ 1" in fewer)
    body = small.split("def forward(self, x):\n")[1].split("        return x\n")[0]
    assert len(body.splitlines()) == 1 and "b" in body


def test_a_worker_that_dies_is_an_ending() -> None:
    with Workers(1) as workers:
        deadly = written(PLAIN).replace("x = self.m", "__import__('os')._exit(7) or self.m", 1)
        assert workers.attempt(deadly).kinds == [CRASHED]
        assert workers.attempt("def make(:").kinds == [INVALID]
        assert workers.attempt(written(PLAIN)).kinds == [EQUAL]
