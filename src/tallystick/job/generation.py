"""Generation jobs: prompts in, text and a receipt out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tallystick.capture.sampling_rules import Greedy, Sample, Sampling
from tallystick.errors import JobError
from tallystick.ir.captured import Captured
from tallystick.job.folder import RunFolder
from tallystick.job.hashing import JobHasher
from tallystick.job.job import Job, check_name, check_steps
from tallystick.job.opening import read_constant
from tallystick.job.progress import Listener, Reporter
from tallystick.job.retention import KeepStates
from tallystick.job.run import Run
from tallystick.job.starts import Resume
from tallystick.job.token_numbers import end_tokens, padding_token, prompt_tokens

if TYPE_CHECKING:
    from tallystick.capture.steps.generation import CapturedGeneration

SEGMENT_TOKENS = 16
TOKENS, ENDS, LENGTHS = "tokens", "ends", "prompt.lengths"


@dataclass(frozen=True, kw_only=True, eq=False)
class GenerationJob:
    """Continue prompts with a language model.

    ``model``          a causal language model of ``transformers``, or any module with ``decode``; it is not changed
    ``prompts``        a list of prompts, each a list of token numbers, or a text if there is a ``tokenizer``
    ``new_tokens``     how many tokens to add to each, at most
    ``sampling``       ``Greedy()`` or ``Sample(temperature=..., top_k=..., top_p=...)``
    ``seed``           of the draws
    ``end_token``      a row ends after it; the rest of it is padding. A number, or a list of them: it ends after any
    ``padding``        a token number to fill rows with: the (first) end token, or 0
    ``tokenizer``      an object with ``encode(text)`` and ``decode(token numbers)``
    ``decode``         ``decode(model, tokens, cache, positions)`` returns logits, for models that are not called as
                       those of ``transformers``
    ``prefill``        enter prompts in one step of a program of its own; False feeds them token by token, so that one
                       program and one receipt say everything
    ``segment_steps``  the state is hashed and stored every so many tokens
    ``name``           what people call the job; the name of the model's class if it is not given

    Raises: JobError for what cannot be. What the model does is looked at by ``capture``.
    """

    model: Any = field(repr=False)
    prompts: Sequence[Sequence[int]] | Sequence[str] = field(repr=False)
    new_tokens: int
    sampling: Sampling
    seed: int = 0
    end_token: int | Sequence[int] | None = None
    padding: int | None = None
    tokenizer: Any = field(default=None, repr=False)
    decode: Callable[..., Any] | None = field(default=None, repr=False)
    prefill: bool = True
    segment_steps: int = SEGMENT_TOKENS
    name: str | None = None

    def __post_init__(self) -> None:
        check_steps(self.new_tokens, self.segment_steps)
        check_name(self.title)
        if isinstance(self.prompts, str) or not len(self.prompts):
            raise JobError("prompts must be a list of prompts, with at least one")
        if not isinstance(self.sampling, Greedy | Sample):
            raise JobError(f"sampling={self.sampling!r}: give ts.Greedy() or ts.Sample(temperature=0.8)")
        _ = self.numbers, self.end_tokens, self.filling

    @property
    def title(self) -> str:
        """The job's name, given or made."""
        return type(self.model).__name__.lower() if self.name is None else self.name

    @cached_property
    def numbers(self) -> list[list[int]]:
        """The prompts as token numbers. Raises: JobError for a text without a tokenizer."""
        if any(isinstance(prompt, str) for prompt in self.prompts) and self.tokenizer is None:
            raise JobError("prompts are texts, but there is no tokenizer: pass tokenizer=..., or token numbers")
        encoded = (self.tokenizer.encode(p) if isinstance(p, str) else p for p in self.prompts)
        return [prompt_tokens(number, tokens) for number, tokens in enumerate(encoded)]

    @cached_property
    def end_tokens(self) -> tuple[int, ...]:
        """The tokens that end a row. Raises: JobError for what is no token."""
        return end_tokens(self.end_token)

    @property
    def filling(self) -> int:
        """The token that rows are filled with. Raises: JobError for what is no token."""
        return padding_token(self.padding, self.end_tokens)

    @property
    def steps(self) -> int:
        """Steps of the decode program: a token each, and without a prefill one for each token of the prompts, too."""
        longest = max(map(len, self.numbers))
        return self.new_tokens + (0 if self.prefill else longest - 1)

    def capture(self) -> Captured:
        """The program that chooses one token for every prompt, with its start. Made once. Raises: CaptureError."""
        return self.job().captured

    def prefill_job(self) -> Job | None:
        """The job of entering the prompts, None if there is nothing to enter. Raises: CaptureError."""
        return self._prefill_job

    def job(self) -> Job:
        """The job of choosing tokens. It starts where the prefill ends, which is run for it. Raises: CaptureError."""
        return self._job

    @cached_property
    def _programs(self) -> CapturedGeneration:
        from tallystick.capture.steps.generation import capture_generation

        return capture_generation(
            model=self.model,
            prompts=self.numbers,
            new_tokens=self.new_tokens,
            sampling=self.sampling,
            seed=self.seed,
            end_tokens=self.end_tokens,
            padding=self.filling,
            decode=self.decode,
            prefill=self.prefill,
        )

    @cached_property
    def _prefill_job(self) -> Job | None:
        captured = self._programs.prefill
        return None if captured is None else Job(captured, 1, 1, f"{self.title}: prompts")

    @cached_property
    def _job(self) -> Job:
        entering = self._prefill_job
        if entering is None:
            return self._decode_job(None)
        from tallystick.engine.backends import make_engine

        engine = make_engine(entering.captured.program)
        with engine.start(entering.captured.state, entering.captured.constants) as session:
            session.advance(1)
            return self._decode_job(session.state())

    def _decode_job(self, start: Sequence[np.ndarray] | None) -> Job:
        """The job of choosing tokens, from the state in which the prefill ended, or from nothing."""
        captured, entering = self._programs.decode, self._prefill_job
        if entering is None:
            return Job(captured, self.steps, self.segment_steps, self.title)
        assert start is not None, "a prefill ends in a state"
        assert captured.state_names == entering.captured.state_names, "both programs have one state"
        started = replace(captured, state=[np.array(array) for array in start])
        return Job(started, self.steps, self.segment_steps, self.title, entering.manifest.id.hex())

    def run(
        self,
        folder: str | Path,
        *,
        threads: int | None = None,
        resume: Resume = True,
        keep_states: KeepStates = None,
        progress: Listener | None = None,
    ) -> GenerationRun:
        """Capture and generate; see ``Job.run``. The prompts are entered by a run of its own in ``before``."""
        with Reporter(progress, self.steps).capturing():
            run_folder, entering = RunFolder(folder), self.prefill_job()
        job = self._decode_job(None) if entering is None else None
        if entering is not None:
            run_folder.create()
            entered = entering.run(run_folder.before, threads=threads, resume=resume, progress=progress)
            job = self._decode_job(list(entered.state().values()))
            self.__dict__.setdefault("_job", job)
            entered_constants = RunFolder(run_folder.before).constants
            entered_constants.share(entered_constants.digests(), run_folder.constants)
        assert job is not None, "one of both was made"
        run = job.run(folder, threads=threads, resume=resume, keep_states=keep_states, progress=progress)
        return GenerationRun(run.folder, self.model, run.start_step, run.seconds, tokenizer=self.tokenizer)


