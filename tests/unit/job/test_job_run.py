"""Running a job in a folder: what is written, what is refused, and that nothing finished is ever lost."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from job_helpers import SOURCES, STATE_NAMES, flip, tiny_captured, tiny_job, tree
from tallystick.errors import IntegrityError, JobError, ResourceError, TallystickError, UsageError
from tallystick.job import Job, Progress, Run, load_receipt
from tallystick.job.folder import OWN_NAMES
from tallystick.spec.programs import run as spec_run
from tallystick.spec.tensors import Tensor
from tallystick.store import FolderLock


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    tiny_job().run(folder)
    return folder


class Interrupt:
    """A listener that is interrupted after some reports of the run phase."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.steps: list[int] = []

    def __call__(self, progress: Progress) -> None:
        if progress.phase == "run":
            self.steps.append(progress.step)
            self.after -= 1
            if self.after < 0:
                raise KeyboardInterrupt


def states(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "states").iterdir()}


# WHAT A RUN YIELDS


def test_the_final_state_is_the_specs(finished: Path) -> None:
    captured = tiny_captured(50)
    program = captured.program
    start = [Tensor(t, a.tobytes()) for t, a in zip(program.states, captured.state, strict=True)]
    constants = [Tensor(t, a.tobytes()) for t, a in zip(program.constants, captured.constants, strict=True)]
    expected = spec_run(program, start, constants, 0, 50)
    state = Run.open(finished).state()
    assert list(state) == STATE_NAMES
    for array, tensor in zip(state.values(), expected, strict=True):
        assert array.tobytes() == bytes(tensor.data)


