"""Call data that no client would write, at every phase of games: refused and nothing changed, or a move all the same
that the definition takes as well.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, get_args

import pytest

pytest.importorskip("pyrevm")

from evm.contracts import GAS
from evm.referee_twins import Twins
from tallystick.chain.referee import arguments_of, function_of
from tallystick.errors import IllegalMove, UsageError
from tallystick.spec import moves
from tallystick.spec.board import Claim, Phase
from tallystick.spec.digests import ProgramHeader
from tallystick.spec.merkle import EMPTY, leaf
from tallystick.spec.moves import Move
from toy.match import MINIMAL, NORMAL, Match, Seat, truth
from toy.story import Tree

WORDS = (0, 1, 31, 32, 64, 1 << 16, 1 << 32, 1 << 64, 1 << 160, 1 << 255, (1 << 256) - 1, (1 << 256) - 32)
MOST_GAS = 3_000_000  # of a refused call
MOVES = {kind.__name__.lower(): kind for kind in get_args(Move)}


def damaged_calls(data: bytes, rng: random.Random) -> Iterator[bytes]:
    """Cut, overwritten, made up."""
    yield data[: rng.randrange(4, len(data))]
    yield data[:4]
    yield data[:4] + rng.randbytes(rng.choice([31, 32, 320]))
    yield rng.randbytes(4) + data[4:]
    words = [at for at in range(4, len(data) - 31, 32) if int.from_bytes(data[at : at + 32], "big") < 1 << 40]
    for _ in range(6):
        at = rng.choice(words)
        word = rng.choice([*WORDS, len(data), int.from_bytes(data[at : at + 32], "big") + rng.choice([-32, -1, 1, 32])])
        yield data[:at] + (word % (1 << 256)).to_bytes(32, "big") + data[at + 32 :]


class HostileMatch(Match):
    """Before every move, what the mover, or a stranger if he is honest, could send instead."""

    tried = 0
    taken = 0

    def move(self, seat: Seat) -> None:
        game = self.dispute(seat).game
        player, account = self.mover(seat)
        move = player.answer(game, seat.table)
        phase = game.phase
        if move is not None and self.rng.random() < 0.5:
            account = self.stranger if self.honest_to_move(seat) else account
            right = self.twins.contract.referee.data(function_of(move), seat.game, *arguments_of(move))
            for data in damaged_calls(right, self.rng):
                self.try_call(account, seat, data)
                if game.phase is not phase or seat not in self.open_seats():
                    return
        super().move(seat)

    def try_call(self, account: str, seat: Seat, data: bytes) -> None:
        twins = self.twins
        self.tried += 1
        twins.contract.at(twins.now)
        try:
            twins.contract.referee.send(account, data)
        except IllegalMove:
            assert twins.contract.evm.result.gas_used < MOST_GAS
            twins.compare()
            return
        logs = twins.contract.evm.result.logs
        read = read_move(twins, data)
        if read is None:
            assert not logs, "what is no move changes nothing"
        else:
            number, move = read
            twins.spec.move(account, twins.now, number, move)
            (there,) = (each for each in self.seats if each.game == number)
            there.table.saw(self.dispute(there).game, move)
            self.taken += 1
        twins.compare()


def read_move(twins: Twins, data: bytes) -> tuple[int, Move] | None:
    """The game and the move that call data means to a contract, which reads zeros after its end."""
    functions = twins.contract.referee.interface.functions
    for name in functions:
        function, kind = functions[name][0], MOVES.get(name.replace("_", ""))
        if kind is not None and data[:4] == function.selector:
            game, *values = (read_argument(data, 4 + 32 * at, each.type) for at, each in enumerate(function.inputs))
            return game, move_of(kind, values)
    return None


def read_argument(data: bytes, at: int, type: str) -> Any:
    """An argument as a contract reads it: offsets may point anywhere, and after the end there are zeros."""

    def word(place: int) -> bytes:
        return data[place : place + 32].ljust(32, b"\0")

    number = int.from_bytes(word(at), "big")
    if type == "uint256":
        return number
    if type == "bytes32":
        return word(at)
    at = (4 + number) % (1 << 256)
    length = int.from_bytes(word(at), "big")
    if type == "bytes":
        return data[at + 32 : at + 32 + length].ljust(length, b"\0")
    assert type == "bytes32[]"
    return [word(at + 32 + 32 * number) for number in range(length)]


def move_of(kind: type[Any], values: list[Any]) -> Move:
    """A move from a call's arguments."""
    names = list(kind.__dataclass_fields__)
    fields = dict(zip(names, values, strict=True))
    if "header" in fields:
        fields["header"] = header_of(fields["header"])
    if "accumulators" in fields:
        words = fields["accumulators"]
        fields["accumulators"] = tuple(int.from_bytes(words[at : at + 4], "little") for at in range(0, len(words), 4))
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


