"""The commands' names, arguments and help. What they do is in one module each, imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="tally",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Train PyTorch models so that anyone can check every bit of the result.

    \b
    tally run examples/digits.py:job --out runs/digits     train; write a receipt
    tally verify runs/digits/receipt.json --sample 10%     re-run a random sample
    tally inspect examples/digits.py:job                   read the program
    tally profile examples/digits.py:job                   see where the time goes
    tally predict runs/digits examples/digits.py:predict   use the trained model
    tally dispute simulate runs/digits --fault weight-ulp  see a liar convicted
    """,
    epilog="Exit codes: 0 done, 1 verification failed, 2 not done (wrong use, no space, your code raised), 3 a bug, "
    "130 interrupted. Every command takes --json: one document on standard output, all else on standard error.",
)
key_app = typer.Typer(no_args_is_help=True, help="The key that signs your receipts.")
dispute_app = typer.Typer(no_args_is_help=True, help="What a referee does to a liar.")
app.add_typer(dispute_app, name="dispute")
app.add_typer(key_app, name="key")

Reference = Annotated[
    str,
    typer.Argument(
        metavar="FILE.py:JOB",
        help="Your file and the name of the job in it: a TrainingJob or a function that returns one.",
    ),
]
Json = Annotated[bool, typer.Option("--json", metavar="", help="One JSON document on standard output.")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        "-j",
        min=1,
        metavar="N",
        help="Threads to use; never changes a bit. Default: all cores.",
        show_default=False,
    ),
]


