"""The key that signs receipts, and EIP-712 signatures with it.

The key belongs to the user, not to a run: it is made on first use and lies in the user's configuration folder, or in
the folder that the environment variable TALLYSTICK_HOME names.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tallystick.errors import JobError, ReceiptError, UsageError
from tallystick.store import read_file
from tallystick.store.trouble import explained

if TYPE_CHECKING:
    from eth_account.messages import SignableMessage

HOME_VARIABLE = "TALLYSTICK_HOME"
KEY_FILE = "signing.key"
SIGNATURE = re.compile(r"0x[0-9a-f]{130}")
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
DOMAIN = {"name": "Tallystick", "version": "1"}
TYPES = {
    "Receipt": [
        {"name": "manifest", "type": "bytes32"},
        {"name": "roots", "type": "bytes32[]"},
        {"name": "facts", "type": "bytes32"},
    ]
}


@dataclass(frozen=True)
class SigningKey:
    """A private key and the file it lies in. The key is never shown, printed or logged."""

    path: Path
    _secret: bytes = field(repr=False)

    @cached_property
    def address(self) -> str:
        """The public name of the key: an Ethereum address with its checksum."""
        from eth_account import Account

        return Account.from_key(self._secret).address

    def sign_receipt(self, manifest: bytes, roots: Sequence[bytes], facts: bytes) -> str:
        """EIP-712 signature over the three parts of a receipt, as 0x and 130 hex digits."""
        from eth_account import Account

        return (
            "0x" + bytes(Account.from_key(self._secret).sign_message(message(manifest, roots, facts)).signature).hex()
        )


def signing_key() -> SigningKey:
    """The user's key; made if there is none yet.

    Raises: JobError if the file cannot be made or read, holds something else, or is readable by others.
    """
    path = key_folder() / KEY_FILE
    if not path.exists():
        try:
            create_key(path)
        except UsageError as error:
            raise JobError(
                f"the key that signs receipts cannot be made: {error} Set {HOME_VARIABLE} to another folder."
            ) from error
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise JobError(f"{path} can be read by other users. Run: chmod 600 {path}")
    text = read_file(path, 1000)
    if not re.fullmatch(rb"[0-9a-f]{64}\n", text) or not 1 <= int(text, 16) <= 2 * HALF_ORDER:
        raise JobError(f"{path} does not hold a signing key. Put the right file back, or remove it to get a new key.")
    return SigningKey(path, bytes.fromhex(text.decode().strip()))


def key_folder() -> Path:
    """Where the key lies: TALLYSTICK_HOME if it is set, else the user's configuration folder."""
    if home := os.environ.get(HOME_VARIABLE):
        return Path(home)
    from platformdirs import user_config_path

    return user_config_path("tallystick", appauthor=False)


def create_key(path: Path) -> None:
    """Make a key for a path that has none. Of two processes that do so at once, one wins and both use its key."""
    with explained("write", path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_name(f".{KEY_FILE}-{secrets.token_hex(8)}.tmp")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(f"{new_secret():064x}\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def new_secret() -> int:
    """A random number that is a valid private key of secp256k1: 1 .. order - 1."""
    return secrets.randbelow(2 * HALF_ORDER) + 1


def message(manifest: bytes, roots: Sequence[bytes], facts: bytes) -> SignableMessage:
    """The typed data that is signed: manifest id, the root after every segment, the hash of everything else."""
    from eth_account.messages import encode_typed_data

    data = {"manifest": manifest, "roots": list(roots), "facts": facts}
    return encode_typed_data(domain_data=DOMAIN, message_types=TYPES, message_data=data)


def recover_signer(manifest: bytes, roots: Sequence[bytes], facts: bytes, signature: str) -> str:
    """The address of the key that made a signature over the three parts of a receipt.

    Raises: ReceiptError if it is no signature at all, or not in the one form that signing gives.
    """
    from eth_account import Account
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError

    if not SIGNATURE.fullmatch(signature):
        raise ReceiptError("the signature is not 0x and 130 lower-case hex digits")
    raw = bytes.fromhex(signature[2:])
    # Of the two forms (s, v) and (order - s, other v) only the low one is ours, so that nobody can restate a receipt.
    if raw[64] not in (27, 28) or int.from_bytes(raw[32:64], "big") > HALF_ORDER:
        raise ReceiptError("the signature is not in its canonical form")
    try:
        return Account.recover_message(message(manifest, roots, facts), signature=raw)
    except (BadSignature, ValidationError) as error:
        raise ReceiptError("the signature is not a point on the curve") from error
