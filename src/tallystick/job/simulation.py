"""A dispute about a job, played by an honest side and a liar."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from tallystick.dispute import (
    Arena,
    Challenger,
    Defender,
    FaultyReplay,
    Listener,
    Match,
    Played,
    Replay,
    TraceProvider,
    Turn,
)
from tallystick.dispute.faults import FAULTS, Scene
from tallystick.errors import UsageError
from tallystick.job.computation import EngineComputation
from tallystick.job.hashing import JobHasher
from tallystick.job.stretch import Stretch
from tallystick.job.verdict import Verdict, verdict_of
from tallystick.spec.board import Claim, Game, Side
from tallystick.spec.game import boundary, parts

Role = Literal["worker", "challenger"]
Stage = Callable[[str, int, int], None]
"""Called with what is being done, the steps done of it, and how many there are (0: unknown)."""


class Stand(Arena, Protocol):
    """An arena on which claims can be posted and time can be let pass."""

    worker: str
    challenger: str

    def post_claim(self, sender: str, claim: Claim) -> int: ...
    def challenge(self, sender: str, claim: int) -> int: ...
    def wait(self, seconds: int) -> None: ...
    def owed(self, address: str) -> int: ...


@dataclass(frozen=True)
class Simulation:
    """A dispute that was simulated, and how it ended. Times in seconds, amounts in the token's smallest unit."""

    fault: str
    role: Role
    at: int
    claim: Claim
    played: Played
    verdict: Verdict
    worker_owed: int
    challenger_owed: int
    seconds: float
    preparation_seconds: float

    @property
    def liar_lost(self) -> bool:
        """Whether the verdict is the right one."""
        return self.played.winner is (Side.CHALLENGER if self.role == "worker" else Side.DEFENDER)


def simulate(
    stretch: Stretch,
    arena: Stand,
    *,
    fault: str,
    at: int | None = None,
    role: Role = "worker",
    seed: int = 0,
    threads: int | None = None,
    watch: Callable[[Turn], None] = lambda turn: None,
    stage: Stage = lambda what, done, total: None,
) -> Simulation:
    """Let a worker claim a stretch of a job, and a challenger dispute it; one of them computes with a fault.

    ``fault``  one of ``dispute.faults.FAULTS``
    ``at``     the step of the program that it happens in; None for the one in the middle
    ``role``   who has it: the worker, whose claim is then false, or the challenger of a claim that is true
    ``seed``   picks slot and element

    Raises: UsageError for a fault that is unknown or cannot happen in this job at this step.
    """
    number = stretch.number(stretch.middle if at is None else at)
    return Simulator(stretch, arena, fault, number, role, seed, threads, stage).run(watch)


class Simulator:
    """The preparation of a dispute and its course."""

    def __init__(
        self,
        stretch: Stretch,
        arena: Stand,
        fault: str,
        at: int,
        role: Role,
        seed: int,
        threads: int | None,
        stage: Stage,
    ) -> None:
        if fault not in FAULTS:
            raise UsageError(f"there is no fault '{fault}'; there are {', '.join(sorted(FAULTS))}")
        self.stretch, self.captured, self.arena, self.stage = stretch, stretch.job.captured, arena, stage
        self.fault, self.at, self.seed = fault, at, seed
        self.role: Role = role
        self.began = time.monotonic()
        stage("compiling", 0, 0)
        self.computation = EngineComputation(self.captured.program, self.captured.constants, threads)
        self.hasher = JobHasher()

    def run(self, watch: Callable[[Turn], None]) -> Simulation:
        """From nothing to the verdict."""
        honest = self.replay("the honest side runs")
        liar, after = self.liar()
        claim = self.claim(honest, liar, after)
        prepared = time.monotonic()
        game = self.open(claim)
        lies = self.role == "worker"
        fanout = self.arena.terms.fanout
        worker = Defender(self.arena.worker, liar if lies else honest, fanout)
        challenger = Challenger(self.arena.challenger, honest if lies else liar, fanout)
        played = Match(self.arena, game, worker, challenger, self.arena.wait, watch).play()
        true = challenger if lies else worker
        verdict = verdict_of(played, self.captured, claim.first_step, worker, true)
        ended = time.monotonic()
        for one in (honest, liar):
            one.close()
        return Simulation(
            self.fault,
            self.role,
            claim.first_step + self.at,
            claim,
            played,
            verdict,
            self.arena.owed(self.arena.worker),
            self.arena.owed(self.arena.challenger),
            ended - self.began,
            prepared - self.began,
        )

    def replay(self, what: str) -> Replay:
        """The job, run again as far as somebody asks."""
        start, first_step = self.stretch.start, self.stretch.first_step
        return Replay(self.computation, start, first_step, self.hasher, None, self.counter(what))

    def counter(self, what: str) -> Listener:
        """Counts the steps that are run."""
        done = 0

        def count(steps: int) -> None:
            nonlocal done
            done += steps
            self.stage(what, min(done, self.stretch.steps), self.stretch.steps)

        return count

    def liar(self) -> tuple[FaultyReplay, int]:
        """The liar's computation, and the number of the first step that it computes truly again."""
        truth = self.replay("the liar runs")
        truth.state_roots([self.at])
        self.stage(f"the liar's fault in step {self.stretch.first_step + self.at}", 0, 0)
        names = self.captured.state_names, self.captured.constant_names
        scene = Scene(truth, self.at, self.stretch.steps, *names, self.seed)
        false = FAULTS[self.fault](scene)
        return FaultyReplay(truth, self.at, false), self.at + len(false)

    def claim(self, honest: Replay, liar: FaultyReplay, after: int) -> Claim:
        """What the worker claims: all of the stretch, or, if the fault has left no trace by then, up to its step."""
        steps = self.stretch.steps
        roots = [self.prepare(player, steps) for player in (honest, liar)]
        if roots[0] == roots[1]:
            steps = after
            roots = [self.prepare(player, steps) for player in (honest, liar)]
        if roots[0] == roots[1]:
            raise UsageError(f"in this step of this job, {self.fault} changes nothing: try another step or seed")
        manifest = self.stretch.job.manifest
        return Claim(
            program_root=bytes.fromhex(manifest.program.root),
            constants_root=bytes.fromhex(manifest.constants_root),
            start_root=honest.state_roots([0])[0],
            end_root=roots[self.role == "worker"],
            first_step=self.stretch.first_step,
            steps=steps,
        )

    def prepare(self, player: TraceProvider, steps: int) -> bytes:
        """Run to the end and keep what the first answer needs; returns the last root."""
        game = Game(high=steps)
        fanout = self.arena.terms.fanout
        return player.state_roots([boundary(game, part, fanout) for part in range(1, parts(game, fanout) + 1)])[-1]

    def open(self, claim: Claim) -> int:
        """Post the claim and challenge it; returns the game."""
        number = self.arena.post_claim(self.arena.worker, claim)
        return self.arena.challenge(self.arena.challenger, number)
