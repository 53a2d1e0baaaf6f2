"""The loop over steps and kernels that each thread runs in one native call.

A thread walks its own list of commands once per step. Commands are rows of eight 64-bit words, so that the list is
data, not code:

    kind  function  operands of even steps  operands of odd steps  first or grain  tasks  shared  counters

``BARRIER``  wait until all threads are here
``ALONE``    call the function for tasks first to tasks - 1; only this thread has the command
``TOGETHER`` every thread has the command and starts with its own share of the tasks, ``grain`` at a time; one that is
             done takes from the shares of others. How tasks fall to threads changes no result.

Even and odd steps count from the session's start: a state slot that cannot be updated in place alternates between two
buffers. ``counters`` points to one 64-byte line per thread for even steps, then as many for odd ones; thread 0 clears
those of the next step while nobody uses them.

Threads meet in a sense-reversing barrier that spins briefly and then yields, so that more threads than cores still
make progress. At the end of every step thread 0 decides for all whether to go on: a request to stop (Ctrl-C) takes
effect between steps, with every thread at the same one.

The floating-point environment is set on entry (nearest even, subnormals kept, no traps) and restored on return.
"""

from __future__ import annotations

from enum import IntEnum
from string import Template

from tallystick.engine.target import Target

RUN_STEPS = "run_steps"
COPY = "copy_bytes"
COPY_CHUNK = 1 << 16  # bytes of one task of copying

LINE = 64
COMMAND_WORDS = 8


class Command(IntEnum):
    """Kinds of commands."""

    BARRIER = 0
    ALONE = 1
    TOGETHER = 2


class Runtime(IntEnum):
    """Byte offsets into the block that threads share."""

    ARRIVED = 0
    GENERATION = 128
    STOP = 256
    GO = 384  # two i32: even and odd turns
    YIELD = 512  # pointer to the operating system's yield
    THREADS = 520
    COUNTERS = 528  # pointer to all counters
    COUNTER_SETS = 536  # how many commands share tasks
    SIZE = 640


_ENVIRONMENT = {
    "x86": """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
declare void @llvm.x86.sse2.pause()

define internal i64 @environment(i64 %new) #0 {
  %place = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %place)
  %old = load i32, ptr %place
  %word = trunc i64 %new to i32
  store i32 %word, ptr %place
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  %wide = zext i32 %old to i64
  ret i64 %wide
}

define internal void @pause() #0 {
  call void @llvm.x86.sse2.pause()
  ret void
}
""",
    "arm": """
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
declare void @llvm.aarch64.hint(i32)

define internal i64 @environment(i64 %new) #0 {
  %old = call i64 @llvm.aarch64.get.fpcr()
  call void @llvm.aarch64.set.fpcr(i64 %new)
  ret i64 %old
}

define internal void @pause() #0 {
  call void @llvm.aarch64.hint(i32 1)
  ret void
}
""",
}
_DEFAULT_ENVIRONMENT = {"x86": 0x1F80, "arm": 0}

