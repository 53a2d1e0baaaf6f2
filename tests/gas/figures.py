"""All figures of the gas snapshot, by section: see tests/replay/FORMAT.md."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from gas.bills import Bill, play
from gas.leaves import matmul_step
from gas.scenes import Course, InputCourse, Scene, Size, SlotCourse
from gas.worst import Worst, candidates, longest_to_reveal, scene
from tallystick.job.stands import chain_stand
from tallystick.spec.board import Claim
from tallystick.spec.referee import Terms
from tallystick.spec.scalar_steps import Work

Figures = dict[str, int]

MILLION_WORDS = (1_024, 1_024, 1_024)
LARGE_JOB = Size(steps=1 << 20, step=717_171)
"""Of the extrapolated job; its program has 4,000 values."""
LARGE_PRODUCT = (25_000, 4_096, 4_096)
"""The extrapolated job's state: 10**8 words of an element each of which is a sum of 4,096 products in blocks of 512."""
GPT_LIES = ("weight-ulp", "fold-step", "dearest sum")


# DISPUTES


@cache
def large_dispute(terms: Terms | None = None) -> Bill:
    """A dispute of the extrapolated job, down to one multiply-add."""
    return play(Course(matmul_step(*LARGE_PRODUCT, LARGE_JOB)), terms)


def gpt_dispute(lie: str) -> Bill:
    from gas import gpt as gpt_bill  # which takes seconds, and PyTorch

    return gpt_bill.dispute(lie)[0]


def disputes() -> Figures:
    return totals("2**20 steps, 10**8 words, 4096 products", large_dispute())


def gpt_disputes() -> Figures:
    return {key: gas for lie in GPT_LIES for key, gas in totals(f"GPT, {lie}", gpt_dispute(lie)).items()}


def totals(name: str, bill: Bill) -> Figures:
    return {f"{name}: gas": bill.gas, f"{name}: transactions": bill.transactions}


# MOVES


def moves() -> Figures:
    """The dearest of each kind that the disputes of a large job have, and every way to end one."""
    bills = [large_dispute()]
    bills += [play(course(matmul_step(*LARGE_PRODUCT, Size()))) for course in (InputCourse, SlotCourse)]
    kinds = dict.fromkeys(function for bill in bills for function, _ in bill.spent)
    return {function: max(bill.dearest(function) for bill in bills) for function in kinds} | ends()


def ends() -> Figures:
    """What is not a move: two games about a claim, one of them lost by silence; and a claim that nobody minds."""
    terms = Terms()
    arena = chain_stand("embedded", terms)
    for address in (arena.worker, arena.challenger):
        arena.token.mint(address, 10 * terms.defender_bond, sender=arena.chain.signers[0])
    claim = Claim(*(bytes([number]) * 32 for number in range(4)), 0, 1)
    disputed, quiet = (arena.post_claim(arena.worker, claim) for _ in range(2))
    won, refunded = (arena.challenge(arena.challenger, disputed) for _ in range(2))
    arena.wait(terms.move_s + 1)
    arena.timeout(arena.worker, won)
    arena.refund(arena.challenger, refunded)
    arena.wait(terms.window_s)
    arena.release(arena.worker, quiet)
    arena.withdraw(arena.challenger)
    wanted = ("timeout", "refund", "release", "withdraw")
    return {spent.what: spent.gas for spent in arena.spent if spent.what in wanted}


# LEAVES


def typical_leaves() -> Figures:
    """The transactions that execute a scalar step of a product of matrices of a million words, 4,000 values beside."""
    works = (Work.UPDATE, Work.MERGE_BLOCK, Work.STORE)
    names = ("ffma", "merge of blocks", "store")
    return {name: executed(matmul_step(*MILLION_WORDS, Size(), work)) for name, work in zip(names, works, strict=True)}


def worst_leaves() -> Figures:
    """Every candidate."""
    return {worst.name: executed(scene(worst)) for worst in candidates()}


def worst_reveal() -> Figures:
    """The move that reads a kernel of nearly 4,096 bytes, and the longest intervals, of four words for each lane."""
    bill = play(Course(longest_to_reveal()))
    return {function: bill.dearest(function) for function in ("reveal_tensor", "reveal_interval", "point_interval")}


def executed(about: Scene) -> int:
    """The gas of the transaction that convicts."""
    return play(Course(about)).spent[-1][1]


FAST: dict[str, Callable[[], Figures]] = {
    "moves": moves,
    "worst moves": worst_reveal,
    "typical leaves": typical_leaves,
    "disputes": disputes,
}
SLOW: dict[str, Callable[[], Figures]] = {
    "worst leaves": worst_leaves,
    "disputes of the GPT job": gpt_disputes,
}
"""The sections of the snapshot: those that take seconds, and the others."""


def candidate(name: str) -> Worst:
    """One of the worst leaves, by the name of its figure."""
    return next(worst for worst in candidates() if worst.name == name)
