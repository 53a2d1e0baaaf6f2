"""Verifying honest runs, and catching workers who lie consistently: valid digests, valid signature, wrong bits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tallystick as ts
from job_helpers import liar, tiny_job
from tallystick.commitment import StateHasher
from tallystick.job import Finding, Job, Progress, VerificationReport, verify
from tallystick.job.replay import segments_to_run
from tallystick.job.report import miss_probability

WEIGHT, MOMENTUM, LOSS, CALLS, MASK = range(5)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_job().run(tmp_path_factory.mktemp("honest") / "run").folder


class ForgetfulHasher(StateHasher):
    """Hashes every slot of every state: a liar commits to the bits it has, also in slots that nobody may change."""

    def digests(self, state: Sequence[np.ndarray]) -> list[bytes]:
        self._known.clear()
        return super().digests(state)


@pytest.fixture
def lying_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes the folder of a run whose worker flipped one bit after one step."""

    def run(step: int, slot: int, element: int, bit: int = 0, keep="all") -> Path:
        with monkeypatch.context() as patch:
            patch.setattr("tallystick.engine.backends.make_engine", liar(step, slot, element, bit))
            patch.setattr("tallystick.job.runner.StateHasher", ForgetfulHasher)
            return tiny_job().run(tmp_path / "run", keep_states=keep).folder

    return run


def only_finding(report: VerificationReport) -> Finding:
    assert len(report.findings) == 1, [finding.message for finding in report.findings]
    assert not report.ok
    return report.findings[0]


# HONEST


def test_full_verification_of_an_honest_run(honest: Path) -> None:
    seen: list[Progress] = []
    report = verify(honest / "receipt.json", full=True, progress=seen.append)
    assert report.ok and report.findings == () and report.difference is None
    assert report.sampled == report.checked == tuple(range(7))
    assert report.miss_probability == 0
    assert "All 7 segments" in report.statement
    report.raise_for_failure()
    steps = [progress.step for progress in seen if progress.phase == "verify"]
    assert steps[-1] == seen[-1].steps == 50
    assert json.loads(report.model_dump_json())["worker"] == ts.load_receipt(honest).worker


def test_a_sample_is_drawn_and_says_what_it_is_worth(honest: Path) -> None:
    report = verify(honest, sample=0.3, seed=1)
    assert report.ok
    assert len(report.sampled) == 2 and report.sampled == report.checked
    assert report.sampled == verify(honest, sample=0.3, seed=1).sampled
    assert report.miss_probability == pytest.approx(5 / 7)
    assert "2 of 7 segments" in report.statement and "71.4%" in report.statement
    assert len({verify(honest, sample=0.01).sampled for _ in range(12)}) > 1, "the draw is the operating system's"


@pytest.mark.parametrize("threads", [1, 2])
def test_a_short_retention_only_costs_the_verifier_time(tmp_path: Path, threads: int) -> None:
    folder = tiny_job().run(tmp_path / "run", keep_states=3, threads=threads).folder
    report = verify(folder, sample=0.01, seed=3, threads=threads)
    (drawn,) = report.sampled
    nearest = 0 if drawn < 4 else 4
    assert report.ok
    assert report.checked == tuple(range(nearest, drawn + 1))


@pytest.mark.parametrize("sample", [0, -0.1, 1.01, float("nan")])
def test_samples_that_cannot_be(honest: Path, sample: float) -> None:
    with pytest.raises(ts.JobError, match="give a share"):
        verify(honest, sample=sample)


@given(segments=st.integers(1, 9), wrong=st.integers(0, 9), drawn=st.integers(1, 9))
def test_the_stated_probability_is_the_share_of_draws_that_miss(segments: int, wrong: int, drawn: int) -> None:
    wrong, drawn = min(wrong, segments), min(drawn, segments)
    draws = list(combinations(range(segments), drawn))
    missing = sum(all(segment >= wrong for segment in draw) for draw in draws)
    assert miss_probability(wrong, drawn, segments) == pytest.approx(missing / len(draws))
    assert miss_probability(wrong, drawn, segments) <= (1 - drawn / segments) ** wrong + 1e-12


@given(intact=st.sets(st.integers(0, 12)), targets=st.sets(st.integers(1, 12)))
def test_segments_are_run_from_the_nearest_intact_state(intact: set[int], targets: set[int]) -> None:
    segments = segments_to_run(targets, intact)
    assert segments == sorted(set(segments))
    for target in targets:
        before = [boundary for boundary in intact if boundary < target]
        assert (target - 1 in segments) == bool(before)
        if before:
            assert set(range(max(before), target)) <= set(segments)
    for segment in segments:
        assert segment in intact or segment - 1 in segments


