"""llvmlite carries no types, and what a checker infers from its source is wrong (results of type None): all Any."""

from typing import Any

def __getattr__(name: str) -> Any: ...
