"""Checking the model file: it must be the final state's weights, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

import numpy as np

from tallystick.commitment import bits_of
from tallystick.errors import IntegrityError
from tallystick.job.checks import Checked
from tallystick.job.folder import RunFolder
from tallystick.job.locating import hexadecimal, readable
from tallystick.job.model_file import ModelFile
from tallystick.store import map_file
from tallystick.store.files import open_regular


def check_model(folder: RunFolder, checked: Checked) -> None:
    """Add a finding unless the model file is the one that was signed and holds the final state.

    Raises: JobError if the file cannot be read.
    """
    fact, manifest = checked.receipt.files.model, checked.receipt.manifest
    model = ModelFile.of(manifest)
    if fact is None:
        if model.slots:
            checked.add(folder.model, f"{folder.receipt} binds no model file, though its program has a model")
        return
    try:
        data = open_whole(folder)
    except IntegrityError as error:
        return checked.add(folder.model, str(error))
    final = checked.states.get(len(checked.receipt.roots))
    if final is not None and final.state is not None and final.damage is None and checked.constants is not None:
        found = len(checked.findings)
        compare(folder, checked, model, data, [*final.state, *checked.constants])
        if len(checked.findings) > found:
            return None
    if (data.size, sha256(data.data).hexdigest()) != (fact.bytes, fact.sha256):
        checked.add(folder.model, f"{folder.model} was changed: it is not the file that the receipt binds")
    return None


def open_whole(folder: RunFolder) -> np.ndarray:
    """The file's bytes, mapped, whatever its size."""
    with open_regular(folder.model) as (_, size):
        pass
    return map_file(folder.model, size)


def compare(
    folder: RunFolder, checked: Checked, model: ModelFile, data: np.ndarray, arrays: Sequence[np.ndarray]
) -> None:
    """Compare with the bytes that follow from the state, and name the first element that differs."""
    if data.size != model.nbytes:
        return checked.add(folder.model, f"{folder.model} has {data.size} bytes where {model.nbytes} belong")
    at = first_wrong_byte(data, model.pieces(arrays))
    if at is None:
        return None
    place = model.place(at)
    if place is None:
        return checked.add(folder.model, f"{folder.model} was changed: byte {at}, in its header, is wrong")
    slot, number, start = place
    fact = model.facts[slot]
    dtype = fact.type.dtype
    element = tuple(int(index) for index in np.unravel_index(number, fact.shape))
    claimed = int.from_bytes(data[start : start + dtype.size].tobytes(), "little")
    true = int(bits_of(fact.type, arrays[slot])[number])
    return checked.add(
        folder.model,
        f"{folder.model} is not the final state: {fact.name}{list(element)} is {readable(dtype, claimed)} in it and "
        f"{readable(dtype, true)} in the state",
        slot=fact.name,
        element=element,
        claimed=hexadecimal(dtype, claimed),
        true=hexadecimal(dtype, true),
    )


def first_wrong_byte(data: np.ndarray, pieces: Iterator[bytes | memoryview]) -> int | None:
    """Where mapped bytes first differ from pieces that are as long together."""
    start = 0
    for piece in pieces:
        expected = np.frombuffer(piece, np.uint8)
        wrong = np.flatnonzero(data[start : start + expected.size] != expected)
        if wrong.size:
            return start + int(wrong[0])
        start += expected.size
    return None