def header_of(data: bytes) -> ProgramHeader:
    counts = (int.from_bytes(data[at : at + 4], "little") for at in range(2, 18, 4))
    return ProgramHeader(*counts, data[18:50], data[50:82])


def play_hostile(seeds: range) -> None:
    tried = taken = 0
    for seed in seeds:
        match = HostileMatch(random.Random(seed), MINIMAL if seed % 2 else NORMAL)
        match.play()
        tried, taken = tried + match.tried, taken + match.taken
    assert 0 < taken < tried


def test_damaged_calls() -> None:
    play_hostile(range(30))


@pytest.mark.slow
def test_many_damaged_calls() -> None:
    play_hostile(range(30, 330))


# LENGTHS AND NUMBERS THAT NO MOVE HAS


def stages() -> dict[Phase, tuple[Match, Seat, Move]]:
    """A game in every phase, with the move that would be right there."""
    found: dict[Phase, tuple[Match, Seat, Move]] = {}
    for seed in range(400):
        match = Staged(random.Random(seed), NORMAL)
        match.wanted = {Phase(number) for number in range(1, 13)} - set(found)
        try:
            match.play()
        except Reached as reached:
            found[reached.phase] = (match, reached.seat, reached.move)
        if len(found) == 12:
            return found
    raise AssertionError("no dispute reached every phase")


class Reached(Exception):
    """A game is in a phase that was wanted."""

    def __init__(self, phase: Phase, seat: Seat, move: Move) -> None:
        self.phase, self.seat, self.move = phase, seat, move


class Staged(Match):
    """Stops in a phase that is wanted."""

    wanted: set[Phase]

    def move(self, seat: Seat) -> None:
        game = self.dispute(seat).game
        move = self.mover(seat)[0].answer(game, seat.table)
        if game.phase in self.wanted and self.honest_to_move(seat) and move is not None:
            raise Reached(game.phase, seat, move)
        super().move(seat)


@pytest.fixture(scope="module")
def staged() -> dict[Phase, tuple[Match, Seat, Move]]:
    return stages()


TOO_LONG = {
    "items": 17_137,
    "header": 83,
    "type_bytes": 67,
    "kernel": 4097,
    "chunk": 1025,
    "accumulators": 273,
    "witness": 44_241,
}
REASONS = {
    "part": "no such part",
    "child": "no such child",
    "number": None,
    "first_value": "wrong kernel",
    "next_value": "wrong slot",
}


@pytest.mark.parametrize("phase", [Phase(number) for number in range(1, 13)])
def test_lengths_and_numbers_that_no_move_has(staged: dict[Phase, tuple[Match, Seat, Move]], phase: Phase) -> None:
    match, seat, move = staged[phase]
    contract = match.twins.contract
    account = match.mover(seat)[1]
    contract.at(match.twins.now)
    function = contract.referee.interface.function(function_of(move))
    right = [seat.game, *arguments_of(move)]
    for place, parameter in enumerate(function.inputs):
        for value in impossible(parameter.name, right[place]):
            wrong = [*right[:place], value, *right[place + 1 :]]
            with pytest.raises(IllegalMove) as refused:
                contract.transact(account, function_of(move), *wrong)
            expected = REASONS.get(parameter.name)
            assert expected is None or refused.value.reason == expected
            assert contract.evm.result.gas_used < MOST_GAS
    for wrong in (len(match.twins.spec.games), 1 << 128, (1 << 256) - 1):
        with pytest.raises(IllegalMove, match="no such game"):
            contract.transact(account, function_of(move), wrong, *right[1:])
    match.twins.compare()
    match.twins.move(account, seat.game, move)  # it was right all the time


