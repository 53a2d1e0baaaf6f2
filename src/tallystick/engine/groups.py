"""Finding kernels to run together, entry by entry, so that what they hand each other never has to exist as a whole.

Attention makes scores, weights and their gradients for every head of every example: a number for every pair of
positions. Its kernels all have the heads and examples on their leading axes, and none of them looks across. A thread
that takes one head through all of them needs room for one head only, in memory of its own, which stays in its cache
if it is small enough. What a group may be is decided from addresses alone; nothing here knows of attention.
"""

from __future__ import annotations

from math import prod

from tallystick.engine.contraction import match
from tallystick.engine.dataflow import Dataflow, Group
from tallystick.engine.entries import EntryKernel, Extents, FinerEntries, NotSeparable, entry_kernel
from tallystick.engine.nest import make_nest
from tallystick.spec.instructions import Op
from tallystick.spec.programs import Program

MINIMUM_BYTES = 1 << 20  # of a value that is worth it
MINIMUM_ENTRY_BYTES = 1 << 12  # of it in one entry: less work is not worth a call
REACHES = (16, 8, 4)  # kernels ahead where readers are looked for: the first that leads to a group
SHARED_ELEMENTS = 1 << 10  # that all entries of a contraction read alike: more is worth packing once for all
ENOUGH_USES = 8  # of an element in one entry, so that packing it for every entry does not matter
BALANCE = 0.75  # of all threads that must be busy on average


def find_groups(program: Program, threads: int) -> tuple[Group, ...]:
    """The groups that pay for so many threads."""
    alone = Dataflow(program)
    found: list[Group] = []
    taken: set[int] = set()
    for number, kernel in enumerate(program.kernels):
        large = any(_is_large(alone, value) for value in alone.outputs[number])
        if number in taken or not large or len(kernel.out_shape) < 3 or kernel.fold is None:
            continue
        for reach in REACHES:
            group = _Growth(alone, frozenset(taken), number, reach).group(kernel.out_shape[:-2])
            if group is not None and _pays(alone, group, threads) and _has_order(program, (*found, group)):
                found.append(group)
                taken.update(group.kernels)
                break
    return tuple(found)


def _is_large(flow: Dataflow, value: int) -> bool:
    return flow.types[value].nbytes >= MINIMUM_BYTES and value not in flow.program.next_state


def _pays(flow: Dataflow, group: Group, threads: int) -> bool:
    """Whether threads are kept busy, and what need not exist as a whole is large."""
    entries = prod(group.extents)
    rounds = -(-entries // threads)
    largest = max((flow.types[value].nbytes for value in group.inner), default=0)
    return (
        entries >= BALANCE * threads * rounds
        and entries > 1
        and largest >= MINIMUM_BYTES
        and largest >= MINIMUM_ENTRY_BYTES * entries
    )


def _has_order(program: Program, groups: tuple[Group, ...]) -> bool:
    """Whether the kernels can still run one after the other."""
    members = sum(len(group.kernels) - 1 for group in groups)
    return len(Dataflow(program, groups).order) == len(program.kernels) - members


def prepares_anew(entry: EntryKernel, extents: Extents) -> bool:
    """Whether a contraction of one entry would have to pack much that it now packs for several entries at once.

    That is all right for an operand of some entries, such as keys that several heads share, if it is used often enough
    in one of them; not for what all entries share, such as weights.
    """
    kernel = entry.kernel
    if match(make_nest(kernel, entry.slots)) is None:
        return False
    own = kernel.out_shape + kernel.reduce_shape
    for instruction in kernel.body.instructions:
        if instruction.op is Op.LOAD:
            strides, between = kernel.loads[instruction.imm].address.strides, entry.strides[instruction.imm]
            touched = prod(extent for extent, stride in zip(own, strides, strict=True) if stride)
            sharing = prod(extent for extent, stride in zip(extents, between, strict=True) if not stride)
            for_all = sharing == prod(extents) and touched > SHARED_ELEMENTS
            if for_all or (sharing > 1 and prod(own) < ENOUGH_USES * touched):
                return True
    return False


class _Growth:
    """A group grown from the kernel that makes a large value, over those that read large values of the group."""

    def __init__(self, flow: Dataflow, taken: frozenset[int], first: int, reach: int) -> None:
        self.flow, self.taken, self.first, self.reach = flow, taken, first, reach

    def group(self, extents: Extents) -> Group | None:
        """The group with entries on these axes, or on a finer cut of them; None if there is none."""
        while True:
            try:
                return self._grown(extents)
            except FinerEntries as finer:
                extents = finer.extents
            except NotSeparable:
                return None

    def _grown(self, extents: Extents) -> Group | None:
        members = {self.first}
        self._require(members, self.first, extents)
        pending = [self.first]
        while pending:
            for value in self.flow.outputs[pending.pop()]:
                if not _is_large(self.flow, value):
                    continue
                for reader in self.flow.readers.get(value, []):
                    if reader not in members and self._may_join(members, reader, extents):
                        members.add(reader)
                        pending.append(reader)
        for member in members:
            self._require(members, member, extents)
        return self._described(extents, sorted(members))

    def _may_join(self, members: set[int], reader: int, extents: Extents) -> bool:
        if reader in self.taken or reader > self.first + self.reach:
            return False
        try:
            self._require(members, reader, extents)
        except NotSeparable:
            return False
        return True

    def _require(self, members: set[int], kernel: int, extents: Extents) -> None:
        """Raises: NotSeparable, FinerEntries."""
        made = {value for member in members for value in self.flow.outputs[member]}
        entry = entry_kernel(self.flow.program.kernels[kernel], extents, self.flow.types, made)
        if prepares_anew(entry, extents):
            raise NotSeparable

    def _described(self, extents: Extents, kernels: list[int]) -> Group:
        flow, members = self.flow, set(kernels)
        made = [value for kernel in kernels for value in flow.outputs[kernel]]
        kept = set(flow.program.next_state)
        inner = [v for v in made if v not in kept and members.issuperset(flow.readers.get(v, []))]
        read = sorted({value for kernel in kernels for value in flow.reads[kernel]} - set(made))
        outside = [*read, *(value for value in made if value not in inner)]
        return Group(extents, tuple(kernels), tuple(inner), tuple(outside))