# LYING


def test_a_flip_at_the_end_of_a_segment_is_named_exactly(lying_run) -> None:
    """Step 23 is the last of segment 2: the claimed state after it differs in one bit."""
    report = verify(lying_run(23, WEIGHT, 1, bit=3), full=True)
    finding = only_finding(report)
    assert (finding.kind, finding.segment, finding.slot, finding.element) == ("segment", 2, "model.weight", (1,))
    assert finding.claimed is not None and finding.true is not None
    assert int(finding.claimed, 16) ^ int(finding.true, 16) == 1 << 3
    assert (finding.kernel, finding.source) == (2, "optimizer: SGD")
    assert (finding.first_step, finding.last_step) == (16, 23)
    assert "1 element in 1 of 5 slots" in finding.message
    assert report.checked == (0, 1, 2), "it stops at the first wrong segment"
    with pytest.raises(ts.VerificationFailed, match=r"model.weight\[1\]"):
        report.raise_for_failure()


def test_a_flip_in_the_middle_of_a_segment_is_bounded_by_the_losses(lying_run) -> None:
    """After the flip in step 18 every step computes with a wrong weight; the loss of step 19 shows it."""
    finding = only_finding(verify(lying_run(18, WEIGHT, 0, bit=22), full=True))
    assert (finding.segment, finding.slot) == (2, "model.weight")
    assert (finding.first_step, finding.last_step) == (16, 19)
    assert "the claimed loss of step 19 is already wrong" in finding.message


def test_a_false_loss_is_named_with_its_step(lying_run) -> None:
    finding = only_finding(verify(lying_run(30, LOSS, 27, bit=31), full=True))
    assert (finding.segment, finding.slot, finding.element) == (3, "record.loss", (27,))
    assert (finding.last_step, finding.kernel, finding.source) == (27, 3, "record: loss")


def test_a_slot_that_no_kernel_writes(lying_run) -> None:
    finding = only_finding(verify(lying_run(40, MASK, 4), full=True))
    assert (finding.segment, finding.slot, finding.element) == (5, "model.mask", (4,))
    assert (finding.kernel, finding.source) == (None, None)
    assert "handed on from itself, by no kernel" in finding.message


def test_the_last_state_can_be_a_lie_too(lying_run) -> None:
    finding = only_finding(verify(lying_run(49, CALLS, 0, bit=5), full=True))
    assert (finding.segment, finding.slot, finding.element) == (6, "model.calls", ())
    assert finding.source == "net.py:9 forward: self.calls += 1"
    assert (finding.claimed, finding.true) == ("0x00000012", "0x00000032")


def test_a_lie_whose_state_was_dropped_is_found_by_its_root(lying_run) -> None:
    finding = only_finding(verify(lying_run(23, WEIGHT, 1, keep=2), full=True))
    assert (finding.segment, finding.first_step, finding.last_step) == (2, 16, 23)
    assert finding.element is None
    assert "the claimed state is not stored" in finding.message


def test_a_sample_finds_a_lie_exactly_if_it_draws_its_segment(lying_run) -> None:
    folder = lying_run(23, WEIGHT, 1)
    seen = {True: 0, False: 0}
    for seed in range(20):
        report = verify(folder, sample=0.3, seed=seed)
        assert report.ok == (2 not in report.sampled)
        seen[report.ok] += 1
    assert min(seen.values()) > 0


def test_a_worker_with_another_program_is_another_job(honest: Path) -> None:
    """Same data, a lower learning rate: not a lie, but a different manifest."""
    mine, theirs = ts.load_receipt(honest).manifest, tiny_job(steps=49).manifest
    assert mine.id != theirs.id
    assert "program" in mine.differences(theirs)


def test_a_program_that_is_not_training_is_a_job_too(tmp_path: Path) -> None:
    """No model, no loss: the same folder, receipt and verification."""
    whole = tiny_job().captured
    names = ["text", "cache", "drawn", "position", "mask"]
    captured = ts.Captured(whole.program, whole.state, whole.constants, names, ["a", "b", "c"], whole.sources)
    run = Job(captured, 50, 50, "generation").run(tmp_path / "run")
    assert run.losses is None and run.weights() == {}
    assert run.receipt.files.model is None and not (tmp_path / "run" / "model.safetensors").exists()
    assert verify(tmp_path / "run", full=True).ok
