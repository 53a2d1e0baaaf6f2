"""Programs as machine code: same bits on every machine, at native speed."""

from tallystick.engine.engine import Engine
from tallystick.engine.session import Session
from tallystick.engine.target import Target

__all__ = ["Engine", "Session", "Target"]
