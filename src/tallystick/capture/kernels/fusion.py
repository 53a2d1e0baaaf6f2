"""Choosing kernels: which nodes share one, and which are written out in their readers.

Fusing never changes a bit of any stored tensor: it decides where a value is computed, not how. The moves, in order:

1. A map with one reader, whose every element is used at most once there, is written out in it.
2. A map of what another kernel makes, at the same points, joins that kernel (a fold's epilogue, a map's outputs).
3. A map is written out in all its readers where recomputing is cheaper than memory traffic.
4. Kernels over the same points that read the same tensors become one.

Every move is checked by building the kernel, so limits of the representation are kept, and a move that would make two
kernels need each other is not made. Ties are broken by node numbers: the result is the same in every run.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable
from itertools import count
from math import prod

from tallystick.capture.kernels.cluster import Cluster
from tallystick.capture.kernels.inlining import NotFusable
from tallystick.capture.kernels.plan import Plan
from tallystick.capture.tensors.graph import Map

SMALL = 4096  # points of a kernel that costs little but its start
NEAR = 4  # small kernels on either side that one is tried with
SHARED = 2  # points per shared element, up to which kernels are worth merging for what they share


def fuse(plan: Plan) -> None:
    """Make moves until none helps."""
    dissolve_single_readers(plan)
    merge_best(plan, can_follow)
    dissolve_where_cheaper(plan)
    merge_best(plan, can_follow)
    merge_best(plan, can_join)
    dissolve_where_cheaper(plan)


def dissolve_single_readers(plan: Plan) -> None:
    """Move 1, from the last node to the first, so that chains collapse into their ends."""
    for number in sorted(plan.owner, reverse=True):
        home = plan.owner.get(number)
        if home is None or number in plan.forced or not isinstance(plan.graph.nodes[number].kind, Map):
            continue
        readers = plan.readers.get(number, set())
        if len(readers) == 1:
            reader = plan.clusters[next(iter(readers))]
            if not reader.is_contraction and reader.points <= plan.graph.nodes[number].elements:
                plan.dissolve(number)


def dissolve_where_cheaper(plan: Plan) -> None:
    """Move 3, until no map is left that it helps."""
    changed = True
    while changed:
        changed = False
        for number in sorted(plan.owner):
            home = plan.owner.get(number)
            if home is None or number in plan.forced or number not in home.outputs:
                continue
            if isinstance(plan.graph.nodes[number].kind, Map) and plan.readers.get(number):
                changed |= plan.dissolve(number)


def can_follow(plan: Plan, a: Cluster, b: Cluster) -> bool:
    """Whether b could run at the end of a's kernel: a map that reads what a makes."""
    return b.is_map and a.scatter is None and not a.is_scan and not b.loads.isdisjoint(a.members)


def can_join(plan: Plan, a: Cluster, b: Cluster) -> bool:
    """Whether a and b could run side by side: both maps, or folds over the same points in the same order."""
    if a.number > b.number:
        return False  # one order of a pair is enough
    if a.is_map and b.is_map:
        return shares_traffic(plan, a, b)
    if not a.specs or not b.specs or a.is_contraction or b.is_contraction or a.is_scan or b.is_scan:
        return False
    same_order = (a.specs[0].lanes, a.specs[0].block) == (b.specs[0].lanes, b.specs[0].block)
    return same_order and prod(a.reduce_extents) == prod(b.reduce_extents) and shares_traffic(plan, a, b)


def shares_traffic(plan: Plan, a: Cluster, b: Cluster) -> bool:
    """Whether two kernels load much in common, or are both small.

    Otherwise a merge would only keep more tensors alive for longer.
    """
    shared = sum(plan.graph.nodes[number].elements for number in a.loads & b.loads)
    return max(a.points, b.points) <= max(SMALL, SHARED * shared)


Rule = Callable[[Plan, Cluster, Cluster], bool]


def merge_best(plan: Plan, rule: Rule) -> None:
    """Merge pairs of clusters that a rule allows, the one that saves most first."""
    queue: list[tuple[float, int, Cluster, Cluster, Cluster]] = []
    order = count()
    plan.refresh()

    def consider(a: Cluster, b: Cluster) -> None:
        if a.out_points != b.out_points or not rule(plan, a, b) or plan.makes_circle(a, b):
            return
        try:
            merged = plan.merged(a, b)
        except NotFusable:
            return
        saving = a.cost + b.cost - merged.cost
        if saving > 0:
            heapq.heappush(queue, (-saving, next(order), a, b, merged))

    for number in sorted(plan.clusters):
        for other in neighbours(plan, plan.clusters[number]):
            if other.number > number:
                consider(plan.clusters[number], other)
                consider(other, plan.clusters[number])
    while queue:
        _, _, a, b, merged = heapq.heappop(queue)
        if plan.clusters.get(a.number) is not a or plan.clusters.get(b.number) is not b:
            continue
        if merged.outputs != plan.wanted_outputs(merged.members, [a.number, b.number]) or plan.makes_circle(a, b):
            consider(a, b)
            continue
        plan.commit(a, b, merged)
        for other in neighbours(plan, merged):
            consider(merged, other)
            consider(other, merged)


def neighbours(plan: Plan, cluster: Cluster) -> list[Cluster]:
    """Clusters that make what this one loads, load what it makes, or load what it loads; and small ones near by."""
    found = set(plan.dependencies(cluster))
    for number in (*cluster.loads, *cluster.outputs):
        found |= plan.readers.get(number, set())
    if cluster.points <= SMALL:
        found |= set(near(plan, cluster))
    found.discard(cluster.number)
    return [plan.clusters[number] for number in sorted(found)]


def near(plan: Plan, cluster: Cluster) -> list[int]:
    """The next few clusters of the same kind with as many points."""
    numbers = plan.alike(cluster)
    at = bisect_left(numbers, cluster.number)
    return numbers[max(at - NEAR, 0) : at + NEAR + 1]
