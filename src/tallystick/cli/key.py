"""``tally key``: the key that signs receipts."""

from __future__ import annotations

from tallystick.cli.screen import Screen


def show_key(as_json: bool) -> None:
    """Print the address and where its key lies; never the key."""
    with Screen(as_json) as screen:
        from tallystick.job.signing import signing_key

        key = signing_key()
        screen.show({"address": key.address, "path": str(key.path)}, key.address, f"the key lies in {key.path}")
