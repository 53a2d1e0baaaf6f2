"""Writes ``docs/reference/models.md``: how far training on the engine is from eager PyTorch, for every model here.

python tests/zoo/write_models.py                    # all of them, some minutes
python tests/zoo/write_models.py Mixtral "BERT"     # these anew, the rest as it stands on the page
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from eager_training import train_eagerly
from tallystick.capture import capture_training
from tallystick.engine import Engine
from tallystick.errors import CaptureError
from tallystick.ir.captured import Captured
from zoo.models import LOSSES, MODELS, PROMISED

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "models.md"
STEPS, STEPS_OF_OTHERS = 100, 30
HEAD = """# Models

What has been tried. Each is built by its library's own code from a small configuration with random weights, captured
as it is, trained on the engine, and trained by eager PyTorch from the same start on the same batches with the same
optimizer. *Difference* is the largest relative difference between the two losses of a step. Dropout is off for the
comparison, as PyTorch's random numbers are others than a program's; training with dropout is tested, too.

Models are those of `transformers` and `peft`; LSTM, GRU and the U-Net are of `torch.nn`, and so are the losses, which
are tried on a perceptron. `python tests/zoo/write_models.py` makes this page.

MobileNet v2 can be captured, too, but has no curve to compare: with random weights its 52 normalisations amplify
rounding so much that eager PyTorch, from a start changed in the last digit, is 10% away from itself after ten steps.

| model | parameters | kernels | steps | difference |
|---|--:|--:|--:|---|
"""


def losses_on_engine(captured: Captured, steps: int, threads: int = 1) -> np.ndarray:
    """The recorded losses, shape (steps,)."""
    with Engine(captured.program, threads=threads).start(captured.state, captured.constants) as session:
        session.advance(steps)
        return dict(zip(captured.state_names, session.state(), strict=True))["record.loss"][:steps]


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest relative difference of two curves."""
    return float(np.abs(ours / theirs - 1.0).max())


def row(name: str) -> str:
    """What is to be said of a model: a line of the table."""
    steps = STEPS if name in PROMISED or name in LOSSES else STEPS_OF_OTHERS
    job = (MODELS | LOSSES)[name].job(steps)
    parameters = sum(p.numel() for p in job["model"].parameters())
    try:
        captured = capture_training(**job)
    except CaptureError as error:
        reason = " ".join(str(error).split()).replace("|", r"\|")
        return f"| {name} | {parameters:,} | | | refused: {reason} |\n"
    apart = difference(losses_on_engine(captured, steps), train_eagerly(**job)[0])
    return f"| {name} | {parameters:,} | {len(captured.program.kernels)} | {steps} | {apart:.1e} |\n"


def rows_of(page: str) -> dict[str, str]:
    """The lines of the table by the model's name."""
    lines = page.split("|---|--:|--:|--:|---|\n")[1].splitlines(keepends=True)
    return {line.split("|")[1].strip(): line for line in lines}


def main(wanted: list[str]) -> None:
    torch.set_num_threads(1)
    rows = rows_of(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    names = [*MODELS, *LOSSES]
    for name in wanted or names:
        rows[name] = row(name)
        sys.stdout.write(rows[name])
        sys.stdout.flush()
        PAGE.write_text(HEAD + "".join(rows[name] for name in names if name in rows), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