def print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tallystick {version('tallystick')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Options that stand before a command."""


@app.command("run", epilog="Example: tally run examples/gpt.py:job --out runs/gpt --threads 2")
def run(
    job: Reference,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="The run folder. Default: runs/NAME, NAME being the job's.",
            show_default=False,
        ),
    ] = None,
    threads: Threads = None,
    keep_states: Annotated[
        str | None,
        typer.Option(
            "--keep-states",
            metavar="all|N",
            help="States to keep: all, or N of them, evenly spaced. Default: what fits in 2 GiB.",
            show_default=False,
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", metavar="", help="Forget what the folder holds and start anew.")
    ] = False,
    resume_stored: Annotated[
        bool,
        typer.Option(
            "--resume-stored", metavar="", help="Go on from the weights in the folder if the model has others now."
        ),
    ] = False,
    continue_from: Annotated[
        Path | None,
        typer.Option(
            "--continue-from",
            metavar="RUN",
            help="A finished run to train on: steps count from its first one.",
            show_default=False,
        ),
    ] = None,
    on_nan: Annotated[
        str | None,
        typer.Option(
            "--on-nan",
            metavar="stop|record",
            help="What to do at a loss that is NaN. Default: as the job says, which is stop.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Train, and write a receipt, the model and the states that a verifier starts from.

    An interrupted run goes on when the same command is given again,
    and ends with the same bits as one that was never interrupted.
    """
    from tallystick.cli.run import Wishes, run_job

    run_job(job, Wishes(out, threads, keep_states, restart, resume_stored, continue_from, on_nan), json)


@app.command("verify", epilog="Example: tally verify runs/digits/receipt.json --full")
def verify(
    receipt: Annotated[Path, typer.Argument(metavar="RECEIPT", help="A receipt, or the run folder that holds it.")],
    sample: Annotated[
        str | None,
        typer.Option(
            "--sample",
            metavar="PERCENT",
            help="How many segments to run again, drawn at random. Default: 5%.",
            show_default=False,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", metavar="", help="Run every segment again.")] = False,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Check signature and files, run segments again, and compare every bit.

    On a difference it says where: segment, step, kernel with its line of source,
    element. Exit code 1 means that the receipt does not hold.
    """
    from tallystick.cli.verify import verify_receipt

    verify_receipt(receipt, sample, full, threads, json)


@app.command("inspect", epilog="Example: tally inspect examples/digits.py:job --bodies | less")
def inspect(
    what: Annotated[
        str,
        typer.Argument(metavar="FILE.py:JOB|RUN", help="A job in your file, or a run folder with somebody's program."),
    ],
    bodies: Annotated[
        bool, typer.Option("--bodies", metavar="", help="Print the instructions of every kernel, too.")
    ] = False,
    json: Json = False,
) -> None:
    """Show a program in readable text: kernels, shapes, the lines of source they come from, work and peak memory."""
    from tallystick.cli.inspect import inspect_program

    inspect_program(what, bodies, json)


@app.command("profile", epilog="Example: tally profile examples/gpt.py:job --top 10 --sort lost")
def profile(
    what: Annotated[
        str,
        typer.Argument(metavar="FILE.py:JOB|RUN", help="A job in your file, or a run folder with somebody's program."),
    ],
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", min=1, metavar="N", help="Steps to time. Default: two seconds of them.", show_default=False
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, metavar="N", help="Rows to print.")] = 20,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="time|lost|roof|gflops|gbytes",
            help="What comes first: most time, most time above the roof, farthest from it, or the highest rates.",
        ),
    ] = "time",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Run some steps and tell where their time goes, kernel by kernel, and how far that is from this machine's roofs.

    Kernels of one structure from one line of source share a row. The roofs, the
    most that this machine computes and moves, are measured in the same call.
    """
    from tallystick.cli.profile import profile_job

    profile_job(what, steps, top, sort, threads, json)


@app.command("predict", epilog="Example: tally predict runs/gpt examples/gpt.py:predict prompt='class ' length=200")
def predict(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    function: Annotated[
        str, typer.Argument(metavar="FILE.py:FUNCTION", help="Your function: it is called with the trained model.")
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUE", help="More arguments for your function.")
    ] = None,
    job: Annotated[
        str, typer.Option("--job", metavar="NAME", help="The job in the same file whose model was trained.")
    ] = "job",
    json: Json = False,
) -> None:
    """Give the trained model to a function of yours and print what it returns.

    The run folder may come from anybody: only its weights are read. The code is yours.
    """
    from tallystick.cli.predict import call_with_model

    call_with_model(folder, function, arguments or [], job, json)


@dispute_app.command(
    "simulate", epilog="Example: tally dispute simulate examples/digits.py:job --fault weight-ulp --at 137"
)
def dispute_simulate(
    what: Annotated[
        str,
        typer.Argument(metavar="FILE.py:JOB|RUN", help="A job in your file, or a run folder with somebody's program."),
    ],
    fault: Annotated[
        str, typer.Option("--fault", "-f", metavar="KIND", help="What goes wrong: one of tally dispute faults.")
    ] = "weight-ulp",
    at: Annotated[
        int | None,
        typer.Option(
            "--at",
            min=0,
            metavar="STEP",
            help="The step in which it goes wrong. Default: the one in the middle.",
            show_default=False,
        ),
    ] = None,
    role: Annotated[
        str,
        typer.Option(
            "--role",
            metavar="worker|challenger",
            help="Who is wrong: the worker, who claims a false result, or the challenger of a true one.",
        ),
    ] = "worker",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Picks the slot and element that go wrong.")] = 0,
    chain: Annotated[
        str,
        typer.Option(
            "--chain",
            metavar="embedded|none|URL",
            help="Where the referee is: in a chain inside this process, in plain Python, or on a development node.",
        ),
    ] = "embedded",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Let one side of a dispute lie, and watch it lose.

    A worker claims what a job computes (of a run folder: what the segment around
    the step computes) and posts a bond; a challenger disagrees and posts another.
    Move by move the disagreement is narrowed down to one scalar step, which the
    referee contract executes. Exit code 1 would mean that the liar won.
    """
    from tallystick.cli.dispute import simulate_dispute

    simulate_dispute(what, fault, at, role, seed, chain, threads, json)


@dispute_app.command("faults", epilog="Example: tally dispute faults --json")
def dispute_faults(json: Json = False) -> None:
    """List the kinds of faults that a dispute can be simulated with."""
    from tallystick.cli.dispute import list_faults

    list_faults(json)


@key_app.command("show", epilog="Example: tally key show --json")
def key_show(json: Json = False) -> None:
    """Print the address that your receipts are signed with, and where its key lies. Makes the key on first use."""
    from tallystick.cli.key import show_key

    show_key(json)
