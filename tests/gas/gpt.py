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

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

import gpt
from gas.bills import Bill, bill_of
from gas.scenes import digest_of
from tallystick.commitment import bits_of
from tallystick.dispute import Challenger, Defender, Match, Played, Replay, StepTrace
from tallystick.dispute.faults import FAULTS, Scene
from tallystick.dispute.lies import FaultyTrace
from tallystick.dispute.step_trace import maker_of
from tallystick.job.computation import EngineComputation
from tallystick.job.hashing import JobHasher
from tallystick.job.job import Job
from tallystick.job.stands import chain_stand
from tallystick.spec.board import Claim
from tallystick.spec.referee import Terms
from tallystick.spec.scalar_steps import accumulator_words, scalar_steps

AT = 337  # the step that goes wrong
DEAREST = "dearest sum"


@cache
def job() -> Job:
    """The example, on letters drawn at random: the standard library's text depends on the version of Python."""
    text = np.random.default_rng(5).integers(0, len(gpt.CHARACTERS), gpt.TEXT_LENGTH).astype(np.int32)
    return replace(gpt.job(), data={"text": gpt.windows(text)}).job()


class OneStep:
    """What a player knows who has computed one step only: ``dispute.TraceProvider``. ``name`` tells players apart.

    Their states differ from the disputed step on, whether the lie goes into the state or is lost on the way.
    """

    def __init__(self, name: str, trace: StepTrace) -> None:
        self.name = name
        self.trace = trace

    def state_roots(self, numbers: Sequence[int]) -> list[bytes]:
        before = {AT: self.trace.start.root}
        return [before.get(n) or digest_of(self.name if n > AT else "both", n) for n in numbers]

    def step_trace(self, number: int) -> StepTrace:
        return self.trace


@cache
def replay() -> Replay:
    """The job as if its first step had the number of the disputed one."""
    captured = job().captured
    return Replay(EngineComputation(captured.program, captured.constants), captured.state, AT, JobHasher())


def lie(name: str) -> FaultyTrace:
    """What the worker says of the step: one of ``dispute.faults.FAULTS``, or DEAREST."""
    if name == DEAREST:
        return wrong_sum(dearest_value())
    captured = job().captured
    (false,) = FAULTS[name](Scene(replay(), 0, 1, captured.state_names, captured.constant_names))
    return false


def dearest_value() -> int:
    """The value whose disputes reveal the most: accumulators in every interval, words of every load in the end."""
    program = job().captured.program
    inputs = len(program.states) + len(program.constants)

    def revealed(value: int) -> tuple[int, int]:
        kernel = maker_of(program, value).kernel
        parts = min(Terms().fanout, scalar_steps(kernel, 0))
        return accumulator_words(kernel) * parts, len(kernel.loads)

    return max(range(inputs, len(program.value_types)), key=revealed)


def wrong_sum(value: int) -> FaultyTrace:
    """The step with a value whose first element is one bit off, from the middle of its scalar steps on."""
    trace = FaultyTrace(replay().step_trace(0))
    array = trace.values[value]
    bits = bits_of(trace.types[value], array).copy()
    bits[0] ^= 1
    trace.replace_value(value, bits.view(array.dtype).reshape(array.shape))
    trace.lie_at = 0.5
    return trace


def dispute(name: str, terms: Terms | None = None) -> tuple[Bill, Played]:
    """The worker lies in one step of all, and is challenged."""
    liar, honest = OneStep("worker", lie(name)), OneStep("challenger", replay().step_trace(0))
    manifest, steps = job().manifest, job().steps
    roots = (bytes.fromhex(manifest.program.root), bytes.fromhex(manifest.constants_root))
    claim = Claim(*roots, *liar.state_roots([0, steps]), 0, steps)
    arena = chain_stand("embedded", terms or Terms())
    already = len(arena.spent)
    game = arena.challenge(arena.challenger, arena.post_claim(arena.worker, claim))
    fanout = arena.terms.fanout
    worker = Defender(arena.worker, liar, fanout)
    challenger = Challenger(arena.challenger, honest, fanout)
    played = Match(arena, game, worker, challenger, arena.wait).play()
    return Bill(bill_of(arena, already), played.winner), played
