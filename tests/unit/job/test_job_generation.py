"""Generation jobs: the right tokens, runs that can be resumed and verified, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tallystick as ts
from captured_runs import final
from generation_models import (
    CONTEXT,
    PROMPTS,
    WORDS,
    TinyModel,
    decode,
    drawn_by_reference,
    generation_job,
    greedy,
    uniforms,
)
from job_helpers import copy_run, tree
from tallystick.dispute import LocalArena
from tallystick.engine.dataflow import Dataflow
from tallystick.errors import CaptureError, JobError
from tallystick.job import verification
from tallystick.job.folder import RunFolder
from tallystick.job.hashing import JobHasher
from tallystick.job.simulation import simulate
from tallystick.job.stretch import whole_job
from tallystick.spec.referee import Terms

NEW = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "greedy"
    generation_job().run(folder, threads=1, keep_states="all")
    return folder


@pytest.fixture(scope="module")
def expected() -> list[list[int]]:
    model = TinyModel()
    return [greedy(model, prompt, NEW) for prompt in PROMPTS]


def test_greedy_tokens_are_those_of_pytorch_without_a_cache(folder: Path, expected: list[list[int]]) -> None:
    found = ts.GenerationRun.open(folder)
    assert found.prompts() == PROMPTS
    assert found.tokens() == expected


def test_a_prompt_may_be_fed_token_by_token(tmp_path: Path, expected: list[list[int]]) -> None:
    found = generation_job(prefill=False).run(tmp_path / "run", threads=1)
    assert found.steps == NEW + max(map(len, PROMPTS)) - 1
    assert not (tmp_path / "run" / "before").exists()
    assert found.tokens() == expected
    assert ts.verify(found.folder, full=True).ok


def test_prompts_of_one_token_need_no_prefill(tmp_path: Path, expected: list[list[int]]) -> None:
    job = generation_job(prompts=[PROMPTS[1]])
    assert job.prefill_job() is None
    assert job.run(tmp_path / "run", threads=1).tokens() == expected[1:2]


@pytest.mark.parametrize("prefill", [True, False])
def test_a_row_ends_with_its_end_token(prefill: bool, tmp_path: Path, expected: list[list[int]]) -> None:
    end = expected[2][3]
    found = generation_job(end_token=end, padding=10, prefill=prefill).run(tmp_path / "run", threads=1)
    cut = [row[: row.index(end) + 1] if end in row else row for row in expected]
    assert found.tokens() == cut
    rows = found.state()["tokens"]
    for row, prompt, new in zip(rows, PROMPTS, cut, strict=True):
        assert row.tolist() == prompt + new + [10] * (rows.shape[1] - len(prompt) - len(new))


ENDS: dict[str, Callable[[list[int]], Any]] = {
    "list": lambda ends: ends,
    "tuple": tuple,
    "numpy": lambda ends: np.array(ends, np.int64),
    "torch": torch.tensor,
    "numbers of all libraries, some twice": lambda ends: [ends[0], np.int32(ends[1]), *map(torch.tensor, ends)],
}


@pytest.mark.parametrize("kind", ENDS)
def test_a_row_ends_with_any_of_its_end_tokens(kind: str, tmp_path: Path, expected: list[list[int]]) -> None:
    ends = [expected[2][3], expected[0][2]]
    found = generation_job(end_token=ENDS[kind](ends)).run(tmp_path / "run", threads=1)
    cut = [row[: min((row.index(end) + 1 for end in ends if end in row), default=NEW)] for row in expected]
    assert found.tokens() == cut
    assert len({len(row) for row in cut}) > 1, "both of them end a row"
    rows = found.state()["tokens"]
    assert set(rows[2][len(PROMPTS[2]) + len(cut[2]) :]) <= {ends[0]}, "padded with the first"
    assert ts.verify(found.folder, full=True).ok


def test_one_end_token_is_the_same_job_however_it_is_written() -> None:
    jobs = [generation_job(end_token=end) for end in (3, [3], np.uint8(3), torch.tensor(3), torch.tensor([3]))]
    assert len({job.job().manifest.id for job in jobs}) == 1
    assert generation_job(end_token=[]).job().manifest.id == generation_job().job().manifest.id


@pytest.mark.parametrize("prompts", [[torch.tensor([1, 2, 3]), [4]], [np.array([1, 2, 3]), np.array([4], np.int32)]])
def test_prompts_may_be_arrays(prompts: Any) -> None:
    assert generation_job(prompts=prompts).numbers == [[1, 2, 3], [4]]
    assert generation_job(prompts=torch.tensor([[1, 2], [3, 4]])).numbers == [[1, 2], [3, 4]]


def test_drawn_tokens_are_those_of_a_reference(tmp_path: Path) -> None:
    rule, seed, model = ts.Sample(temperature=1.3, top_k=7, top_p=0.9), 5, TinyModel().eval()
    found = generation_job(sampling=rule, seed=seed).run(tmp_path / "run", threads=1).tokens()
    for row, prompt in enumerate(PROMPTS):
        tokens = list(prompt)
        for step in range(NEW):
            logits = model(torch.tensor([tokens]))[0, -1].detach().numpy()
            tokens.append(drawn_by_reference(logits, rule, uniforms(seed, step, len(PROMPTS))[row]))
        assert found[row] == tokens[len(prompt) :]


def test_engine_and_specification_agree() -> None:
    job = generation_job(sampling=ts.Sample(top_p=0.9), new_tokens=2, prompts=[[1, 2], [3]])
    for one, steps in ((job.prefill_job(), 1), (job.job(), 2)):
        assert one is not None
        final(one.captured, steps, threads=2)


def test_a_token_costs_one_row_of_the_cache() -> None:
    """Every slot of the cache is updated in place, by a kernel over one token."""
    captured = generation_job().job().captured
    dataflow = Dataflow(captured.program)
    slots = [slot for slot, name in enumerate(captured.state_names) if name.startswith("cache.")]
    assert len(slots) == 4
    for slot in slots:
        landing = dataflow.landing[slot]
        assert landing.in_place
        kernel = captured.program.kernels[dataflow.maker[landing.value]]
        assert np.prod(kernel.out_shape) == captured.state[slot].size // captured.state[slot].shape[2]


# RUNS
def test_the_job_made_without_a_run_is_the_one_that_runs(folder: Path) -> None:
    assert generation_job().job().manifest.id == ts.Run.open(folder).manifest.id


def test_an_interrupted_run_goes_on(folder: Path, tmp_path: Path) -> None:
    whole, broken = tree(folder), copy_run(folder, tmp_path / "broken")
    (broken / "receipt.json").unlink()
    journal = (broken / "journal").read_text().splitlines(keepends=True)
    (broken / "journal").write_text("".join(journal[:-2]))
    entered = tree(broken / "before")
    found = generation_job().run(broken, threads=1, keep_states="all")
    assert found.start_step == 4
    assert tree(broken / "before") == entered
    assert {name: data for name, data in tree(broken).items() if name.startswith("states/")} == {
        name: data for name, data in whole.items() if name.startswith("states/")
    }


def test_verify_checks_the_prompts_run_too(folder: Path) -> None:
    report = ts.verify(folder, full=True)
    assert report.ok, report.findings
    assert report.segments == 3


def test_a_tampered_token_is_found(folder: Path, tmp_path: Path) -> None:
    """A stored state with another token and the digests that belong to it: only running again can tell."""
    broken = copy_run(folder, tmp_path / "broken")
    receipt = ts.load_receipt(broken)
    job = ts.Job.open(broken)
    files = RunFolder(broken).state_files(job.captured.program.states, job.captured.state_names, JobHasher())
    state = [np.array(array) for array in files.open(receipt.boundary_roots[-1])]
    slot = job.captured.state_names.index("tokens")
    state[slot][1, 9] ^= 1
    path = files.blobs.path(receipt.boundary_roots[-1])
    data = bytearray(path.read_bytes())
    start = 32 * len(state) + sum(type.nbytes for type in job.captured.program.states[:slot])
    data[start : start + state[slot].nbytes] = state[slot].tobytes()
    path.write_bytes(data)
    report = ts.verify(broken, full=True)
    assert not report.ok
    assert report.difference is not None
    assert (report.difference.slot, report.difference.element) == ("tokens", (1, 9))


def without(broken: Path) -> None:
    shutil.rmtree(broken / "before")


def another(broken: Path) -> None:
    shutil.rmtree(broken / "before")
    job = generation_job(prompts=[[2, 2, 3], [4], [5, 6, 7, 8, 9]]).prefill_job()
    assert job is not None
    job.run(broken / "before", threads=1)


def damaged(broken: Path) -> None:
    (path,) = (path for path in (broken / "before" / "states").iterdir() if path.stem in final_root(broken))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def final_root(broken: Path) -> str:
    return json.loads((broken / "before" / "receipt.json").read_text())["roots"][-1]


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (without, "goes on from another one, which cannot be checked"),
        (another, "another job"),
        (damaged, "cache.1.values"),
    ],
)
def test_the_run_it_goes_on_from_must_be_there_and_sound(
    tamper: Any, message: str, folder: Path, tmp_path: Path
) -> None:
    broken = copy_run(folder, tmp_path / "broken")
    tamper(broken)
    report = ts.verify(broken, full=True)
    assert any(message in finding.message for finding in report.findings), report.findings


def test_a_run_that_starts_elsewhere_is_found(folder: Path, tmp_path: Path) -> None:
    """The decode run claims the right job before it, but does not start where that one ended."""
    job = generation_job()
    captured, entering = job.job().captured, job.prefill_job()
    assert entering is not None
    captured.state[captured.state_names.index("cache.0.keys")][0] += 1.0
    lie = ts.Job(captured, NEW, 4, job.title, entering.manifest.id.hex())
    lie.run(tmp_path / "lie", threads=1)
    shutil.copytree(folder / "before", tmp_path / "lie" / "before")
    report = ts.verify(tmp_path / "lie", full=True)
    assert ["does not start where" in finding.message for finding in report.findings] == [True]


def test_a_folder_that_leads_back_to_itself_ends(folder: Path, tmp_path: Path) -> None:
    broken = copy_run(folder, tmp_path / "broken")
    shutil.rmtree(broken / "before")
    (broken / "before").symlink_to(broken, target_is_directory=True)
    report = ts.verify(broken, sample=0.3)
    assert ["another job" in finding.message for finding in report.findings] == [True]


def chain(tmp_path: Path, segments: list[int]) -> Path:
    """The folder of the last of some runs with so many segments that go on from each other."""
    captured = ts.capture_program(lambda state: {"x": state["x"] + 1.0}, state={"x": np.zeros(1, np.float32)})
    after, folder = None, tmp_path
    for number, count in enumerate(segments):
        job = ts.Job(captured, steps=count, segment_steps=1, name=f"part {number}", after=after)
        run = job.run(tmp_path / str(number), threads=1)
        if number:
            shutil.copytree(folder, tmp_path / str(number) / "before")
        captured = replace(captured, state=[np.array(array) for array in run.state().values()])
        after, folder = job.manifest.id.hex(), tmp_path / str(number)
    return folder


def test_what_a_draw_misses_counts_the_runs_before(tmp_path: Path) -> None:
    last = chain(tmp_path, [4, 1])
    report = ts.verify(last, sample=0.25)
    assert report.ok, report.findings
    assert [(run.name, len(run.sampled)) for run in report.runs] == [("part 1", 1), ("part 0", 1)]
    assert report.miss_probability == 0.75
    assert report.statement.startswith("2 of 5 segments of this run and of what it goes on from were drawn")
    assert ts.verify(last, full=True).statement.startswith("All 5 segments of this run and of what it goes on from")


def test_a_chain_of_runs_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last = chain(tmp_path, [1, 1, 1])
    assert len(ts.verify(last).runs) == 3
    monkeypatch.setattr(verification, "LONGEST_CHAIN", 2)
    report = ts.verify(last)
    assert ["more than 2 runs" in finding.message for finding in report.findings] == [True]


def test_a_liar_about_a_token_is_convicted() -> None:
    stretch = whole_job(generation_job(prefill=False, new_tokens=4, prompts=[[1, 2], [3]]).job())
    done = simulate(stretch, LocalArena(Terms()), fault="weight-ulp", at=2, threads=1)
    assert done.liar_lost


# WHAT CANNOT BE
class Tokenizer:
    def encode(self, text: str) -> list[int]:
        return [ord(letter) - ord("a") for letter in text]

    def decode(self, tokens: list[int]) -> str:
        return "".join(chr(token + ord("a")) for token in tokens)


def test_prompts_may_be_texts(tmp_path: Path, expected: list[list[int]]) -> None:
    texts = [Tokenizer().decode(prompt) for prompt in PROMPTS]
    found = generation_job(prompts=texts, tokenizer=Tokenizer()).run(tmp_path / "run", threads=1)
    assert found.texts() == [Tokenizer().decode(row) for row in expected]
    with pytest.raises(JobError, match="there is no tokenizer"):
        ts.GenerationRun.open(found.folder).texts()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": []}, "at least one"),
        ({"prompts": [[1], []]}, "prompt 1 has no tokens"),
        ({"prompts": ["ab"]}, "no tokenizer"),
        ({"prompts": [[1.5]]}, "prompt 0 is not a list of token numbers"),
        ({"prompts": [[True]]}, "prompt 0 is not a list of token numbers"),
        ({"prompts": [torch.tensor([1.0])]}, "prompt 0 is not a list of token numbers"),
        ({"prompts": torch.tensor([1, 2])}, "prompt 0 is not a list of token numbers"),
        ({"prompts": [1, 2]}, "prompt 0 is not a list of token numbers"),
        ({"prompts": [[1, -1]]}, "prompt 0 is not a list of token numbers"),
        ({"new_tokens": 0}, "new_tokens|steps"),
        ({"end_token": -1}, "-1 is no token.*None if the model has none"),
        ({"end_token": [3, -1]}, "-1 is no token"),
        ({"end_token": 2.0}, "2.0 is no token"),
        ({"end_token": True}, "True is no token"),
        ({"end_token": "</s>"}, "is no token"),
        ({"end_token": [[1, 2]]}, "is no token"),
        ({"padding": -100}, "padding=-100 is no token"),
        ({"sampling": "greedy"}, "ts.Greedy"),
    ],
)
def test_jobs_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(JobError, match=message):
        generation_job(**changes)


def no_cache(model: Any, tokens: Any, cache: Any, positions: Any) -> Any:
    return model(tokens)


def wrong_shape(model: Any, tokens: Any, cache: Any, positions: Any) -> Any:
    return decode(model, tokens, cache, positions)[:, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"end_token": WORDS}, f"the end token {WORDS} is one that the model does not know"),
        ({"end_token": WORDS, "padding": 0}, f"{WORDS} can never be chosen.*numbered from 0 to {WORDS - 1}"),
        ({"end_token": [1, 99]}, "the end token 99 can never be chosen"),
        ({"prompts": [[1], [2, WORDS]]}, f"prompt 1 has the token {WORDS}, which the model does not know"),
        ({"padding": WORDS}, f"padding={WORDS} is a token that the model does not know"),
        ({"prompts": [[1] * 14]}, f"no position 24.*it has {CONTEXT}.*together may be {CONTEXT + 1}"),
        ({"new_tokens": CONTEXT + 1}, "longest prompt has 5 tokens, and 25 are to be added"),
    ],
)
def test_tokens_and_positions_beyond_their_tables_are_refused(changes: dict[str, Any], message: str) -> None:
    """A table of the model that is indexed beyond its end is found before anything is captured."""
    with pytest.raises(CaptureError, match=message):
        generation_job(**changes).capture()


def test_what_just_fits_its_tables_works(tmp_path: Path) -> None:
    """The advice of the refusals above, followed to the last token."""
    found = generation_job(
        prompts=[[WORDS - 1] * 13], new_tokens=CONTEXT + 1 - 13, end_token=[WORDS - 1], padding=WORDS - 1
    ).run(tmp_path / "run", threads=1)
    assert found.state()["tokens"].shape == (1, CONTEXT + 1)


def test_the_size_of_the_table_is_said_where_it_is_known() -> None:
    class Known(TinyModel):
        def get_input_embeddings(self) -> torch.nn.Module:
            return self.token

    with pytest.raises(CaptureError, match=f"it knows {WORDS}, numbered from 0 to {WORDS - 1}"):
        generation_job(model=Known(), prompts=[[40]]).capture()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decode": None}, "forward takes no input_ids"),
        ({"decode": no_cache}, "did not use the cache"),
        ({"decode": wrong_shape}, "must return logits of shape"),
    ],
)
def test_models_that_cannot_be_captured(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        generation_job(**changes).capture()


def test_a_model_is_left_as_it_was() -> None:
    model = TinyModel()
    model.train()
    generation_job(model=model, prompts=[[1]], new_tokens=CONTEXT - 1).capture()
    assert model.training
    assert model.drop.training


def test_only_generation_runs_are_opened_as_such(tmp_path: Path) -> None:
    job = ts.Job(ts.capture_program(lambda state: state, state={"x": np.zeros(1, np.float32)}), steps=1)
    job.run(tmp_path / "run", threads=1)
    with pytest.raises(JobError, match="no run of a generation job"):
        ts.GenerationRun.open(tmp_path / "run")
