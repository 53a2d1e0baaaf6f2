"""A chat model's file is read, adapters are trained beside it, verified, disputed, and read by plain peft."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

import tallystick as ts
from tallystick.dispute import LocalArena
from tallystick.job.simulation import simulate
from tallystick.job.stretch import segment_of
from tallystick.spec.referee import Terms
from tiny_gguf import write_gguf

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

lora = pytest.importorskip("lora")
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks for it
LOGITS = 1e-5  # how far those of plain peft may be from ours, beside the greatest


@dataclass(frozen=True)
class Trained:
    """A model's file, and what was trained beside it."""

    folder: Path
    gguf: str
    words: PreTrainedTokenizerBase
    rows: dict[str, np.ndarray]
    tested: dict[str, np.ndarray]
    run: ts.Run


@pytest.fixture(scope="module", params=["tiny", pytest.param("published", marks=pytest.mark.slow)])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The tiny model starts from random weights and has a letter for a token; the real one is the example's."""
    if request.param == "tiny":
        folder, gguf, length, steps = tmp_path_factory.mktemp("tiny"), "tiny.gguf", 192, 36
        write_gguf(folder / gguf)
    else:
        folder, gguf, length, steps = lora.weights(), lora.GGUF, lora.LENGTH, 24
    words = lora.tokenizer(folder, gguf)
    rows, tested = (lora.encode(words, asked[:400], length) for asked in lora.questions())
    job = lora.training(lora.published(folder, gguf), rows, steps)
    run = job.run(tmp_path_factory.mktemp("runs") / "lora", threads=1, keep_states="all")
    return Trained(folder, gguf, words, rows, {name: array[:16] for name, array in tested.items()}, run)


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Queries and keys come back in the order of rows that they had before llama.cpp's converter changed it."""
    source = write_gguf(tmp_path / "exact.gguf", narrow=False)
    read = lora.published(tmp_path, "exact.gguf")
    assert read.state_dict().keys() == source.state_dict().keys()
    for name, weight in source.state_dict().items():
        assert torch.equal(weight, read.state_dict()[name]), name
    ids = torch.arange(3, 67)[None]
    with torch.no_grad():
        assert torch.equal(source(input_ids=ids).logits, read(input_ids=ids).logits)
    lora.adapted(read).merge_and_unload().save_pretrained(tmp_path / "merged")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert torch.equal(again.lm_head.weight, source.lm_head.weight)


def test_nothing_is_trained_on_and_tested_on() -> None:
    trained, tested = lora.questions()
    assert len(trained) > lora.STEPS * lora.BATCH and len(tested) > lora.TESTED
    answers = [answer for _, answer in trained + tested]
    assert len(set(answers)) == len(answers)
    modules = [{question.split()[2].split(".")[0] for question, _ in part} for part in (trained, tested)]
    assert modules[0].isdisjoint(modules[1])


def test_only_answers_are_learnt(trained: Trained) -> None:
    for ids, labels in zip(trained.rows["ids"][:20], trained.rows["labels"][:20], strict=True):
        learnt = labels != lora.IGNORED
        assert np.array_equal(ids[learnt], labels[learnt])
        text = trained.words.decode(ids[: learnt.argmax()])
        assert text.endswith("<|im_start|>assistant\n") and "What does" in text
        assert trained.words.decode(labels[learnt]).endswith("<|im_end|>")


def test_the_loss_falls_on_text_that_was_not_trained_on(trained: Trained) -> None:
    losses = trained.run.losses
    assert losses is not None and losses[-6:].mean() < losses[:3].mean() - 0.05
    model = trained.run.model()
    with model.disable_adapter():
        before = lora.held_out_loss(model, trained.tested)
    assert lora.held_out_loss(model, trained.tested) < before - 0.02


def test_only_adapters_are_state(trained: Trained) -> None:
    manifest = trained.run.manifest
    assert all("lora_" in fact.name for fact in manifest.state if fact.name.startswith("model."))
    assert any("embed_tokens" in fact.name for fact in manifest.constants)


def test_samples_hold_and_a_tampered_run_does_not(trained: Trained, tmp_path: Path) -> None:
    folder = trained.run.folder
    assert ts.verify(folder / "receipt.json", sample=0.1, seed=0).ok
    tampered = tmp_path / "tampered"
    shutil.copytree(folder, tampered, copy_function=shutil.copy)
    weights = load_file(tampered / "model.safetensors")
    name = next(name for name in sorted(weights) if "lora_B" in name)
    flat = weights[name].reshape(-1).view(np.uint32)
    flat[0] ^= 1
    save_file(weights, tampered / "model.safetensors")
    report = ts.verify(tampered / "receipt.json", sample=0.1, seed=0)
    assert not report.ok
    assert any(finding.file.endswith("model.safetensors") for finding in report.findings)


def test_plain_peft_loads_the_adapters(trained: Trained, tmp_path: Path) -> None:
    ours = trained.run.model().eval()
    lora.adapters(ours, to=str(tmp_path / "adapters"))
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {
        path.name for path in (tmp_path / "adapters").iterdir()
    }
    theirs = PeftModel.from_pretrained(lora.published(trained.folder, trained.gguf), str(tmp_path / "adapters")).eval()
    ids = torch.from_numpy(trained.tested["ids"][:4])
    with torch.no_grad():
        one, other = ours(input_ids=ids).logits, theirs(input_ids=ids).logits
        with theirs.disable_adapter():
            without = theirs(input_ids=ids).logits
    assert (one - other).abs().max() <= LOGITS * one.abs().max()
    assert (one - without).abs().max() > 100 * LOGITS * one.abs().max(), "the adapters do something"


def test_one_ulp_in_one_weight_is_convicted(trained: Trained) -> None:
    stretch = segment_of(trained.run.folder, 7)
    done = simulate(stretch, LocalArena(Terms()), fault="weight-ulp", at=7, threads=1)
    assert done.liar_lost
    verdict = done.verdict
    assert verdict.source == "optimizer: AdamW" and verdict.step == 7
    assert verdict.slot is not None and ".lora_" in verdict.slot
    assert verdict.claimed is not None and verdict.executed is not None
    assert int(verdict.claimed, 16) ^ int(verdict.executed, 16) == 1