def test_a_run_folder_is_complete_and_its_receipt_sound(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == OWN_NAMES - {"before"}
    receipt = load_receipt(finished)
    assert receipt.problems() == []
    assert receipt.manifest == tiny_job().manifest
    assert len(receipt.roots) == receipt.manifest.segments == 7
    assert states(finished) == {receipt.manifest.start_root, *receipt.roots}
    assert receipt.facts.peak_memory_bytes > 0
    assert len(receipt.facts.segment_ms) == 7


def test_a_run_gives_losses_and_weights(finished: Path) -> None:
    run = Run.open(finished)
    assert run.losses is not None
    assert run.losses.shape == (50,) and run.losses.dtype == np.float32
    assert (run.losses > 0).all()
    weights = run.weights()
    assert set(weights) == {"weight", "calls", "mask", "frozen"}
    assert weights["calls"] == 50
    with pytest.raises(JobError, match=r"run.model\(MyModule\(\)\)"):
        run.model()


def test_the_receipt_holds_no_secret_and_no_path(finished: Path, own_signing_key: Path) -> None:
    secret = (own_signing_key / "signing.key").read_text().strip()
    for name, content in tree(finished).items():
        assert secret.encode() not in content, name
        assert str(finished).encode() not in content, name


def test_progress_goes_from_the_first_step_to_the_last(tmp_path: Path) -> None:
    seen: list[Progress] = []
    tiny_job().run(tmp_path / "run", progress=seen.append)
    phases = [progress.phase for progress in seen]
    assert phases[:3] == ["write", "check", "compile"]
    steps = [progress.step for progress in seen if progress.phase == "run"]
    assert steps == sorted(steps) and steps[0] == 0 and steps[-1] == 50
    last = seen[-1]
    losses = Run.open(tmp_path / "run").losses
    assert losses is not None and last.loss == float(losses[-1])
    assert last.eta_s == 0 and (last.segment, last.segments) == (6, 7)


def test_memory_mapped_data_gives_the_same_roots(finished: Path, tmp_path: Path) -> None:
    captured = tiny_captured(50)
    for number, array in enumerate(captured.constants):
        np.save(tmp_path / f"{number}.npy", array)
        captured.constants[number] = np.load(tmp_path / f"{number}.npy", mmap_mode="r")
    run = Job(captured, 50, 8, "tiny").run(tmp_path / "run")
    assert run.receipt.roots == load_receipt(finished).roots


# INTERRUPTED = UNINTERRUPTED


@pytest.mark.parametrize("after", [0, 1, 4, 9, 20])
def test_an_interrupted_run_resumes_and_ends_with_the_same_roots(finished: Path, tmp_path: Path, after: int) -> None:
    folder = tmp_path / "run"
    first = Interrupt(after)
    with pytest.raises(KeyboardInterrupt):
        tiny_job().run(folder, progress=first)
    assert not (folder / "receipt.json").exists()
    second = Interrupt(10**6)
    run = tiny_job().run(folder, progress=second)
    assert second.steps[0] == run.start_step == max(0, first.steps[-1] - 1) // 8 * 8
    assert load_receipt(folder).roots == load_receipt(finished).roots
    assert (folder / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


def test_a_folder_alone_can_be_resumed(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        tiny_job().run(tmp_path / "run", progress=Interrupt(9))
    job = Job.open(tmp_path / "run")
    assert job.manifest.id == tiny_job().manifest.id
    assert Job(job.captured, job.steps, job.segment_steps, job.name).manifest == job.manifest
    assert job.captured.sources == SOURCES
    job.run(tmp_path / "run")
    assert load_receipt(tmp_path / "run").roots == load_receipt(finished).roots


def test_a_finished_run_is_not_run_again(finished: Path) -> None:
    before = tree(finished)
    seen: list[Progress] = []
    run = tiny_job().run(finished, progress=seen.append)
    assert {progress.phase for progress in seen} == {"write", "check"}
    assert run.start_step == 50
    assert tree(finished) == before


DAMAGES: dict[str, Callable[[Path], object]] = {
    "newest state lost": lambda folder: newest_state(folder).unlink(),
    "newest state cut": lambda folder: newest_state(folder).write_bytes(newest_state(folder).read_bytes()[:-3]),
    "newest state flipped": lambda folder: newest_state(folder).write_bytes(
        newest_state(folder).read_bytes()[:-1] + b"\x07"
    ),
    "all states lost": lambda folder: shutil.rmtree(folder / "states"),
    "journal lost": lambda folder: (folder / "journal").unlink(),
    "journal torn": lambda folder: (folder / "journal").write_bytes((folder / "journal").read_bytes()[:-20]),
    "journal garbage": lambda folder: (folder / "journal").write_bytes(bytes(range(256))),
    "a constant lost": lambda folder: next((folder / "constants").iterdir()).unlink(),
    "program flipped": lambda folder: (folder / "program.tally").write_bytes(b"x"),
    "a temporary file left": lambda folder: (folder / "states" / ".123-abc.tmp").write_bytes(b"x"),
    "model cut": lambda folder: (folder / "model.safetensors").write_bytes(b"x"),
}


def newest_state(folder: Path) -> Path:
    root = (folder / "journal").read_text().split()[-4]
    return folder / "states" / f"{root}.state"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("at", ["half way", "at the end"])
def test_a_damaged_folder_heals_when_it_is_resumed(finished: Path, tmp_path: Path, damage: str, at: str) -> None:
    folder = tmp_path / "run"
    if at == "at the end":
        shutil.copytree(finished, folder)
        (folder / "receipt.json").unlink()
    else:
        with pytest.raises(KeyboardInterrupt):
            tiny_job().run(folder, progress=Interrupt(9))
    DAMAGES[damage](folder)
    tiny_job().run(folder)
    assert load_receipt(folder).roots == load_receipt(finished).roots
    mine, theirs = tree(folder), tree(finished)
    assert mine.keys() == theirs.keys()
    for name in mine.keys() - {"receipt.json", "journal"}:
        assert mine[name] == theirs[name], name


def test_starting_anew_forgets_the_old_run(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    run = tiny_job(seed=1).run(folder, resume=False)
    assert run.start_step == 0
    assert states(folder) == {run.manifest.start_root, *run.receipt.roots}
    assert len(list((folder / "constants").iterdir())) == 3


# WHICH STATES STAY


@pytest.mark.parametrize(("keep", "kept"), [(2, [0, 7]), (3, [0, 4, 7]), (4, [0, 3, 6, 7]), ("all", range(8))])
def test_keep_states(finished: Path, tmp_path: Path, keep, kept: list[int]) -> None:
    tiny_job().run(tmp_path / "run", keep_states=keep)
    roots = [root.hex() for root in load_receipt(finished).boundary_roots]
    assert states(tmp_path / "run") == {roots[boundary] for boundary in kept}


def test_a_resumed_run_drops_what_it_need_not_keep(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        tiny_job().run(tmp_path / "run", progress=Interrupt(13), keep_states="all")
    tiny_job().run(tmp_path / "run", keep_states=2)
    roots = [root.hex() for root in load_receipt(finished).boundary_roots]
    assert states(tmp_path / "run") == {roots[0], roots[7]}


# WHAT IS REFUSED


def test_another_job_in_the_folder_is_refused_and_untouched(finished: Path) -> None:
    before = tree(finished)
    cases = {
        "data and other constants, start state": tiny_job(seed=1),
        "segment length": tiny_job(segment_steps=9),
        "name": Job(tiny_captured(50), 50, 8, "other"),
        "number of steps": tiny_job(steps=49),
    }
    for words, job in cases.items():
        with pytest.raises(JobError, match=f"holds another job: they differ in .*{words}.*Choose another folder"):
            job.run(finished)
    assert tree(finished) == before


def test_a_folder_in_use_is_refused(finished: Path) -> None:
    with FolderLock(finished), pytest.raises(JobError, match="another process is working"):
        tiny_job().run(finished)


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(JobError, match=r"not empty and not a run folder \(it holds thesis.tex\)"):
        tiny_job().run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_manifest_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "manifest.json").write_bytes(b"{}")
    with pytest.raises(JobError, match=r"manifest.json is malformed.*resume=False"):
        tiny_job().run(tmp_path / "run")
    with pytest.raises(JobError, match="not a run folder"):
        Job.open(tmp_path)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(JobError, match="cannot write"):
        tiny_job().run(tmp_path / "run")


@pytest.mark.parametrize(
    ("steps", "segment_steps", "words"),
    [
        (0, 8, "steps=0: give a number from 1"),
        (-5, 8, "steps=-5"),
        (8, 0, "segment_steps=0"),
        (2.0, 8, "steps=2.0: give a whole number"),
        (True, 8, "steps=True"),
        (1 << 31, 1 << 31, "steps=2147483648"),
        (1_000_000, 3, "more than 100000 segments. Use segment_steps=10 or more"),
    ],
)
def test_numbers_that_cannot_be(steps, segment_steps, words: str) -> None:
    with pytest.raises(JobError, match=words):
        Job(tiny_captured(50), steps, segment_steps, "tiny")


@pytest.mark.parametrize("name", ["", "a" * 201, "a\nb", "\x1b[31m", 7, None])
def test_names_that_cannot_be(name) -> None:
    with pytest.raises(JobError, match="name="):
        Job(tiny_captured(50), 50, 8, name)


def test_arrays_that_do_not_fit_the_program() -> None:
    captured = tiny_captured(50)
    captured.state[0] = captured.state[0].astype(np.float64)
    with pytest.raises(UsageError, match=r"model.weight is float64\[3\], but the program wants float32\[3\]"):
        Job(captured, 50, 8, "tiny")
    captured = tiny_captured(50)
    captured.state.pop()
    with pytest.raises(JobError, match="5 slots of state, but 4 arrays"):
        Job(captured, 50, 8, "tiny")
    captured = tiny_captured(50)
    captured.constant_names[1] = captured.constant_names[0]
    with pytest.raises(JobError, match="two slots of constants have the same name"):
        Job(captured, 50, 8, "tiny")


def test_a_loss_that_becomes_nan_says_when_and_keeps_what_was_finished(tmp_path: Path) -> None:
    """A huge value in the last row of the data: the weights overflow, and some steps later the loss is NaN."""
    job = tiny_job(poison=3e38)
    with pytest.raises(JobError, match=r"the loss became NaN in step (\d+).*learning rate") as caught:
        job.run(tmp_path / "run")
    step = int(str(caught.value).split("in step ")[1].split(".")[0])
    captured = job.captured
    values = [Tensor(t, a.tobytes()) for t, a in zip(captured.program.states, captured.state, strict=True)]
    constants = [Tensor(t, a.tobytes()) for t, a in zip(captured.program.constants, captured.constants, strict=True)]
    losses = np.frombuffer(bytes(spec_run(captured.program, values, constants, 0, 50)[2].data), np.float32)
    assert step == int(np.isnan(losses).argmax())
    assert len(states(tmp_path / "run")) == 1 + step // 8
    assert not (tmp_path / "run" / "receipt.json").exists()


def test_too_little_disk_is_said_before_anything_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=3000))
    with pytest.raises(ResourceError, match=r"this job needs .* free"):
        tiny_job().run(tmp_path / "run")
    tiny_job().run(tmp_path / "run", keep_states=2)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("after", [1, 7, 12, 15, 19, 25, 27])
def test_a_disk_that_refuses_at_any_moment_loses_nothing(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: int
) -> None:
    fsync, calls = os.fsync, [0]

    def refuse(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] > after:
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(UsageError, match=r"disk is full|may write to"):
            tiny_job().run(tmp_path / "run")
    run = tiny_job().run(tmp_path / "run")
    assert run.receipt.roots == load_receipt(finished).roots


def test_data_that_changes_while_it_is_stored_is_refused(tmp_path: Path) -> None:
    job = tiny_job()
    _ = job.manifest
    job.captured.constants[0][0, 0] += 1
    with pytest.raises(JobError, match=r"data.x changed while it was being stored"):
        job.run(tmp_path / "run")
    assert not (tmp_path / "run" / "manifest.json").exists()


# OPENING


def test_opening_refuses_damaged_files(finished: Path, tmp_path: Path) -> None:
    for name in ("program.tally", "sources.json", "constants", "states"):
        folder = tmp_path / name
        shutil.copytree(finished, folder)
        target = folder / name
        if target.is_dir():
            start = load_receipt(finished).manifest.start_root
            target = target / f"{start}.state" if name == "states" else sorted(target.iterdir())[0]
        flip(target, 60 if target.stat().st_size > 60 else 5)
        with pytest.raises(TallystickError) as caught:
            Job.open(folder)
        assert target.name in str(caught.value) or "at byte" in str(caught.value)


def test_reading_a_damaged_final_state_is_refused(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    newest = newest_state(tmp_path / "run")
    newest.write_bytes(newest.read_bytes()[:-1] + b"\x07")
    with pytest.raises(IntegrityError, match=r"model.mask changed"):
        _ = Run.open(tmp_path / "run").losses
