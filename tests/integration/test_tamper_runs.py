"""Any bit of a run folder that is flipped is found by full verification, and the file and the place are named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tallystick as ts
from job_helpers import flip, tiny_job
from tallystick.job import Finding, VerificationReport, verify
from tallystick.job.manifest import Manifest
from tallystick.job.receipt import FileFact, Receipt
from tallystick.job.signing import signing_key
from tallystick.job.sources import Sources


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_job().run(tmp_path_factory.mktemp("honest") / "run").folder


@pytest.fixture
def folder(honest: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    shutil.copytree(honest, tmp_path / "run")
    return tmp_path / "run"


def only_finding(report: VerificationReport) -> Finding:
    assert len(report.findings) == 1, [finding.message for finding in report.findings]
    return report.findings[0]


def state_file(folder: Path, boundary: int) -> Path:
    root = ts.load_receipt(folder).boundary_roots[boundary]
    return folder / "states" / f"{root.hex()}.state"


def edit(path: Path, change: Callable[[dict], None]) -> None:
    """Change a receipt and write it as a receipt is written."""
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(Receipt.model_validate_json(json.dumps(document)).text())


LISTED = 5 * 32  # bytes: the digests at the front of a state file


def test_a_flip_in_a_stored_state_is_named_to_the_element(folder: Path) -> None:
    """Boundary 4 is the state after segment 3; the second float of optimizer.momentum follows the weights."""
    path = state_file(folder, 4)
    flip(path, LISTED + 12 + 4 + 2, bit=6)
    for report in (verify(folder, full=True), verify(folder, sample=0.01, seed=0)):
        finding = only_finding(report)
        assert (finding.kind, finding.file, finding.segment) == ("state", str(path), 3)
        assert (finding.slot, finding.element) == ("optimizer.momentum", (1,))
        assert (finding.kernel, finding.source, finding.last_step) == (1, "optimizer: momentum", 31)
        assert finding.claimed is not None and finding.true is not None
        assert int(finding.claimed, 16) ^ int(finding.true, 16) == 1 << 22
        assert "was changed after it was signed" in finding.message
        assert 3 in report.checked


def test_a_flip_in_the_list_of_digests_is_named(folder: Path) -> None:
    flip(state_file(folder, 4), 3 * 32 + 7)
    finding = only_finding(verify(folder, full=True))
    assert finding.kind == "state" and "the stored digest of slot model.calls was changed" in finding.message


def test_a_flip_in_the_start_state_is_named_to_the_slot(folder: Path) -> None:
    flip(state_file(folder, 0), LISTED + 3)
    report = verify(folder, full=True)
    finding = only_finding(report)
    assert (finding.slot, finding.file) == ("model.weight", str(state_file(folder, 0)))
    assert "at the start" in finding.message
    assert report.checked == (1, 2, 3, 4, 5, 6), "everything that an intact state leads to is still run"


def test_a_flip_in_the_final_state_is_named_to_the_element(folder: Path) -> None:
    flip(state_file(folder, 7), LISTED + 12 + 12 + 4 * 49)
    finding = only_finding(verify(folder, full=True))
    assert (finding.slot, finding.element) == ("record.loss", (49,))


def test_a_missing_final_state_is_named(folder: Path) -> None:
    state_file(folder, 7).unlink()
    finding = only_finding(verify(folder, full=True))
    assert "is missing" in finding.message and finding.segment == 6


def test_without_the_final_state_the_model_is_checked_against_its_hash(folder: Path) -> None:
    state_file(folder, 7).unlink()
    flip(folder / "model.safetensors", -1)
    first, second = verify(folder, full=True).findings
    assert "model.safetensors was changed" in first.message
    assert "is missing" in second.message


def test_a_missing_state_in_between_is_only_a_matter_of_retention(folder: Path) -> None:
    state_file(folder, 3).unlink()
    assert verify(folder, full=True).ok


def test_a_flip_in_a_constant_is_named(folder: Path) -> None:
    (fact,) = (fact for fact in ts.load_receipt(folder).manifest.constants if fact.name == "data.y")
    path = folder / "constants" / f"{fact.digest}.bin"
    flip(path, 17)
    report = verify(folder, full=True)
    finding = only_finding(report)
    assert (finding.file, finding.slot) == (str(path), "data.y")
    assert report.checked == (), "nothing is run on data that nobody signed"


def test_a_flip_in_the_program_is_named_to_the_kernel(folder: Path) -> None:
    path = folder / "program.tally"
    data = path.read_bytes()
    rate = bytes.fromhex("cdcc4cbd")  # the float32 -0.05 in the kernel that writes the weights
    assert data.count(rate) == 1
    flip(path, data.index(rate))
    finding = only_finding(verify(folder, full=True))
    assert finding.file == str(path)
    assert "kernel 2 (optimizer: SGD) is not the one it was" in finding.message


def test_a_program_that_cannot_be_decoded_is_named_to_the_byte(folder: Path) -> None:
    flip(folder / "program.tally", 5)
    assert "version at byte 4" in only_finding(verify(folder, full=True)).message


def test_a_flip_in_the_sources_is_named(folder: Path) -> None:
    path = folder / "sources.json"
    flip(path, path.read_bytes().index(b"SGD"))
    report = verify(folder, full=True)
    assert only_finding(report).file == str(path)
    assert report.checked == tuple(range(7)), "sources are for people: segments are still run"


def test_a_flip_in_the_model_is_named_to_the_element(folder: Path) -> None:
    path = folder / "model.safetensors"
    header = int.from_bytes(path.read_bytes()[:8], "little")
    flip(path, 8 + header + 1, bit=7)  # calls, frozen and weight have four bytes and come in this order
    finding = only_finding(verify(folder, full=True))
    assert (finding.file, finding.slot, finding.element) == (str(path), "model.calls", ())
    assert (finding.claimed, finding.true) == ("0x00008032", "0x00000032")
    flip(path, 8 + header + 1, bit=7)
    flip(path, 8 + header + 4 + 13)
    finding = only_finding(verify(folder, full=True))
    assert (finding.slot, finding.element) == ("model.frozen", (1, 1))
    flip(path, 8 + header + 4 + 13)
    flip(path, 40)
    assert "byte 40, in its header" in only_finding(verify(folder, full=True)).message


def test_a_flip_in_the_manifest_file_is_named(folder: Path) -> None:
    path = folder / "manifest.json"
    flip(path, path.read_bytes().index(b"data.y"))
    finding = only_finding(verify(folder, full=True))
    assert finding.file == str(path)
    assert "data and other constants" in finding.message


# THE RECEIPT


def test_a_changed_root_is_named_by_running_again(folder: Path) -> None:
    edit(folder / "receipt.json", lambda r: r["roots"].__setitem__(4, "0" * 64))
    report = verify(folder, full=True)
    kinds = [finding.kind for finding in report.findings]
    assert kinds == ["receipt", "segment"]
    assert "changed after it was signed" in report.findings[0].message
    assert report.findings[1].segment == 4


def test_a_changed_manifest_is_named_to_the_part(folder: Path) -> None:
    edit(folder / "receipt.json", lambda r: r["manifest"].__setitem__("steps", 49))
    messages = " ".join(finding.message for finding in verify(folder, full=True).findings)
    assert "the manifest is not the one that manifest_id names" in messages
    assert "the receipt's manifest was changed" in messages and "number of steps" in messages


def test_changed_facts_are_named(folder: Path) -> None:
    edit(folder / "receipt.json", lambda r: r["facts"].update(run_ms=r["facts"]["run_ms"] + 1))
    first, second = verify(folder, full=True).findings
    assert "not what facts_id names" in first.message
    assert "changed after it was signed" in second.message


def test_a_receipt_signed_by_somebody_else_has_another_worker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who signs anew can say anything, but not in the first worker's name."""
    receipt = ts.load_receipt(folder)
    monkeypatch.setenv("TALLYSTICK_HOME", str(folder.parent / "other"))
    roots = receipt.boundary_roots[1:]
    forged = Receipt.sign(signing_key(), receipt.manifest, roots, receipt.files, receipt.facts)
    (folder / "receipt.json").write_text(forged.text())
    report = verify(folder, full=True)
    assert report.ok and report.worker == signing_key().address != receipt.worker
    renamed = forged.model_copy(update={"worker": receipt.worker})
    (folder / "receipt.json").write_text(renamed.text())
    assert not verify(folder, full=True).ok