def impossible(name: str, value: Any) -> list[Any]:
    """Values of a parameter that no move has."""
    if isinstance(value, int):
        return [] if name == "game" or name == "id" else [1 << 32, 1 << 64, (1 << 256) - 1]
    if isinstance(value, tuple):
        digest = bytes(32)
        return [(*value, digest), (digest,) * 41, (digest,) * 64, (digest,) * 65, value[:-1]] if value else [(digest,)]
    if name in TOO_LONG:
        return [bytes(TOO_LONG[name]), (value + bytes(TOO_LONG[name]))[: TOO_LONG[name]]]
    return [bytes(32)]


def test_money_is_refused_and_so_is_what_is_no_call(staged: dict[Phase, tuple[Match, Seat, Move]]) -> None:
    match, seat, _ = staged[Phase.REVEAL_INTERVAL]
    evm, address = match.twins.contract.evm, match.twins.contract.referee.address
    evm.set_balance(match.stranger, 1 << 90)
    data = match.twins.contract.referee.data("timeout", seat.game)
    for call, value in ((data, 1), (b"", 1), (b"", 0), (b"\1\2\3", 0), (b"\1\2\3\4", 0)):
        with pytest.raises(RuntimeError):
            evm.message_call(match.stranger, address, call, value=value, gas=GAS)
    match.twins.compare()


def test_moves_of_another_game_are_refused() -> None:
    """A proof of one game shows nothing in another: same claim, same phase, other agreed values."""
    twins = Twins(MINIMAL)
    true = truth("counter", 0, 3)
    twice = [twins.challenge(twins.accounts[1], twins.post_claim(twins.accounts[0], true.claim)) for _ in range(2)]
    first, second = twice
    items = true.root(1)
    twins.move(twins.accounts[0], first, moves.RevealInterval(items))
    twins.move(twins.accounts[0], second, moves.RevealInterval(true.root(2)))
    before = deepcopy(twins.spec.games)
    with pytest.raises(IllegalMove, match="not what was revealed"):
        twins.move(twins.accounts[1], second, moves.PointInterval(1, items))
    with pytest.raises(UsageError):
        twins.contract.referee.data("point_interval", -1, 1, items)
    assert twins.spec.games == before


def test_padding_is_no_value() -> None:
    """A program that nobody could have verified puts the padding of the trace tree into a slot: that shows nothing."""
    twins, values = Twins(MINIMAL), [leaf(bytes([number])) for number in range(3)]
    tree, record = Tree(values), bytes([2, 0]) + (3).to_bytes(4, "little")
    header = ProgramHeader(1, 0, 3, 1, leaf(record), EMPTY)
    claim = Claim(header.root, EMPTY, values[0], leaf(b"end"), 0, 1)
    defender, challenger = twins.accounts[:2]
    game = twins.challenge(challenger, twins.post_claim(defender, claim))
    twins.move(defender, game, moves.RevealTrace(header, tree.root, tuple(tree.levels[1])))
    twins.move(challenger, game, moves.PointGather())
    padding = moves.ProveSlot(header, record[:2], 3, (), EMPTY, tuple(tree.path(3)))
    with pytest.raises(IllegalMove, match="wrong path"):
        twins.move(challenger, game, padding)
    with pytest.raises(IllegalMove, match="wrong kernel"):  # nor is the padding over kernels a kernel
        tensor_game(twins, header, values, tree)


def tensor_game(twins: Twins, header: ProgramHeader, values: list[bytes], tree: Tree) -> None:
    """A dispute about the last value, answered with a kernel beyond the last one."""
    defender, challenger = twins.accounts[:2]
    claim = Claim(header.root, EMPTY, values[0], leaf(b"end"), 0, 1)
    game = twins.challenge(challenger, twins.post_claim(defender, claim))
    twins.move(defender, game, moves.RevealTrace(header, tree.root, tuple(tree.levels[1])))
    twins.move(challenger, game, moves.PointChild(1, tree.levels[1][1], (tree.levels[1][0],)))
    twins.move(defender, game, moves.RevealChildren(tuple(tree.levels[0][2:])))
    twins.move(challenger, game, moves.PointChild(0, values[2], (EMPTY,)))
    twins.move(defender, game, moves.RevealTensor(header, 1, 2, b"", (), EMPTY, ()))
