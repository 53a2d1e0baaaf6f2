"""A worker trains, a verifier checks; then somebody changes one bit, anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.story import JOBS, Colleague, User, copied, flip_bit

FILES = ["states/*.state", "constants/*.bin", "program.tally", "sources.json", "manifest.json", "model.safetensors"]


def test_an_honest_run_holds(user: User, trained: Path) -> None:
    report = user.tally_json("verify", trained / "receipt.json", "--full")
    assert report["ok"] is True
    assert report["findings"] == []
    assert report["sampled"] == report["checked"] == list(range(6))
    assert report["miss_probability"] == 0


def test_a_sample_says_what_it_can_miss(colleague: Colleague, trained: Path) -> None:
    done = colleague.tally("verify", trained, "--sample", "34%")
    assert "2 of 6 segments were drawn" in done.stdout
    assert "missed by such a draw with probability 66.7%" in " ".join(done.stdout.split())


@pytest.mark.parametrize("pattern", FILES)
def test_a_flipped_bit_is_found_and_its_file_named(
    colleague: Colleague, trained: Path, tmp_path: Path, pattern: str
) -> None:
    tampered = copied(trained, tmp_path / "tampered")
    path = sorted(tampered.glob(pattern))[0]
    flip_bit(path)
    report = colleague.tally_json("verify", tampered, "--full", expect=1)
    assert report["ok"] is False
    assert str(path) in {finding["file"] for finding in report["findings"]}


@pytest.mark.parametrize("field", ["roots", "worker", "facts_id", "signature", "manifest_id"])
def test_a_changed_receipt_is_found(colleague: Colleague, trained: Path, tmp_path: Path, field: str) -> None:
    tampered = copied(trained, tmp_path / "tampered")
    path = tampered / "receipt.json"
    value = json.loads(path.read_text())[field]
    digits = value[2] if field == "roots" else value
    changed = digits[:-1] + ("0" if digits[-1] != "0" else "1")
    path.write_text(path.read_text().replace(digits, changed))
    colleague.tally("verify", tampered, "--full", expect=1)


def test_a_changed_state_is_traced_to_the_users_line(colleague: Colleague, trained: Path, tmp_path: Path) -> None:
    """The bit is flipped in the state after segment 2; everything that leads there is named."""
    tampered = copied(trained, tmp_path / "tampered")
    root = json.loads((trained / "receipt.json").read_text())["roots"][2]
    (path,) = tampered.glob(f"states/*{root}*")
    flip_bit(path, part=1 / 3)
    finding = colleague.tally_json("verify", tampered, "--full", expect=1)["findings"][0]
    assert finding["segment"] == 2
    assert finding["last_step"] == 11
    assert finding["slot"].startswith(("model.", "optimizer.", "record."))
    assert isinstance(finding["element"], list)
    assert int(finding["claimed"], 16) ^ int(finding["true"], 16) in {1 << bit for bit in range(32)}
    assert isinstance(finding["kernel"], int)
    assert finding["source"]
    said = colleague.tally("verify", tampered, "--full", expect=1).stdout
    for fact in ("segment", "kernel", "source", "slot", "element", finding["slot"], finding["claimed"]):
        assert fact in said


def test_no_thread_count_changes_a_bit(colleague: Colleague, trained: Path, tmp_path: Path) -> None:
    summary = colleague.tally_json("run", f"{JOBS}:job", "--out", tmp_path / "again", "--threads", "3")
    assert summary["final_root"] == json.loads((trained / "receipt.json").read_text())["roots"][-1]


def test_verifying_needs_no_torch(user: User, trained: Path, tmp_path: Path) -> None:
    """Torch is hidden from the process by a module of the same name that refuses to be imported."""
    (tmp_path / "torch.py").write_text("raise ImportError('there is no torch here')\n")
    environment = {**user.environment, "PYTHONPATH": str(tmp_path)}
    without_torch = type("WithoutTorch", (User,), {"environment": environment})(user.home)
    without_torch.tally("verify", trained, "--full")
    without_torch.tally("inspect", trained)
    without_torch.tally("predict", trained, f"{JOBS}:predict", expect=2)
