"""Finished runs: the receipt, the trained model, the losses."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tallystick.errors import JobError
from tallystick.job.folder import RunFolder
from tallystick.job.hashing import JobHasher
from tallystick.job.manifest import AVERAGES, LOSS_SLOT, OTHERS, RECORDS, Manifest
from tallystick.job.model_file import PREFIX
from tallystick.job.opening import read_constant
from tallystick.job.receipt import Receipt, load_receipt
from tallystick.job.states import aligned


class Run:
    """A run folder that holds a receipt. What is read from it is checked against the receipt first.

    ``start_step``  the step this process began at: 0, or more if it resumed; None for a run that was only opened
    ``seconds``     what this process spent on it
    ``others``      modules beside the model that the loss may use, as they were before training, by what it calls them
    """

    def __init__(
        self, folder: str | Path, module: Any = None, start_step: int | None = None, seconds: float | None = None
    ) -> None:
        self.folder = Path(folder)
        self.start_step = start_step
        self.seconds = seconds
        self.others: dict[str, Any] = {}
        self._module = module

    @staticmethod
    def open(folder: str | Path) -> Run:
        """The run in a folder. Raises: ReceiptError if there is no sound receipt."""
        run = Run(folder)
        _ = run.receipt
        return run

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @cached_property
    def receipt(self) -> Receipt:
        """The signed claim. Raises: ReceiptError if it is missing or malformed."""
        return load_receipt(self.folder / "receipt.json")

    @property
    def manifest(self) -> Manifest:
        return self.receipt.manifest

    @property
    def steps(self) -> int:
        return self.manifest.steps

    def state(self) -> dict[str, np.ndarray]:
        """The final state: every slot by name. Raises: IntegrityError if it is missing or damaged."""
        facts = self.manifest.state
        names, types = [fact.name for fact in facts], [fact.type for fact in facts]
        files = RunFolder(self.folder).state_files(types, names, JobHasher())
        arrays = aligned(files.open(self.receipt.boundary_roots[-1]))
        return dict(zip(names, arrays, strict=True))

    @cached_property
    def losses(self) -> np.ndarray | None:
        """The loss of every step (float32), None for a program that records none. Raises: IntegrityError."""
        found = self.state().get(LOSS_SLOT)
        return None if found is None else np.array(found)

    @cached_property
    def records(self) -> dict[str, np.ndarray]:
        """What was recorded at every step, by name: ``loss`` and the job's metrics, float32. Raises: IntegrityError."""
        found = self.state()
        return {name.removeprefix(RECORDS): np.array(found[name]) for name in found if name.startswith(RECORDS)}

    def weights(self, ema: bool = False) -> dict[str, np.ndarray]:
        """The weights by their names in PyTorch: the trained ones, buffers, and those that were frozen.

        With ``ema`` the averages of the trained ones.

        Raises: JobError if the run keeps no averages, IntegrityError if a file they lie in is missing or damaged.
        """
        state, found = self.state(), self._slots(PREFIX)
        if ema:
            averages = {
                name.removeprefix(AVERAGES): array for name, array in state.items() if name.startswith(AVERAGES)
            }
            if not averages:
                raise JobError("this run keeps no averages of its weights: train with ts.TrainingJob(..., ema=0.999)")
            found.update({PREFIX + name: array for name, array in averages.items() if PREFIX + name in found})
        return {name.removeprefix(PREFIX): array for name, array in found.items()}

    def model(self, module: Any = None, ema: bool = False) -> Any:
        """A torch module with the trained weights: the one given, or a copy of the one that was trained.

        With ``ema`` it has the averages of the weights, and the buffers as they are.

        Raises: JobError if there is none, if it has other weights or if there are no averages; IntegrityError if a
        stored file is damaged.
        """
        if module is None:
            if self._module is None:
                raise JobError(
                    "this run was opened from a folder, which holds weights and no code. Give the module they belong "
                    "to: run.model(MyModule())"
                )
            module = self._copied(self._module)
        from tallystick.capture.weights import load_weights

        load_weights(module, self.weights(ema))
        return module

    def other_module(self, name: str, module: Any = None) -> Any:
        """A module beside the model that the loss uses, with what it has learned: the one given, or a copy.

        ``name`` is what the loss's code calls it, such as ``criterion``; "" for a loss that is a module itself.

        Raises: JobError if the run has no tensors of such a module, or other ones; IntegrityError for a damaged file.
        """
        from tallystick.capture.weights import load_weights

        prefix = f"{OTHERS}{name}." if name else OTHERS
        found = {
            key.removeprefix(prefix): array for key, array in self._slots(OTHERS).items() if key.startswith(prefix)
        }
        if not found:
            known = sorted({key.removeprefix(OTHERS).split(".")[0] for key in self._slots(OTHERS)})
            raise JobError(
                f"the loss of this run uses no module {name!r} with tensors. It uses {', '.join(known) or 'none'}."
            )
        if module is None and name not in self.others:
            raise JobError(
                f"this run was opened from a folder, which holds no code: run.other_module({name!r}, module)"
            )
        module = self._copied(self.others[name]) if module is None else module
        load_weights(module, found)
        return module

    @staticmethod
    def _copied(module: Any) -> Any:
        from tallystick.capture.weights import copied

        return copied(module)

    def _slots(self, prefix: str) -> dict[str, np.ndarray]:
        """State and constants whose names begin so."""
        found = {name: array for name, array in self.state().items() if name.startswith(prefix)}
        for fact in self.manifest.constants:
            if fact.name.startswith(prefix):
                found[fact.name] = read_constant(RunFolder(self.folder), fact, fact.type, JobHasher())
        return found
