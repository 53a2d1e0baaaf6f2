"""The players of a dispute: an honest defender, an honest challenger, and liars to try them on.

Players have two doors. Behind ``TraceProvider`` lies a computation, run again as far as a move needs it; behind
``Arena`` the referee, in a contract or in plain Python. Neither side trusts anything that comes through the second.
"""

from tallystick.dispute.arena import Arena
from tallystick.dispute.computation import Computation, Listener
from tallystick.dispute.lies import FaultyReplay
from tallystick.dispute.local import LocalArena
from tallystick.dispute.match import Match, Played, Turn
from tallystick.dispute.players import Challenger, Defender, Player
from tallystick.dispute.replay import Replay, TraceProvider
from tallystick.dispute.snapshots import Snapshots
from tallystick.dispute.step_trace import StepTrace
from tallystick.spec.standing import Reveal, Standing

__all__ = [
    "Arena",
    "Challenger",
    "Computation",
    "Defender",
    "FaultyReplay",
    "Listener",
    "LocalArena",
    "Match",
    "Played",
    "Player",
    "Replay",
    "Reveal",
    "Snapshots",
    "Standing",
    "StepTrace",
    "TraceProvider",
    "Turn",
]
