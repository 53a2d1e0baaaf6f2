"""``python -m tallystick.cli``: the ``tally`` command where its script is not on the path."""

from tallystick.cli import main

main()
