"""The dispute of the GPT example, as real as it can be without the run around it.

Program, weights, one step and the lie in it are real and computed by the engine; so are both players. Only the state
roots of the job's other steps are made up, because nobody opens them: running all 600 steps would change no figure but
some zero bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))

import gpt
from gas_bills import Bill, bill_of
from gas_scenes import digest_of
from tallystick.dispute import Challenger, Defender, Match, Played, Replay, StepTrace
from tallystick.dispute.faults import FAULTS, Scene
from tallystick.job.computation import EngineComputation
from tallystick.job.hashing import JobHasher
from tallystick.job.job import Job
from tallystick.job.stands import chain_stand
from tallystick.spec.board import Claim
from tallystick.spec.referee import Terms

AT = 337  # the step that goes wrong


@cache
def job() -> Job:
    """The example, on letters drawn at random: the standard library's text depends on the version of Python."""
    text = np.random.default_rng(5).integers(0, len(gpt.CHARACTERS), gpt.TEXT_LENGTH).astype(np.int32)
    return replace(gpt.job(), data={"text": gpt.windows(text)}).job()


class OneStep:
    """What a player knows who has computed one step only: ``dispute.TraceProvider``. ``name`` tells players apart."""

    def __init__(self, name: str, trace: StepTrace) -> None:
        self.name = name
        self.trace = trace

    def state_roots(self, numbers: Sequence[int]) -> list[bytes]:
        nearby = {AT: self.trace.start.root, AT + 1: self.trace.end.root}
        return [nearby.get(n) or digest_of(self.name if n > AT else "both", n) for n in numbers]

    def step_trace(self, number: int) -> StepTrace:
        return self.trace


@cache
def replay() -> Replay:
    """The job as if its first step had the number of the disputed one."""
    captured = job().captured
    return Replay(EngineComputation(captured.program, captured.constants), captured.state, AT, JobHasher())


def traces(fault: str) -> tuple[StepTrace, StepTrace]:
    """What the worker says of the step, and the truth."""
    captured = job().captured
    scene = Scene(replay(), 0, 1, captured.state_names, captured.constant_names)
    (false,) = FAULTS[fault](scene)
    return false, replay().step_trace(0)


def dispute(fault: str, terms: Terms | None = None) -> tuple[Bill, Played]:
    """The worker lies in one step of all, and is challenged."""
    false, true = traces(fault)
    liar, honest = OneStep("worker", false), OneStep("challenger", true)
    manifest, steps = job().manifest, job().steps
    start = digest_of("both", 0)
    roots = (bytes.fromhex(manifest.program.root), bytes.fromhex(manifest.constants_root))
    claim = Claim(*roots, start, *liar.state_roots([steps]), 0, steps)
    arena = chain_stand("embedded", terms or Terms())
    already = len(arena.spent)
    game = arena.challenge(arena.challenger, arena.post_claim(arena.worker, claim))
    fanout = arena.terms.fanout
    worker = Defender(arena.worker, liar, fanout)
    challenger = Challenger(arena.challenger, honest, fanout)
    played = Match(arena, game, worker, challenger, arena.wait).play()
    return Bill(bill_of(arena, already), played.winner), played
