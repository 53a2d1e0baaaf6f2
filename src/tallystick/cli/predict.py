"""``tally predict``: hand the trained model to a function of the user's."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tallystick.cli.folders import receipt_file
from tallystick.cli.loading import keyword_arguments, load_function, load_model, split_reference
from tallystick.cli.screen import Screen
from tallystick.cli.words import facts_table
from tallystick.errors import JobError


def call_with_model(folder: Path, reference: str, given: list[str], job_name: str, as_json: bool) -> None:
    """Call the function that ``reference`` names with the trained model, and print what it returns."""
    with Screen(as_json) as screen:
        from tallystick.job import Run

        run = Run.open(receipt_file(folder).parent)
        function = load_function(reference)
        arguments = keyword_arguments(function, given)
        path, _ = split_reference(reference)
        model = run.model(load_model(f"{path}:{job_name}"))
        answer = function(model, **arguments)
        if as_json:
            screen.show({"folder": str(folder), "final_root": run.receipt.roots[-1], "answer": as_document(answer)})
        elif isinstance(answer, Mapping):
            screen.show({}, facts_table({str(name): in_words(value) for name, value in answer.items()}))
        else:
            screen.write(f"{answer}\n")


def in_words(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def as_document(answer: Any) -> Any:
    """What a function returned, as JSON knows it.

    Raises: JobError if JSON has no such thing.
    """
    if hasattr(answer, "tolist"):
        answer = answer.tolist()
    if isinstance(answer, Mapping):
        return {str(name): as_document(value) for name, value in answer.items()}
    if isinstance(answer, list | tuple):
        return [as_document(value) for value in answer]
    if isinstance(answer, float) and not math.isfinite(answer):
        return str(answer)
    try:
        json.dumps(answer)
    except TypeError:
        raise JobError(
            f"your function returned a {type(answer).__name__}, which JSON cannot hold: return numbers, text, lists or "
            "dictionaries of them, or leave out --json"
        ) from None
    return answer