# CONTRADICTIONS THAT A WORKER SIGNS


def sign_again(folder: Path, manifest: Manifest | None = None) -> None:
    """A receipt with a valid signature over the files as they are now, and over another manifest if one is given."""
    receipt = ts.load_receipt(folder)
    if manifest is not None:
        (folder / "manifest.json").write_text(manifest.text())
    names = {"manifest": "manifest.json", "program": "program.tally", "sources": "sources.json"}
    facts = {field: FileFact.of((folder / name).read_bytes()) for field, name in names.items()}
    files = receipt.files.model_copy(update=facts)
    roots = receipt.boundary_roots[1:]
    again = Receipt.sign(signing_key(), manifest or receipt.manifest, roots, files, receipt.facts)
    (folder / "receipt.json").write_text(again.text())


def test_another_program_than_the_manifest_names(folder: Path) -> None:
    path = folder / "program.tally"
    flip(path, path.read_bytes().index(bytes.fromhex("cdcc4cbd")))
    sign_again(folder)
    finding = only_finding(verify(folder, full=True))
    assert finding.file == str(path) and "not the program that the manifest names" in finding.message


def test_sources_of_another_program(folder: Path) -> None:
    path = folder / "sources.json"
    document = json.loads(path.read_bytes())
    document["kernels"][3]["leaf"] = "0" * 64
    path.write_text(Sources.model_validate_json(json.dumps(document)).text())
    sign_again(folder)
    assert "the entry of kernel 3 is not about this program's" in only_finding(verify(folder, full=True)).message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["state"][0].__setitem__("shape", [4]), "describes model.weight differently"),
        (lambda m: m["state"][0].__setitem__("dtype", "i32"), "describes model.weight differently"),
        (lambda m: m["state"].pop(), "lists 4 slots of state, the program has 5"),
        (lambda m: m["constants"].pop(), "lists 2 slots of constants, the program has 3"),
        (lambda m: m["state"][0].__setitem__("name", "record.loss"), "gives two slots of state the same name"),
        (lambda m: m["constants"][0].__setitem__("digest", "0" * 64), "constants root"),
        (lambda m: m.__setitem__("constants_root", "0" * 64), "constants root"),
        (lambda m: m.__setitem__("start_root", "0" * 64), "is missing"),
    ],
)
def test_a_manifest_that_contradicts_the_program(folder: Path, change: Callable[[dict], None], words: str) -> None:
    document = json.loads((folder / "manifest.json").read_bytes())
    change(document)
    sign_again(folder, Manifest.model_validate_json(json.dumps(document)))
    assert words in only_finding(verify(folder, full=True)).message


