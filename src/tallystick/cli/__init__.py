"""The ``tally`` command: thin commands over the job layer."""

from __future__ import annotations


def main() -> None:
    """Entry point of the ``tally`` script."""
    from tallystick.cli.app import app

    app()
