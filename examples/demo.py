"""The tour: train two models on real data, verify them, catch a tampered run, convict a liar on a chain.

    make demo            or: python examples/demo.py --out runs

Every line that starts with $ is a command you can give yourself. All results are in runs/demo.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from torch import nn

import digits
import gpt
from tallystick.job import Run

ROOT = Path(__file__).resolve().parent.parent
MARK = ".made-by-demo"
REQUIRED_ACCURACY = 0.97
SAMPLE = "25%"
console = Console(highlight=False)


@dataclass(frozen=True)
class Trained:
    """A model that the demo trained, for the table at the end."""

    run: Run
    parameters: int
    result: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path("runs"), help="where the folder 'demo' is made (default: runs)"
    )
    folder = parser.parse_args().out / "demo"
    started = time.monotonic()
    start_afresh(folder)

    chapter("Train a convolutional network on 1,437 handwritten digits")
    tally("run", "examples/digits.py:job", "--out", folder / "digits")
    tally("predict", folder / "digits", "examples/digits.py:predict")
    trained_digits, accuracy = digits_result(folder / "digits")

    chapter("Train a character-level GPT on the source of Python's standard library")
    tally("run", "examples/gpt.py:job", "--out", folder / "gpt")
    tally("predict", folder / "gpt", "examples/gpt.py:predict", "prompt=def ", "length=300")
    trained_gpt = gpt_result(folder / "gpt")

    chapter("Verify: run randomly drawn segments again and compare every bit")
    for name in ("digits", "gpt"):
        tally("verify", folder / name / "receipt.json", "--sample", SAMPLE)

    chapter("Tamper: flip one bit in a copy of one stored state")
    console.print(flip_one_bit(folder / "digits", folder / "tampered"))
    tally("verify", folder / "tampered" / "receipt.json", "--full", expect=1)
    console.print("[green]The changed bit was found.[/]")

    chapter("Dispute: one weight off by one unit in the last place")
    tally("dispute", "simulate", folder / "gpt", "--fault", "weight-ulp", "--role", "worker")

    chapter("Dispute: somebody doubts a true result")
    tally("dispute", "simulate", folder / "digits", "--fault", "fold-step", "--role", "challenger")

    chapter("Summary")
    picture = draw_losses([trained_digits, trained_gpt], folder / "loss.png")
    console.print(summary([trained_digits, trained_gpt]))
    console.print(f"loss curves: {picture}")
    console.print(f"all of it took {time.monotonic() - started:.0f} s; everything is in {folder}")
    if accuracy < REQUIRED_ACCURACY:
        sys.exit(f"the test accuracy of {accuracy:.2%} is below {REQUIRED_ACCURACY:.0%}: something is wrong")


def start_afresh(folder: Path) -> None:
    """Remove what an earlier demo left; a folder that is not the demo's own is left alone."""
    if folder.exists() and not (folder / MARK).exists():
        sys.exit(f"{folder} was not made by this demo. Choose another place with --out.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARK).touch()


def chapter(title: str) -> None:
    console.print()
    console.print(Rule(f"[bold]{title}", align="left"))


def tally(*arguments: str | Path, expect: int = 0) -> None:
    """Show a command and run it; stop the demo if it ends in another way than expected."""
    words = [str(argument) for argument in arguments]
    shown = [f"'{word}'" if " " in word else word for word in words]
    console.print(f"\n[bold cyan]$ tally {' '.join(shown)}[/]", soft_wrap=True)
    done = subprocess.run([sys.executable, "-m", "tallystick.cli", *words], cwd=Path.cwd())
    if done.returncode != expect:
        sys.exit(f"the demo stops here: tally ended with exit code {done.returncode}, expected was {expect}")


def digits_result(folder: Path) -> tuple[Trained, float]:
    """The trained network, and its accuracy on images it has not seen."""
    run = Run.open(folder)
    model = run.model(digits.DigitsNet())
    accuracy = float(digits.predict(model)["accuracy"])
    return Trained(run, count(model), f"{accuracy:.2%} of {digits.TEST_IMAGES} unseen images right"), accuracy


def gpt_result(folder: Path) -> Trained:
    """The trained language model."""
    run = Run.open(folder)
    losses = run.losses
    assert losses is not None, "a training job records its losses"
    return Trained(run, count(run.model(gpt.GPT())), f"loss {losses[:10].mean():.2f} -> {losses[-50:].mean():.2f}")


def count(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def flip_one_bit(original: Path, copy: Path) -> str:
    """Copy a run folder and flip one bit in the middle of the state in the middle of the run; says which."""
    shutil.copytree(original, copy)
    receipt = Run.open(original).receipt
    root = receipt.roots[len(receipt.roots) // 2]
    path = next(copy.glob(f"states/*{root}*"))
    with path.open("r+b") as file:
        at = path.stat().st_size // 3
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))
    return f"in {copy}, byte {at:,} of one stored state was 0x{byte:02x} and is now 0x{byte ^ 0x10:02x}"


def draw_losses(trained: list[Trained], path: Path) -> Path:
    """A picture with one loss curve per model; as PNG and as SVG."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    for axis, one in zip(figure.subplots(1, len(trained)), trained, strict=True):
        losses = one.run.losses
        assert losses is not None, "a training job records its losses"
        window = 10
        means = [losses[max(0, step - window + 1) : step + 1].mean() for step in range(len(losses))]
        axis.plot(losses, color="#9fd3c7", linewidth=0.8)
        axis.plot(means, color="#00695c", linewidth=1.6)
        axis.set(title=one.run.manifest.name, xlabel="step", ylabel="loss")
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return path


def summary(trained: list[Trained]) -> Table:
    """What was trained, how long it took, and what came out."""
    table = Table()
    for column in ("job", "parameters", "steps", "time", "steps/s", "result", "receipt"):
        table.add_column(column, justify="right" if column in ("parameters", "steps", "time", "steps/s") else "left")
    for one in trained:
        facts = one.run.receipt.facts
        table.add_row(
            one.run.manifest.name,
            f"{one.parameters:,}",
            f"{one.run.steps:,}",
            f"{(facts.run_ms + facts.hash_ms + facts.write_ms) / 1000:.0f} s",
            f"{one.run.steps * 1000 / max(1, facts.run_ms):.1f}",
            one.result,
            f"{len(one.run.receipt.roots)} segments, signed",
        )
    return table


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
