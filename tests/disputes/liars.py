"""Players who do not play by what they know, and an arena that is pestered with moves it has to refuse."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from disputes.stage import PublicArena
from tallystick.dispute import Challenger, Defender, Player, TraceProvider
from tallystick.errors import CannotAnswer, IllegalMove
from tallystick.spec.board import PROOFS, Claim, Game, Phase, Side
from tallystick.spec.digests import CHUNK, ProgramHeader
from tallystick.spec.game import DIGEST, levels, parts
from tallystick.spec.limits import ACCUMULATORS, LANES
from tallystick.spec.merkle import path
from tallystick.spec.moves import (
    Execute,
    Move,
    PointChild,
    PointElement,
    PointGather,
    PointInterval,
    ProveInput,
    ProveSlot,
    RevealChildren,
    RevealChunk,
    RevealInterval,
    RevealTensor,
    RevealTrace,
)
from tallystick.spec.referee import Terms
from tallystick.spec.standing import Standing

ZERO = bytes(DIGEST)
MOST_ACCUMULATORS = ACCUMULATORS * (LANES + 1)
NO_HEADER = ProgramHeader(0, 0, 0, 0, ZERO, ZERO)
MEANINGLESS: tuple[Move, ...] = (
    RevealInterval(b""),
    PointInterval(1, b""),
    RevealTrace(NO_HEADER, ZERO, ()),
    PointGather(),
    RevealChildren(()),
    PointChild(0, ZERO, ()),
    ProveInput(ZERO, ()),
    ProveSlot(NO_HEADER, b"", 0, (), ZERO, ()),
    RevealTensor(NO_HEADER, 0, 0, b"", (), ZERO, ()),
    RevealChunk(b""),
    PointElement(0, b""),
    Execute(0, b"", (), b""),
)
"""A move of every kind, none of which is legal in any game, but for PointGather where it is its turn."""


# PLAYERS


class RandomChallenger(Challenger):
    """Points wherever chance will have it, at what was revealed; never proves."""

    def __init__(self, address: str, provider: TraceProvider, fanout: int, rng: random.Random) -> None:
        super().__init__(address, provider, fanout)
        self.rng = rng

    def answer(self, standing: Standing) -> Move:
        game, revealed = standing.dispute.game, standing.revealed
        match game.phase:
            case Phase.POINT_INTERVAL:
                return PointInterval(self.rng.randint(1, parts(game, self.fanout)), revealed)
            case Phase.POINT_TRACE if self.rng.random() < 0.2:
                return PointGather()
            case Phase.POINT_TRACE | Phase.POINT_CHILD:
                digests = [revealed[at : at + DIGEST] for at in range(0, len(revealed), DIGEST)] or [game.node]
                child = self.rng.randrange(len(digests))
                return PointChild(child, digests[child], tuple(path(digests, child)))
            case Phase.POINT_ELEMENT:
                return PointElement(self.rng.randrange(len(revealed) // game.size), revealed)
            case _:
                raise CannotAnswer("I only point")


def pointing_at_random(seed: int) -> Callable[[str, TraceProvider, int], Player]:
    """Makes random challengers."""
    return lambda address, provider, fanout: RandomChallenger(address, provider, fanout, random.Random(seed))


def silent(kind: type[Player], *phases: Phase) -> Callable[[str, TraceProvider, int], Player]:
    """Makes players who say nothing in some phases."""

    class Silent(kind):
        def answer(self, standing: Standing) -> Move:
            if standing.dispute.game.phase in phases:
                raise CannotAnswer("I say nothing")
            return super().answer(standing)

    return Silent


silent_defender = silent(Defender, *PROOFS)
"""A lying defender who does not prove himself wrong."""


# ILLEGAL MOVES


def damaged(move: Move, game: Game, terms: Terms, rng: random.Random) -> Iterator[Move]:
    """Moves that differ from a legal one in such a way that none of them can be legal."""
    match move:
        case RevealInterval():
            yield from (replace(move, items=items) for items in resized(move.items))
        case PointInterval():
            count = parts(game, terms.fanout)
            yield from (replace(move, part=part) for part in (0, count + 1, 1 << 40))
            yield from (replace(move, items=items) for items in (flipped(move.items, rng), *resized(move.items)))
        case RevealTrace():
            yield from (replace(move, header=header) for header in headers(move.header))
            yield from (replace(move, children=children) for children in bunches(move.children, rng))
            if move.children:
                yield replace(move, trace_root=flipped(move.trace_root, rng))
        case PointGather():
            pass
        case RevealChildren():
            yield from (replace(move, children=children) for children in bunches(move.children, rng))
        case PointChild():
            down = levels(game.height, terms.fanout)
            yield from (replace(move, child=child) for child in (1 << down, 1 << 40))
            yield replace(move, digest=flipped(move.digest, rng))
            yield from (replace(move, siblings=siblings) for siblings in bunches(move.siblings, rng))
        case ProveInput():
            yield replace(move, digest=flipped(move.digest, rng))
            yield from (replace(move, siblings=siblings) for siblings in bunches(move.siblings, rng))
        case ProveSlot():
            yield from (replace(move, header=header) for header in headers(move.header))
            yield replace(move, type_bytes=flipped(move.type_bytes, rng))
            yield replace(move, next_value=move.next_value + 1)
            yield replace(move, digest=flipped(move.digest, rng))
            yield from (replace(move, slot_siblings=siblings) for siblings in bunches(move.slot_siblings, rng))
            yield from (replace(move, trace_siblings=siblings) for siblings in bunches(move.trace_siblings, rng))
        case RevealTensor():
            yield from (replace(move, header=header) for header in headers(move.header))
            yield replace(move, number=move.number + 1)
            yield replace(move, first_value=move.first_value + 1)
            yield from (replace(move, kernel=kernel) for kernel in (flipped(move.kernel, rng), *resized(move.kernel)))
            yield from (replace(move, kernel_siblings=siblings) for siblings in bunches(move.kernel_siblings, rng))
            yield replace(move, chunk_root=flipped(move.chunk_root, rng))
            yield from (replace(move, children=children) for children in bunches(move.children, rng))
        case RevealChunk():
            yield from (RevealChunk(chunk) for chunk in (flipped(move.chunk, rng), *resized(move.chunk, CHUNK)))
        case PointElement():
            count = len(move.chunk) // game.size
            yield from (replace(move, number=number) for number in (count, 1 << 40))
            yield from (replace(move, chunk=chunk) for chunk in (flipped(move.chunk, rng), *resized(move.chunk, CHUNK)))
        case Execute():
            yield replace(move, first_value=move.first_value + 1)
            yield from (replace(move, kernel=kernel) for kernel in (flipped(move.kernel, rng), *resized(move.kernel)))
            if len(move.accumulators) < MOST_ACCUMULATORS:
                yield replace(move, accumulators=(*move.accumulators, 0))
            if move.accumulators:
                yield replace(move, accumulators=(move.accumulators[0] ^ 1, *move.accumulators[1:]))
                yield replace(move, accumulators=move.accumulators[1:])
            yield from (replace(move, witness=witness) for witness in resized(move.witness))
            if move.witness:
                yield from (replace(move, witness=flipped(move.witness, rng)) for _ in range(5))


def flipped(data: bytes, rng: random.Random) -> bytes:
    """One bit changed."""
    at = rng.randrange(len(data) * 8)
    return data[: at // 8] + bytes([data[at // 8] ^ 1 << at % 8]) + data[at // 8 + 1 :]


def resized(data: bytes, most: int = 1 << 20) -> list[bytes]:
    """Longer, unless a contract takes no more of them, and shorter, if possible."""
    return [*([data + b"\0"] if len(data) < most else []), *([data[:-1], b""] if data else [])]


def bunches(digests: tuple[bytes, ...], rng: random.Random) -> Iterator[tuple[bytes, ...]]:
    """Digests too many, too few, and one of them wrong."""
    yield (*digests, ZERO)
    if digests:
        yield digests[1:]
        wrong = rng.randrange(len(digests))
        yield tuple(flipped(digest, rng) if n == wrong else digest for n, digest in enumerate(digests))


def headers(header: ProgramHeader) -> Iterator[ProgramHeader]:
    """Headers of other programs."""
    for count in ("states", "constants", "values", "kernels"):
        yield replace(header, **{count: getattr(header, count) + 1})
    yield replace(header, slots_root=ZERO)
    yield replace(header, kernels_root=ZERO)


class PesteredArena:
    """An arena that is offered illegal moves before every legal one, and a late one before every time-out.

    Satisfies ``PublicArena``. Each has to be refused, and to leave the game as it was. ``replayed`` are moves of other
    games; ``refused`` counts.
    """

    def __init__(self, inner: PublicArena, seed: int, replayed: tuple[Move, ...] = ()) -> None:
        self.inner = inner
        self.terms = inner.terms
        self.worker, self.challenger = inner.worker, inner.challenger
        self.rng = random.Random(seed)
        self.replayed = replayed
        self.made: list[Move] = []
        self.refused = 0

    def now(self) -> int:
        return self.inner.now()

    def wait(self, seconds: int) -> None:
        self.inner.wait(seconds)

    def owed(self, address: str) -> int:
        return self.inner.owed(address)

    def post_claim(self, sender: str, claim: Claim) -> int:
        return self.inner.post_claim(sender, claim)

    def challenge(self, sender: str, claim: int) -> int:
        return self.inner.challenge(sender, claim)

    def standing(self, game: int) -> Standing:
        return self.inner.standing(game)

    def move(self, sender: str, game: int, move: Move) -> int:
        before = self.inner.standing(game)
        board = before.dispute.game
        mover = self.worker if board.turn is Side.DEFENDER else self.challenger
        for other in (*MEANINGLESS, *self.replayed):
            if not may_fit(other, board.phase):
                self.refuse(mover, game, other)
        for other in damaged(move, board, self.terms, self.rng):
            self.refuse(mover, game, other)
        if board.phase not in PROOFS:
            self.refuse(self.challenger if mover == self.worker else self.worker, game, move, "not your turn")
        self.refuse(mover, game + 1, move, "no such game")
        with pytest.raises(IllegalMove, match="not too late yet"):
            self.inner.timeout(sender, game)
        assert self.inner.standing(game) == before, "a move that was refused has changed something"
        gas = self.inner.move(sender, game, move)
        self.made.append(move)
        return gas

    def timeout(self, sender: str, game: int) -> int:
        board = self.inner.standing(game).dispute.game
        mover = self.worker if board.turn is Side.DEFENDER else self.challenger
        for move in MEANINGLESS:
            self.refuse(mover, game, move, "too late")
        return self.inner.timeout(sender, game)

    def refuse(self, sender: str, game: int, move: Move, reason: str | None = None) -> None:
        """The arena must not take a move."""
        with pytest.raises(IllegalMove, match=reason):
            self.inner.move(sender, game, move)
        self.refused += 1


KINDS = {
    Phase.REVEAL_INTERVAL: (RevealInterval,),
    Phase.POINT_INTERVAL: (PointInterval,),
    Phase.REVEAL_TRACE: (RevealTrace,),
    Phase.POINT_TRACE: (PointGather, PointChild),
    Phase.REVEAL_CHILDREN: (RevealChildren,),
    Phase.POINT_CHILD: (PointChild,),
    Phase.PROVE_INPUT: (ProveInput,),
    Phase.PROVE_SLOT: (ProveSlot,),
    Phase.REVEAL_TENSOR: (RevealTensor,),
    Phase.REVEAL_CHUNK: (RevealChunk,),
    Phase.POINT_ELEMENT: (PointElement,),
    Phase.EXECUTE: (Execute,),
}


def may_fit(move: Move, phase: Phase) -> bool:
    """Whether a move of another game, or one that means nothing, could be legal in a phase."""
    return isinstance(move, KINDS[phase]) and (move not in MEANINGLESS or isinstance(move, PointGather))