class GenerationRun(Run):
    """A finished run of a generation job."""

    def __init__(
        self,
        folder: str | Path,
        module: Any = None,
        start_step: int | None = None,
        seconds: float | None = None,
        *,
        tokenizer: Any = None,
    ) -> None:
        super().__init__(folder, module, start_step, seconds)
        self._tokenizer = tokenizer

    @staticmethod
    def open(folder: str | Path) -> GenerationRun:
        """The run in a folder. Raises: ReceiptError if there is no sound receipt, JobError if it generated nothing."""
        run = GenerationRun(folder)
        names = {fact.name for fact in (*run.manifest.state, *run.manifest.constants)}
        if not names >= {TOKENS, ENDS, LENGTHS}:
            raise JobError(f"{run.folder} holds no run of a generation job")
        return run

    @property
    def has_tokenizer(self) -> bool:
        """Whether ``texts`` knows how to make text."""
        return self._tokenizer is not None

    def tokens(self) -> list[list[int]]:
        """The new tokens of every row, up to the end token and with it.

        Raises: IntegrityError if a stored file is damaged.
        """
        state, lengths = self.state(), self._lengths()
        rows = zip(state[TOKENS].tolist(), lengths.tolist(), state[ENDS].tolist(), strict=True)
        return [row[length:end] for row, length, end in rows]

    def prompts(self) -> list[list[int]]:
        """The prompts' tokens. Raises: IntegrityError if a stored file is damaged."""
        rows = zip(self.state()[TOKENS].tolist(), self._lengths().tolist(), strict=True)
        return [row[:length] for row, length in rows]

    def texts(self, tokenizer: Any = None) -> list[str]:
        """What was added to every prompt, as text.

        Raises: JobError if there is no tokenizer, IntegrityError if a stored file is damaged.
        """
        tokenizer = tokenizer or self._tokenizer
        if tokenizer is None:
            raise JobError("there is no tokenizer to make text of tokens: run.texts(tokenizer)")
        return [tokenizer.decode(tokens) for tokens in self.tokens()]

    def _lengths(self) -> np.ndarray:
        fact = next(fact for fact in self.manifest.constants if fact.name == LENGTHS)
        return read_constant(RunFolder(self.folder), fact, fact.type, JobHasher())