_DRIVER = """
define internal void @barrier(ptr %runtime) #0 {
entry:
  %threads.at = getelementptr i8, ptr %runtime, i64 $THREADS
  %threads = load i32, ptr %threads.at
  %generation.at = getelementptr i8, ptr %runtime, i64 $GENERATION
  %generation = load atomic i32, ptr %generation.at acquire, align 4
  %arrived.at = getelementptr i8, ptr %runtime, i64 $ARRIVED
  %before = atomicrmw add ptr %arrived.at, i32 1 acq_rel
  %here = add i32 %before, 1
  %last = icmp eq i32 %here, %threads
  br i1 %last, label %release, label %spin
release:
  store atomic i32 0, ptr %arrived.at monotonic, align 4
  %next = add i32 %generation, 1
  store atomic i32 %next, ptr %generation.at release, align 4
  ret void
spin:
  %turn = phi i32 [ 0, %entry ], [ %turn.next, %again ]
  %now = load atomic i32, ptr %generation.at acquire, align 4
  %passed = icmp ne i32 %now, %generation
  br i1 %passed, label %done, label %wait
wait:
  %turn.next = add i32 %turn, 1
  %patient = icmp ult i32 %turn, $SPINS
  br i1 %patient, label %rest, label %yield
rest:
  call void @pause()
  br label %again
yield:
  %yield.at = getelementptr i8, ptr %runtime, i64 $YIELD
  %yield.function = load ptr, ptr %yield.at
  %ignored = call i32 %yield.function()
  br label %again
again:
  br label %spin
done:
  ret void
}

define internal void @clear_counters(ptr %runtime, i64 %parity) #0 {
entry:
  %threads.at = getelementptr i8, ptr %runtime, i64 $THREADS
  %threads.short = load i32, ptr %threads.at
  %threads = zext i32 %threads.short to i64
  %sets.at = getelementptr i8, ptr %runtime, i64 $COUNTER_SETS
  %sets = load i64, ptr %sets.at
  %counters.at = getelementptr i8, ptr %runtime, i64 $COUNTERS
  %counters = load ptr, ptr %counters.at
  br label %set.loop
set.loop:
  %set = phi i64 [ 0, %entry ], [ %set.next, %set.end ]
  %more = icmp ult i64 %set, %sets
  br i1 %more, label %set.body, label %done
set.body:
  %twice = shl i64 %set, 1
  %half = add i64 %twice, %parity
  %first = mul i64 %half, %threads
  br label %line.loop
line.loop:
  %thread = phi i64 [ 0, %set.body ], [ %thread.next, %line.body ]
  %more.lines = icmp ult i64 %thread, %threads
  br i1 %more.lines, label %line.body, label %set.end
line.body:
  %line = add i64 %first, %thread
  %offset = shl i64 %line, 6
  %counter = getelementptr i8, ptr %counters, i64 %offset
  store atomic i64 0, ptr %counter monotonic, align 8
  %thread.next = add i64 %thread, 1
  br label %line.loop
set.end:
  %set.next = add i64 %set, 1
  br label %set.loop
done:
  ret void
}

define internal void @together(ptr %function, ptr %operands, i64 %grain, i64 %tasks, ptr %shared, ptr %counters,
                               i64 %threads, i64 %me, i32 %step, ptr %scratch) #0 {
entry:
  br label %share.loop
share.loop:
  %visited = phi i64 [ 0, %entry ], [ %visited.next, %share.end ]
  %more = icmp ult i64 %visited, %threads
  br i1 %more, label %share, label %done
share:
  %around = add i64 %me, %visited
  %owner = urem i64 %around, %threads
  %owner.next = add i64 %owner, 1
  %scaled = mul i64 %tasks, %owner
  %begin = udiv i64 %scaled, %threads
  %scaled.next = mul i64 %tasks, %owner.next
  %end = udiv i64 %scaled.next, %threads
  %size = sub i64 %end, %begin
  %offset = shl i64 %owner, 6
  %counter = getelementptr i8, ptr %counters, i64 %offset
  br label %claim
claim:
  %taken = load atomic i64, ptr %counter monotonic, align 8
  %empty = icmp uge i64 %taken, %size
  br i1 %empty, label %share.end, label %take
take:
  %first = atomicrmw add ptr %counter, i64 %grain monotonic
  %late = icmp uge i64 %first, %size
  br i1 %late, label %share.end, label %work
work:
  %beyond = add i64 %first, %grain
  %over = icmp ugt i64 %beyond, %size
  %stop = select i1 %over, i64 %size, i64 %beyond
  %lo = add i64 %begin, %first
  %hi = add i64 %begin, %stop
  call void %function(ptr %operands, i64 %lo, i64 %hi, i32 %step, ptr %shared, ptr %scratch)
  br label %claim
share.end:
  %visited.next = add i64 %visited, 1
  br label %share.loop
done:
  ret void
}

; How many steps were done: all of them, or fewer if asked to stop.
define i64 @run_steps(ptr %commands, i64 %count, i64 %first.step, i64 %steps, i64 %first.parity, ptr %runtime,
                      ptr %scratch, i64 %me) #0 {
entry:
  %environment = call i64 @environment(i64 $ENVIRONMENT)
  %threads.at = getelementptr i8, ptr %runtime, i64 $THREADS
  %threads.short = load i32, ptr %threads.at
  %threads = zext i32 %threads.short to i64
  %several = icmp ugt i64 %threads, 1
  %leader = icmp eq i64 %me, 0
  %stop.at = getelementptr i8, ptr %runtime, i64 $STOP
  br label %step.loop
step.loop:
  %done = phi i64 [ 0, %entry ], [ %done.next, %step.again ]
  %more.steps = icmp ult i64 %done, %steps
  br i1 %more.steps, label %step.start, label %finish
step.start:
  %number = add i64 %first.step, %done
  %step = trunc i64 %number to i32
  %parity.sum = add i64 %first.parity, %done
  %parity = and i64 %parity.sum, 1
  %other = xor i64 %parity, 1
  br i1 %leader, label %clear, label %command.loop
clear:
  call void @clear_counters(ptr %runtime, i64 %other)
  br label %command.loop
command.loop:
  %c = phi i64 [ 0, %step.start ], [ 0, %clear ], [ %c.next, %command.end ]
  %more = icmp ult i64 %c, %count
  br i1 %more, label %command, label %step.end
command:
  %words = getelementptr [8 x i64], ptr %commands, i64 %c
  %kind = load i64, ptr %words
  %function.at = getelementptr i64, ptr %words, i64 1
  %function = load ptr, ptr %function.at
  %which = add i64 %parity, 2
  %operands.at = getelementptr i64, ptr %words, i64 %which
  %operands = load ptr, ptr %operands.at
  %lo.at = getelementptr i64, ptr %words, i64 4
  %lo = load i64, ptr %lo.at
  %hi.at = getelementptr i64, ptr %words, i64 5
  %hi = load i64, ptr %hi.at
  %shared.at = getelementptr i64, ptr %words, i64 6
  %shared = load ptr, ptr %shared.at
  %counters.at = getelementptr i64, ptr %words, i64 7
  %counters.even = load ptr, ptr %counters.at
  switch i64 %kind, label %command.end [ i64 0, label %wait
                                         i64 1, label %alone
                                         i64 2, label %shared.work ]
wait:
  call void @barrier(ptr %runtime)
  br label %command.end
alone:
  call void %function(ptr %operands, i64 %lo, i64 %hi, i32 %step, ptr %shared, ptr %scratch)
  br label %command.end
shared.work:
  %lines = mul i64 %parity, %threads
  %skip = shl i64 %lines, 6
  %counters = getelementptr i8, ptr %counters.even, i64 %skip
  call void @together(ptr %function, ptr %operands, i64 %lo, i64 %hi, ptr %shared, ptr %counters,
                      i64 %threads, i64 %me, i32 %step, ptr %scratch)
  br label %command.end
command.end:
  %c.next = add i64 %c, 1
  br label %command.loop
step.end:
  %done.next = add i64 %done, 1
  %turn = and i64 %done, 1
  %go.offset = shl i64 %turn, 2
  %go.base = getelementptr i8, ptr %runtime, i64 $GO
  %go.at = getelementptr i8, ptr %go.base, i64 %go.offset
  br i1 %leader, label %decide, label %meet
decide:
  %stop = load atomic i32, ptr %stop.at monotonic, align 4
  store atomic i32 %stop, ptr %go.at monotonic, align 4
  br label %meet
meet:
  br i1 %several, label %meet.others, label %obey
meet.others:
  call void @barrier(ptr %runtime)
  br label %obey
obey:
  %halt.word = load atomic i32, ptr %go.at monotonic, align 4
  %halt = icmp ne i32 %halt.word, 0
  br i1 %halt, label %finish, label %step.again
step.again:
  br label %step.loop
finish:
  %total = phi i64 [ %done, %step.loop ], [ %done.next, %obey ]
  %ignored = call i64 @environment(i64 %environment)
  ret i64 %total
}

; A phase that copies bytes. Operands: source, target, and in place of a third pointer the number of bytes.
define void @copy_bytes(ptr %operands, i64 %lo, i64 %hi, i32 %step, ptr %shared, ptr %scratch) #0 {
entry:
  %source = load ptr, ptr %operands
  %target.at = getelementptr ptr, ptr %operands, i64 1
  %target = load ptr, ptr %target.at
  %bytes.at = getelementptr ptr, ptr %operands, i64 2
  %bytes = load i64, ptr %bytes.at
  %start = mul i64 %lo, $COPY_CHUNK
  %wanted = mul i64 %hi, $COPY_CHUNK
  %over = icmp ugt i64 %wanted, %bytes
  %end = select i1 %over, i64 %bytes, i64 %wanted
  br label %wide.loop
wide.loop:
  %at = phi i64 [ %start, %entry ], [ %at.next, %wide ]
  %at.next = add i64 %at, 64
  %fits = icmp ule i64 %at.next, %end
  br i1 %fits, label %wide, label %byte.loop
wide:
  %from = getelementptr i8, ptr %source, i64 %at
  %line = load <16 x i32>, ptr %from, align 1
  %to = getelementptr i8, ptr %target, i64 %at
  store <16 x i32> %line, ptr %to, align 1
  br label %wide.loop
byte.loop:
  %one = phi i64 [ %at, %wide.loop ], [ %one.next, %byte ]
  %left = icmp ult i64 %one, %end
  br i1 %left, label %byte, label %done
byte:
  %from.one = getelementptr i8, ptr %source, i64 %one
  %value = load i8, ptr %from.one
  %to.one = getelementptr i8, ptr %target, i64 %one
  store i8 %value, ptr %to.one
  %one.next = add i64 %one, 1
  br label %byte.loop
done:
  ret void
}

attributes #0 = { nounwind "no-builtins" }
"""

SPINS = 2000  # pauses, some tens of microseconds, before a waiting thread gives its core to another


def driver_text(target: Target) -> str:
    """The driver as LLVM IR, to be appended to a module."""
    machine = "arm" if target.isa == "neon" else "x86"
    numbers: dict[str, int] = {field.name: field.value for field in Runtime}
    numbers |= {"SPINS": SPINS, "COPY_CHUNK": COPY_CHUNK, "ENVIRONMENT": _DEFAULT_ENVIRONMENT[machine]}
    return Template(_ENVIRONMENT[machine] + _DRIVER).substitute(numbers)