def test_roots_that_are_too_few_are_refused(folder: Path) -> None:
    edit(folder / "receipt.json", lambda r: r["roots"].pop())
    messages = [finding.message for finding in verify(folder, full=True).findings]
    assert any("6 roots for 7 segments" in message for message in messages)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("receipt/1", "receipt/2"), "version 2.*pip install --upgrade"),
        (lambda text: text.replace("tallystick.receipt/1", "somebody.else/1"), "its format is 'somebody.else/1'"),
        (lambda text: text.replace('"format": "tallystick.receipt/1",', ""), "not a receipt"),
        (lambda text: text.replace("  ", " "), "canonical form"),
        (lambda text: text[:-1], "canonical form"),
        (lambda text: text[: len(text) // 2], "not a receipt"),
        (lambda text: text.replace('"steps": 50', '"steps": 0'), "manifest.steps"),
        (lambda text: text.replace('"steps": 50', '"steps": 1e400'), "manifest.steps"),
        (lambda text: text.replace('"segment_steps": 8', '"segment_steps": 8, "x": 1'), "manifest.x"),
        (lambda text: "", "not a receipt"),
        (lambda text: "null", "not a receipt"),
        (lambda text: "[" * 10_000, "not a receipt"),
        (lambda text: '{"format": 7}', "not a receipt"),
    ],
)
def test_what_is_no_receipt_is_refused_in_words(folder: Path, change: Callable[[str], str], words: str) -> None:
    path = folder / "receipt.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(ts.ReceiptError, match=words):
        verify(folder, full=True)


def test_no_receipt_at_all(tmp_path: Path) -> None:
    with pytest.raises(ts.ReceiptError, match=r"receipt.json is missing"):
        verify(tmp_path)
    with (tmp_path / "receipt.json").open("wb") as file:
        file.truncate((1 << 24) + 1)
    with pytest.raises(ts.ReceiptError, match="more than the 16777216 allowed"):
        verify(tmp_path)
