"""The key and its signatures."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import JobError, ReceiptError
from tallystick.job.signing import HALF_ORDER, key_folder, recover_signer, signing_key

ORDER = 2 * HALF_ORDER + 1
PARTS = (bytes(range(32)), [bytes([n]) * 32 for n in range(3)], bytes(32))


def test_the_key_is_made_once_and_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path / "new" / "home"))
    first, second = signing_key(), signing_key()
    assert first.path.parent == tmp_path / "new" / "home"
    assert first.address == second.address
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    assert [entry.name for entry in first.path.parent.iterdir()] == [first.path.name]
    assert first.path.read_text().strip() not in repr(first)


def test_the_key_lies_in_the_users_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TALLYSTICK_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert key_folder().is_relative_to(tmp_path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path))
    signing_key().path.chmod(0o644)
    with pytest.raises(JobError, match="chmod 600"):
        signing_key()


@pytest.mark.parametrize("content", ["", "00" * 31 + "\n", "zz" * 32 + "\n", "00" * 32 + "\n", "ff" * 32 + "\n"])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path))
    (tmp_path / "signing.key").write_text(content)
    (tmp_path / "signing.key").chmod(0o600)
    with pytest.raises(JobError, match="does not hold a signing key") as caught:
        signing_key()
    assert content.strip() == "" or content.strip() not in str(caught.value)


def test_a_home_that_cannot_be_made_is_a_job_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(JobError, match="TALLYSTICK_HOME"):
        signing_key()


def test_two_processes_at_once_get_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process wins between our look for the file and our link to it."""
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path))
    link = os.link

    def link_late(source: Path, target: Path) -> None:
        target.write_text("11" * 32 + "\n")
        target.chmod(0o600)
        link(source, target)

    monkeypatch.setattr(os, "link", link_late)
    assert signing_key().path.read_text() == "11" * 32 + "\n"


def test_signatures_name_their_signer() -> None:
    key = signing_key()
    signature = key.sign_receipt(*PARTS)
    assert recover_signer(*PARTS, signature) == key.address
    manifest, roots, facts = PARTS
    for changed in ((facts, roots, manifest), (manifest, roots[::-1], facts), (manifest, roots[:2], facts)):
        assert recover_signer(*changed, signature) != key.address


def test_the_typed_data_is_eip_712(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The digest is the one that EIP-712 defines, computed here from its text."""
    from eth_account import Account
    from eth_utils.crypto import keccak

    manifest, roots, facts = PARTS
    domain_type = keccak(text="EIP712Domain(string name,string version)")
    domain = keccak(domain_type + keccak(text="Tallystick") + keccak(text="1"))
    receipt_type = keccak(text="Receipt(bytes32 manifest,bytes32[] roots,bytes32 facts)")
    struct = keccak(receipt_type + manifest + keccak(b"".join(roots)) + facts)
    key = signing_key()
    signature = bytes.fromhex(key.sign_receipt(*PARTS)[2:])
    digest = keccak(b"\x19\x01" + domain + struct)
    assert Account._recover_hash(digest, signature=signature) == key.address


@given(st.text(max_size=140))
def test_garbage_is_no_signature(text: str) -> None:
    with pytest.raises(ReceiptError, match="not 0x and 130"):
        recover_signer(*PARTS, text)


@given(st.binary(min_size=65, max_size=65))
def test_random_bytes_are_somebody_elses_signature_or_none(raw: bytes) -> None:
    with suppress(ReceiptError):
        assert recover_signer(*PARTS, "0x" + raw.hex()) != signing_key().address


@given(st.integers(0, 519))
def test_no_bit_of_a_signature_can_be_flipped(bit: int) -> None:
    key = signing_key()
    raw = bytearray.fromhex(key.sign_receipt(*PARTS)[2:])
    raw[bit // 8] ^= 1 << bit % 8
    with suppress(ReceiptError):
        assert recover_signer(*PARTS, "0x" + raw.hex()) != key.address


def test_the_other_form_of_a_signature_is_refused() -> None:
    """(r, order - s) with the other parity is as valid on the curve: a receipt would have two forms."""
    raw = bytearray.fromhex(signing_key().sign_receipt(*PARTS)[2:])
    raw[32:64] = (ORDER - int.from_bytes(raw[32:64], "big")).to_bytes(32, "big")
    raw[64] = 55 - raw[64]
    with pytest.raises(ReceiptError, match="canonical form"):
        recover_signer(*PARTS, "0x" + raw.hex())
