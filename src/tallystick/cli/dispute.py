"""``tally dispute``: what happens to a liar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from tallystick.cli.exits import NOT_VERIFIED
from tallystick.cli.inspect import find_job
from tallystick.cli.progress import Bar
from tallystick.cli.screen import Screen
from tallystick.cli.words import elapsed, facts_table
from tallystick.errors import JobError

if TYPE_CHECKING:
    from tallystick.dispute import Turn
    from tallystick.job.simulation import Simulation, Stand
    from tallystick.job.stretch import Stretch
    from tallystick.spec.referee import Terms

TOKEN = 10**18
COLORS = {"defender": "magenta", "challenger": "cyan"}


def simulate_dispute(
    what: str, fault: str, at: int | None, role: str, seed: int, chain: str, threads: int | None, as_json: bool
) -> None:
    """Play a dispute about a job and say how it ended."""
    with Screen(as_json) as screen:
        screen.if_interrupted = "nothing was decided"
        if role not in ("worker", "challenger"):
            raise JobError(f"--role {role}: who has the fault? Give worker or challenger")
        from tallystick.job.simulation import simulate

        with Bar(screen.err) as bar:
            bar.update("capturing", 0, 0)
            stretch = find_stretch(what, at)
            bar.update("deploying the referee", 0, 0)
            stand = open_stand(chain)
            teller = Teller(screen, bar, stretch.first_step)
            simulation = simulate(
                stretch,
                stand,
                fault=fault,
                at=at,
                role="worker" if role == "worker" else "challenger",
                seed=seed,
                threads=threads,
                watch=teller.turn,
                stage=lambda text, done, total: bar.update(text, done, total),
            )
        style = "bold green" if simulation.liar_lost else "bold red"
        screen.show(
            document(stretch.job.name, simulation, stand.terms),
            f"\n[{style}]{escape(sentence(simulation))}[/]",
            facts_table(readable(stretch.job.name, simulation, stand.terms)),
        )
        if not simulation.liar_lost:
            raise SystemExit(NOT_VERIFIED)


def find_stretch(what: str, at: int | None) -> Stretch:
    """What is claimed: all steps of a job in a file, or the segment of a run that the step lies in.

    Raises: JobError if it is neither; ProtocolError if the folder's files are not what they claim to be.
    """
    from tallystick.job.stretch import segment_of, whole_job

    path = Path(what)
    if path.is_dir() or path.name == "receipt.json":
        return segment_of(path if path.is_dir() else path.parent, at)
    return whole_job(find_job(what))


def open_stand(chain: str) -> Stand:
    """Where the dispute is played."""
    from tallystick.dispute import LocalArena
    from tallystick.spec.referee import Terms

    if chain == "none":
        return LocalArena(Terms())
    if chain != "embedded" and not chain.startswith(("http://", "https://")):
        raise JobError(f"--chain {chain}: give embedded, none, or the URL of a development node")
    from tallystick.job.stands import chain_stand

    return chain_stand(chain, Terms())


class Teller:
    """Tells a game move by move."""

    def __init__(self, screen: Screen, bar: Bar, first_step: int) -> None:
        self.screen = screen
        self.bar = bar
        self.first_step = first_step
        self.number = 0

    def turn(self, turn: Turn) -> None:
        """One line for a move."""
        from tallystick.job.narration import told

        self.number += 1
        self.bar.update("playing", 0, 0, f"move {self.number}")
        if self.screen.as_json:
            return
        who = turn.side.name.lower()
        cost = f"{turn.gas:>9,} gas " if turn.gas else ""
        facts = f"[dim]{cost}{turn.computed_s:6.2f} s[/]"
        words = f"[{COLORS[who]}]{who}[/] {escape(told(turn, self.first_step))}"
        self.screen.out.print(f"{self.number:>3} {facts}  {words}", soft_wrap=True)


def sentence(simulation: Simulation) -> str:
    """The verdict in a line."""
    convicted = simulation.played.winner.name == "CHALLENGER"
    ruling = "the worker is convicted" if convicted else "the claim stands: the challenger loses"
    return f"{simulation.verdict.text}\n{ruling}"


def readable(name: str, simulation: Simulation, terms: Terms) -> dict[str, str]:
    """What it took, and what became of the bonds."""
    played, claim = simulation.played, simulation.claim
    prepared = f"{elapsed(simulation.preparation_seconds)} of it to run the steps twice"
    facts = {
        "job": f"{name}: steps {claim.first_step:,} to {claim.first_step + claim.steps - 1:,} claimed",
        "fault": f"{simulation.fault} in step {simulation.at}, by the {simulation.role}",
        "game": f"{len(played.turns)} moves, {played.gas:,} gas",
        "time": f"{elapsed(simulation.seconds)}; {prepared}",
        "worker": f"posted {tokens(terms.defender_bond)}, may withdraw {tokens(simulation.worker_owed)}",
        "challenger": f"posted {tokens(terms.challenger_bond)}, may withdraw {tokens(simulation.challenger_owed)}",
    }
    if not played.gas:
        facts["game"] = f"{len(played.turns)} moves, on no chain"
    return facts


def tokens(amount: int) -> str:
    """An amount of the test token."""
    return f"{amount / TOKEN:g} tokens"


def document(name: str, simulation: Simulation, terms: Terms) -> dict[str, Any]:
    """Everything about a simulated dispute, for programs."""
    from tallystick.job.narration import told

    claim, verdict = simulation.claim, simulation.verdict
    return {
        "ok": simulation.liar_lost,
        "job": name,
        "fault": simulation.fault,
        "role": simulation.role,
        "at": simulation.at,
        "claim": {
            "program_root": claim.program_root.hex(),
            "constants_root": claim.constants_root.hex(),
            "start_root": claim.start_root.hex(),
            "end_root": claim.end_root.hex(),
            "first_step": claim.first_step,
            "steps": claim.steps,
        },
        "moves": [
            {
                "side": turn.side.name.lower(),
                "move": None if turn.move is None else type(turn.move).__name__,
                "text": told(turn, claim.first_step),
                "trouble": turn.trouble,
                "gas": turn.gas,
                "computed_s": round(turn.computed_s, 4),
            }
            for turn in simulation.played.turns
        ],
        "gas": simulation.played.gas,
        "verdict": {
            "winner": verdict.winner.name.lower(),
            "text": verdict.text,
            "step": verdict.step,
            "value": verdict.value,
            "kernel": verdict.kernel,
            "source": verdict.source,
            "slot": verdict.slot,
            "element": None if verdict.element is None else list(verdict.element),
            "scalar_step": verdict.scalar_step,
            "claimed": verdict.claimed,
            "executed": verdict.executed,
        },
        "bonds": {
            "worker": {"posted": str(terms.defender_bond), "owed": str(simulation.worker_owed)},
            "challenger": {"posted": str(terms.challenger_bond), "owed": str(simulation.challenger_owed)},
        },
        "seconds": round(simulation.seconds, 3),
        "preparation_seconds": round(simulation.preparation_seconds, 3),
    }


def list_faults(as_json: bool) -> None:
    """Print every kind of fault with what it is."""
    with Screen(as_json) as screen:
        from tallystick.dispute.faults import FAULTS

        faults = {name: (fault.__doc__ or "").strip() for name, fault in sorted(FAULTS.items())}
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, what in faults.items():
            table.add_row(f"[bold]{name}[/]", what)
        screen.show({"faults": faults}, table)
