"""The referee: claims, the games about them, clocks and bonds. What a referee contract does, in plain Python.

A claim can be challenged within a window by anyone who posts a bond. Challengers play independent games; the first
conviction decides the claim, and the others have their bonds back. A claim that nobody convicts, with no game left
open, is released after its window.

Clocks: a move has to be made within ``move_s`` seconds of the other side's last one, and all moves of one side in one
game within ``total_s``. Whoever runs out of either loses.

Bonds: the loser's bond goes to the winner by ``winner_share`` hundredths of a percent and is burned for the rest, so
that a liar who convicts himself loses all the same. Nothing is paid out by a verdict: what is owed is withdrawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from tallystick.errors import IllegalMove
from tallystick.spec.board import PROOFS, Claim, Game, Side
from tallystick.spec.game import open_game, play
from tallystick.spec.limits import STEPS
from tallystick.spec.moves import Move

WHOLE = 10_000  # hundredths of a percent
MOST_FANOUT = 64
LONGEST = 1 << 40  # seconds
LARGEST_BOND = 1 << 128  # so that shares of it can be computed in 256 bits


@dataclass(frozen=True, slots=True)
class Terms:
    """Fixed for the life of a referee. Times in seconds, bonds in the smallest unit of the token.

    ``fanout``  how many parts of an interval, or children of a node, one move reveals: a power of two, 2 to 64
    """

    fanout: int = 32
    move_s: int = 3_600
    total_s: int = 12 * 3_600
    window_s: int = 24 * 3_600
    defender_bond: int = 100 * 10**18
    challenger_bond: int = 10 * 10**18
    winner_share: int = 5_000

    def __post_init__(self) -> None:
        fanout = self.fanout
        assert 2 <= fanout <= MOST_FANOUT and fanout & (fanout - 1) == 0, "fanout is a power of two, 2 to 64"
        assert 0 < self.move_s <= self.total_s, "one move takes no longer than all of them"
        assert self.window_s > 0, "a window is open for a while"
        assert 0 <= self.winner_share <= WHOLE, "a share is at most the whole"
        assert self.total_s < LONGEST and self.window_s < LONGEST, "too long"
        assert 0 <= self.defender_bond < LARGEST_BOND and 0 <= self.challenger_bond < LARGEST_BOND, "too much"


class Status(IntEnum):
    """What has become of a claim."""

    OPEN = 1
    CONVICTED = 2
    RELEASED = 3


@dataclass(slots=True)
class PostedClaim:
    """A claim, who stands for it, and until when it may be challenged."""

    claim: Claim
    defender: str
    closes: int
    status: Status = Status.OPEN
    open_games: int = 0


@dataclass(slots=True)
class PostedGame:
    """A game, who challenges, and the clocks. ``left`` are the seconds of defender and challenger."""

    claim: int
    challenger: str
    game: Game
    turn_started: int
    left: dict[Side, int]
    closed: bool = False

    def deadline(self, terms: Terms) -> int:
        """The last second in which the side that has to move may do so."""
        return self.turn_started + min(terms.move_s, self.left[self.game.turn])


@dataclass(slots=True)
class Referee:
    """All claims and games under one set of terms. Claims and games are numbered from 0."""

    terms: Terms
    claims: list[PostedClaim] = field(default_factory=list)
    games: list[PostedGame] = field(default_factory=list)
    owed: dict[str, int] = field(default_factory=dict)
    burned: int = 0
    held: int = 0

    def post_claim(self, sender: str, now: int, claim: Claim) -> int:
        """Stand for a claim with a bond."""
        require(claim.steps > 0, "no steps")
        require(claim.first_step + claim.steps <= STEPS, "too many steps")
        self.held += self.terms.defender_bond
        self.claims.append(PostedClaim(claim, sender, now + self.terms.window_s))
        return len(self.claims) - 1

    def challenge(self, sender: str, now: int, number: int) -> int:
        """Dispute a claim with a bond."""
        posted = self.open_claim(number)
        require(now <= posted.closes, "window is over")
        posted.open_games += 1
        self.held += self.terms.challenger_bond
        left = {Side.DEFENDER: self.terms.total_s, Side.CHALLENGER: self.terms.total_s}
        self.games.append(PostedGame(number, sender, open_game(posted.claim), now, left))
        return len(self.games) - 1

    def move(self, sender: str, now: int, number: int, move: Move) -> None:
        """Make a move in a game."""
        dispute, posted = self.open_game(number)
        turn = dispute.game.turn
        mover = posted.defender if turn is Side.DEFENDER else dispute.challenger
        require(dispute.game.phase in PROOFS or sender == mover, "not your turn")
        require(now <= dispute.deadline(self.terms), "too late")
        play(dispute.game, posted.claim, self.terms.fanout, move)
        dispute.left[turn] -= now - dispute.turn_started
        dispute.turn_started = now
        if dispute.game.winner is not Side.NOBODY:
            self.settle(dispute, posted)

    def timeout(self, now: int, number: int) -> None:
        """End a game whose side to move has not moved in time. Anyone may say so."""
        dispute, posted = self.open_game(number)
        require(now > dispute.deadline(self.terms), "not too late yet")
        loser = dispute.game.turn
        dispute.game.forfeit(Side.CHALLENGER if loser is Side.DEFENDER else Side.DEFENDER)
        self.settle(dispute, posted)

    def refund(self, number: int) -> None:
        """Give a challenger's bond back whose claim was convicted in another game."""
        require(0 <= number < len(self.games), "no such game")
        dispute = self.games[number]
        require(not dispute.closed, "game is over")
        require(self.claims[dispute.claim].status is Status.CONVICTED, "claim is not decided")
        self.close(dispute)
        self.pay(dispute.challenger, self.terms.challenger_bond)

    def release(self, now: int, number: int) -> None:
        """Give a defender's bond back when nobody can challenge any more."""
        posted = self.open_claim(number)
        require(now > posted.closes, "window is open")
        require(posted.open_games == 0, "still disputed")
        posted.status = Status.RELEASED
        self.pay(posted.defender, self.terms.defender_bond)

    def withdraw(self, sender: str) -> int:
        """Pay out what somebody is owed."""
        amount = self.owed.pop(sender, 0)
        require(amount > 0, "nothing owed")
        return amount

    def settle(self, dispute: PostedGame, posted: PostedClaim) -> None:
        """Move the bonds of a game that is decided."""
        self.close(dispute)
        if dispute.game.winner is Side.DEFENDER:
            self.divide(posted.defender, self.terms.challenger_bond)
            return
        posted.status = Status.CONVICTED
        self.pay(dispute.challenger, self.terms.challenger_bond)
        self.divide(dispute.challenger, self.terms.defender_bond)

    def close(self, dispute: PostedGame) -> None:
        """A game is played once."""
        dispute.closed = True
        self.claims[dispute.claim].open_games -= 1

    def divide(self, winner: str, bond: int) -> None:
        """The loser's bond: a share to the winner, the rest to nobody."""
        share = bond * self.terms.winner_share // WHOLE
        self.pay(winner, share)
        self.held -= bond - share
        self.burned += bond - share

    def pay(self, to: str, amount: int) -> None:
        """Owe somebody what was held."""
        self.held -= amount
        self.owed[to] = self.owed.get(to, 0) + amount

    def open_claim(self, number: int) -> PostedClaim:
        require(0 <= number < len(self.claims), "no such claim")
        posted = self.claims[number]
        require(posted.status is Status.OPEN, "claim is decided")
        return posted

    def open_game(self, number: int) -> tuple[PostedGame, PostedClaim]:
        require(0 <= number < len(self.games), "no such game")
        dispute = self.games[number]
        require(not dispute.closed, "game is over")
        return dispute, self.open_claim(dispute.claim)


def require(holds: bool, reason: str) -> None:
    if not holds:
        raise IllegalMove(reason)
