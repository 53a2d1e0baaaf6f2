"""A driver that keeps time: the ordinary one with a look at the processor's clock after every command.

Every thread has a row of a table in memory: for each command the clock's ticks that went into it, then the time of the
last look. All of a thread's time from its first step on falls to some command, waiting included, so that rows add up to
how long the run took. Runs that are not profiled use the driver without any of this.
"""

from __future__ import annotations

from string import Template

from tallystick.engine.driver import Runtime, driver_text
from tallystick.engine.target import Target

_NOW = {
    "x86": "llvm.readcyclecounter",  # the time stamp counter, which runs at one speed
    "arm": "llvm.readsteadycounter",  # the cycle counter may not be read by user programs there
}

_CLOCK = """
define internal ptr @ticks_of(ptr %runtime, i64 %me, i64 %count) #0 {
  %table.at = getelementptr i8, ptr %runtime, i64 $TICKS
  %table = load ptr, ptr %table.at
  %more = add i64 %count, 8
  %pitch = and i64 %more, -8
  %first = mul i64 %me, %pitch
  %mine = getelementptr i64, ptr %table, i64 %first
  ret ptr %mine
}

define internal void @tick(ptr %mine, i64 %count, i64 %c) #0 {
  %last.at = getelementptr i64, ptr %mine, i64 %count
  %last = load i64, ptr %last.at
  %now = call i64 @$NOW()
  store i64 %now, ptr %last.at
  %spent = sub i64 %now, %last
  %sum.at = getelementptr i64, ptr %mine, i64 %c
  %sum = load i64, ptr %sum.at
  %sum.next = add i64 %sum, %spent
  store i64 %sum.next, ptr %sum.at
  ret void
}
"""
_ON_START = """
  %ticks = call ptr @ticks_of(ptr %runtime, i64 %me, i64 %count)
  %ticks.last = getelementptr i64, ptr %ticks, i64 %count
  %ticks.now = call i64 @$NOW()
  store i64 %ticks.now, ptr %ticks.last
"""
_ON_COMMAND = "  call void @tick(ptr %ticks, i64 %count, i64 %c)"


def ticks_pitch(commands: int) -> int:
    """Words of a thread's row: commands and the last look, in whole cache lines."""
    return (commands + 8) & -8


def clocked_driver_text(target: Target) -> str:
    """The driver with a clock as LLVM IR: a module of its own."""
    machine = "arm" if target.isa == "neon" else "x86"
    words = {"NOW": _NOW[machine], "TICKS": Runtime.TICKS.value}
    driver = driver_text(target, Template(_ON_START).substitute(words), _ON_COMMAND)
    return f"declare i64 @{_NOW[machine]}()\n" + driver + Template(_CLOCK).substitute(words)
