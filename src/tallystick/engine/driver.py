"""The loop over steps and kernels that each thread runs in one native call.

All threads walk the same list of commands once per step. Commands are rows of ten 64-bit words, so that the list is
data, not code:

    kind  function  operands of even steps  operands of odd steps  grain or skip  tasks or total  shared  claims  done
    kernel + 1 (0: none), which only a profile reads

``CALL``      call the function for all its tasks
``CHAIN``     claim the commands up to the next CHAIN_END; if another thread has them, skip so many commands
``CHAIN_END`` they are done
``TOGETHER``  share the tasks: claim a grain of them at a time, from one's own share first, then from others'
``EPOCH``     wait until everything claimable since the last one is done (``total`` claims)
``DECIDE``    end the run after this step if asked to

Threads never wait for each other, only for work: a thread that the operating system has put aside holds up nobody
unless it was in the middle of something, and when it comes back it finds the epochs it missed done. How work falls to
threads changes no result. Counters carry the number of the step they count for, so they need no resetting, and a
thread that comes late to one can tell that its step is over.

Even and odd steps count from the session's start: a state slot that cannot be updated in place alternates between two
buffers. A request to stop (Ctrl-C) takes effect between steps, for all threads at the same one.

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
COMMAND_WORDS = 10


class Command(IntEnum):
    """Kinds of commands."""

    CALL = 0
    CHAIN = 1
    CHAIN_END = 2
    TOGETHER = 3
    EPOCH = 4
    DECIDE = 5


class Runtime(IntEnum):
    """Byte offsets into the block that threads share."""

    STOP = 0  # i32: end after the current step
    HALT = 64  # i64: the step, counted from the session's start, that all threads end after
    YIELD = 128  # pointer to the operating system's yield
    THREADS = 136
    TICKS = 144  # pointer to the table that a driver with a clock keeps (see `clock`)
    SIZE = 192


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
; The number of a claim among ``limit`` for a step, or -1 if all are taken or the step is over.
define internal i64 @claim(ptr %counter, i64 %tag, i64 %limit) #0 {
entry:
  br label %again
again:
  %old = load atomic i64, ptr %counter acquire, align 8
  %old.tag = lshr i64 %old, 32
  %mine = icmp eq i64 %old.tag, %tag
  br i1 %mine, label %known, label %other
known:
  %taken = and i64 %old, 4294967295
  br label %check
other:
  %over = icmp ugt i64 %old.tag, %tag
  br i1 %over, label %none, label %check
check:
  %number = phi i64 [ %taken, %known ], [ 0, %other ]
  %left = icmp ult i64 %number, %limit
  br i1 %left, label %take, label %none
take:
  %high = shl i64 %tag, 32
  %next = add i64 %number, 1
  %new = or i64 %high, %next
  %pair = cmpxchg ptr %counter, i64 %old, i64 %new acq_rel acquire
  %swapped = extractvalue { i64, i1 } %pair, 1
  br i1 %swapped, label %got, label %again
got:
  ret i64 %number
none:
  ret i64 -1
}

; One more claim is done.
define internal void @count_done(ptr %counter, i64 %tag) #0 {
entry:
  %ignored = call i64 @claim(ptr %counter, i64 %tag, i64 4294967295)
  ret void
}

; Until ``total`` claims are done.
define internal void @await(ptr %counter, i64 %tag, i64 %total, ptr %runtime) #0 {
entry:
  %high = shl i64 %tag, 32
  %wanted = or i64 %high, %total
  br label %again
again:
  %turn = phi i64 [ 0, %entry ], [ %turn.next, %rest ], [ %turn.next, %yield ]
  %now = load atomic i64, ptr %counter acquire, align 8
  %reached = icmp uge i64 %now, %wanted
  br i1 %reached, label %done, label %wait
wait:
  %turn.next = add i64 %turn, 1
  %patient = icmp ult i64 %turn, $SPINS
  br i1 %patient, label %rest, label %yield
rest:
  call void @pause()
  br label %again
yield:
  %yield.at = getelementptr i8, ptr %runtime, i64 $YIELD
  %yield.function = load ptr, ptr %yield.at
  %ignored = call i32 %yield.function()
  br label %again
done:
  ret void
}

define internal void @together(ptr %function, ptr %operands, i64 %grain, i64 %tasks, ptr %shared, ptr %claims,
                               ptr %done, i64 %threads, i64 %me, i64 %tag, i32 %step, ptr %scratch) #0 {
entry:
  br label %share.loop
share.loop:
  %visited = phi i64 [ 0, %entry ], [ %visited.next, %share.end ]
  %more = icmp ult i64 %visited, %threads
  br i1 %more, label %share, label %finish
share:
  %around = add i64 %me, %visited
  %owner = urem i64 %around, %threads
  %owner.next = add i64 %owner, 1
  %scaled = mul i64 %tasks, %owner
  %begin = udiv i64 %scaled, %threads
  %scaled.next = mul i64 %tasks, %owner.next
  %end = udiv i64 %scaled.next, %threads
  %size = sub i64 %end, %begin
  %rounded = add i64 %size, %grain
  %rounded.down = sub i64 %rounded, 1
  %grains = udiv i64 %rounded.down, %grain
  %offset = shl i64 %owner, 6
  %counter = getelementptr i8, ptr %claims, i64 %offset
  br label %next
next:
  %number = call i64 @claim(ptr %counter, i64 %tag, i64 %grains)
  %none = icmp slt i64 %number, 0
  br i1 %none, label %share.end, label %work
work:
  %first = mul i64 %number, %grain
  %lo = add i64 %begin, %first
  %beyond = add i64 %lo, %grain
  %over = icmp ugt i64 %beyond, %end
  %hi = select i1 %over, i64 %end, i64 %beyond
  call void %function(ptr %operands, i64 %lo, i64 %hi, i32 %step, ptr %shared, ptr %scratch)
  call void @count_done(ptr %done, i64 %tag)
  br label %next
share.end:
  %visited.next = add i64 %visited, 1
  br label %share.loop
finish:
  ret void
}

; How many steps were done: all of them, or fewer if asked to stop. ``before`` counts the session's earlier steps.
define i64 @run_steps(ptr %commands, i64 %count, i64 %first.step, i64 %steps, i64 %before, ptr %runtime, ptr %scratch,
                      i64 %me) #0 {
entry:
  %environment = call i64 @environment(i64 $ENVIRONMENT)
  %threads.at = getelementptr i8, ptr %runtime, i64 $THREADS
  %threads = load i64, ptr %threads.at
  %stop.at = getelementptr i8, ptr %runtime, i64 $STOP
  %halt.at = getelementptr i8, ptr %runtime, i64 $HALT
$ON_START
  br label %step.loop
step.loop:
  %done = phi i64 [ 0, %entry ], [ %done.next, %step.end ]
  %more.steps = icmp ult i64 %done, %steps
  br i1 %more.steps, label %step.start, label %finish
step.start:
  %number = add i64 %first.step, %done
  %step = trunc i64 %number to i32
  %sequence = add i64 %before, %done
  %parity = and i64 %sequence, 1
  %tag = add i64 %sequence, 1
  %which = add i64 %parity, 2
  br label %command.loop
command.loop:
  %c = phi i64 [ 0, %step.start ], [ %c.next, %command.end ]
  %more = icmp ult i64 %c, %count
  br i1 %more, label %command, label %step.end
command:
  %words = getelementptr [$WORDS x i64], ptr %commands, i64 %c
  %kind = load i64, ptr %words
  %function.at = getelementptr i64, ptr %words, i64 1
  %function = load ptr, ptr %function.at
  %operands.at = getelementptr i64, ptr %words, i64 %which
  %operands = load ptr, ptr %operands.at
  %grain.at = getelementptr i64, ptr %words, i64 4
  %grain = load i64, ptr %grain.at
  %tasks.at = getelementptr i64, ptr %words, i64 5
  %tasks = load i64, ptr %tasks.at
  %shared.at = getelementptr i64, ptr %words, i64 6
  %shared = load ptr, ptr %shared.at
  %claims.at = getelementptr i64, ptr %words, i64 7
  %claims = load ptr, ptr %claims.at
  %counter.at = getelementptr i64, ptr %words, i64 8
  %counter = load ptr, ptr %counter.at
  switch i64 %kind, label %command.end [ i64 0, label %call
                                         i64 1, label %chain
                                         i64 2, label %chain.end
                                         i64 3, label %shared.work
                                         i64 4, label %epoch
                                         i64 5, label %decide ]
call:
  call void %function(ptr %operands, i64 0, i64 %tasks, i32 %step, ptr %shared, ptr %scratch)
  br label %command.end
chain:
  %claimed = call i64 @claim(ptr %claims, i64 %tag, i64 1)
  %missed = icmp slt i64 %claimed, 0
  %jump = select i1 %missed, i64 %grain, i64 0
  br label %command.end
chain.end:
  call void @count_done(ptr %counter, i64 %tag)
  br label %command.end
shared.work:
  call void @together(ptr %function, ptr %operands, i64 %grain, i64 %tasks, ptr %shared, ptr %claims, ptr %counter,
                      i64 %threads, i64 %me, i64 %tag, i32 %step, ptr %scratch)
  br label %command.end
epoch:
  call void @await(ptr %counter, i64 %tag, i64 %tasks, ptr %runtime)
  br label %command.end
decide:
  %stop = load atomic i32, ptr %stop.at monotonic, align 4
  %asked = icmp ne i32 %stop, 0
  br i1 %asked, label %halt, label %command.end
halt:
  store atomic i64 %tag, ptr %halt.at monotonic, align 8
  br label %command.end
command.end:
  %skip = phi i64 [ 0, %command ], [ 0, %call ], [ %jump, %chain ], [ 0, %chain.end ], [ 0, %shared.work ],
                  [ 0, %epoch ], [ 0, %decide ], [ 0, %halt ]
$ON_COMMAND
  %c.one = add i64 %c, 1
  %c.next = add i64 %c.one, %skip
  br label %command.loop
step.end:
  %done.next = add i64 %done, 1
  %halt.tag = load atomic i64, ptr %halt.at monotonic, align 8
  %halted = icmp eq i64 %halt.tag, %tag
  br i1 %halted, label %finish, label %step.loop
finish:
  %total = phi i64 [ %done, %step.loop ], [ %done.next, %step.end ]
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


def driver_text(target: Target, on_start: str = "", on_command: str = "") -> str:
    """The driver as LLVM IR, to be appended to a module.

    ``on_start`` and ``on_command`` are lines that a thread runs before its first step and after each command.
    """
    machine = "arm" if target.isa == "neon" else "x86"
    words: dict[str, int | str] = {field.name: field.value for field in Runtime}
    words |= {
        "ON_START": on_start,
        "ON_COMMAND": on_command,
        "SPINS": SPINS,
        "COPY_CHUNK": COPY_CHUNK,
        "WORDS": COMMAND_WORDS,
        "ENVIRONMENT": _DEFAULT_ENVIRONMENT[machine],
    }
    return Template(_ENVIRONMENT[machine] + _DRIVER).substitute(words)
