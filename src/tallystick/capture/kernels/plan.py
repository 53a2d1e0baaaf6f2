"""Which nodes become which kernels: clusters, what each of them stores and loads, and moves that change that."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from tallystick.capture.kernels.ancestry import Ancestry
from tallystick.capture.kernels.cluster import Cluster
from tallystick.capture.kernels.cost import evaluation_cost
from tallystick.capture.kernels.evaluation import Evaluation, evaluate_fold, evaluate_map, evaluate_scatter
from tallystick.capture.kernels.inlining import NotFusable
from tallystick.capture.kernels.kernel_builder import check_evaluation
from tallystick.capture.tensors.axes import Axes
from tallystick.capture.tensors.broadcast import refine
from tallystick.capture.tensors.graph import Fold, Map, Node, Scatter, TensorGraph
from tallystick.errors import CaptureError
from tallystick.spec import limits


@dataclass(slots=True)
class Plan:
    """All clusters of a graph. ``inlined`` nodes belong to none: they are written out where they are read.

    ``cheap`` are those that were inlined from the start.
    """

    graph: TensorGraph
    forced: dict[int, tuple[int, ...] | None]  # nodes that must be stored, with the shape if one is asked for
    cheap: frozenset[int]
    inlined: set[int]
    clusters: dict[int, Cluster] = field(default_factory=dict)
    owner: dict[int, Cluster] = field(default_factory=dict)
    readers: dict[int, set[int]] = field(default_factory=dict)  # numbers of the clusters that load a node
    _before: dict[int, set[int]] = field(default_factory=dict)  # clusters whose results a cluster loads
    _ancestors: Ancestry | None = None
    _touched: set[int] = field(default_factory=set)  # clusters whose nodes lost or gained a reader
    _queue: list[int] = field(default_factory=list)  # their numbers, negative: a heap whose first is the last cluster
    _alike: dict[tuple[int, bool], list[int]] = field(default_factory=dict)  # clusters by points and kind, in order
    _evaluated: dict[object, list[tuple[frozenset[int], Evaluation]]] = field(default_factory=dict)
    _costs: dict[int, tuple[Evaluation, float]] = field(default_factory=dict)  # by the evaluation's identity

    # MAKING CLUSTERS
    def add(self, nodes: Sequence[Node]) -> None:
        """One cluster for every node that is computed and not inlined; one for all results of a reduction.

        Raises: CaptureError for a node that is beyond the limits even alone.
        """
        linear: set[int] = set()
        evaluated = self._evaluated_alone(nodes, linear)
        while evaluated is None:
            evaluated = self._evaluated_alone(nodes, linear)
        for cluster, _ in evaluated:
            self._enlist(cluster)
            for number in cluster.members:
                self.owner[number] = cluster
        for cluster, evaluation in evaluated:
            self._commit_evaluation(cluster, evaluation)
        self._settle_later(self.clusters)
        self.settle()

    def _evaluated_alone(self, nodes: Sequence[Node], linear: set[int]) -> list[tuple[Cluster, Evaluation]] | None:
        """Every cluster of one node with its code; None if one was too large and has been relieved."""
        evaluated: list[tuple[Cluster, Evaluation]] = []
        for cluster in self._alone(nodes):
            cluster.linear = cluster.number in linear
            if cluster.linear:
                cluster.out_extents = (prod(cluster.out_extents),)
                cluster.reduce_extents = (prod(cluster.reduce_extents),) if cluster.specs else ()
            try:
                evaluated.append((cluster, self.evaluate(cluster, cluster.outputs, self.inlined)))
            except NotFusable as problem:
                self._relieve(cluster, linear, problem)
                return None
        return evaluated

    def fits_alone(self, node: Node) -> bool:
        """Whether a kernel of this node alone is within the limits and can have the shape that is asked for."""
        (cluster,) = self._alone([node])
        try:
            self.evaluate(cluster, cluster.outputs, self.inlined)
        except NotFusable:
            return False
        return True

    def _alone(self, nodes: Sequence[Node]) -> list[Cluster]:
        by_spec: dict[int, list[int]] = {}
        found: list[Cluster] = []
        for node in nodes:
            match node.kind:
                case Map() if node.number not in self.inlined:
                    found.append(Cluster(node.number, frozenset([node.number]), node.extents))
                case Scatter():
                    found.append(Cluster(node.number, frozenset([node.number]), node.kind.extents, scatter=node.number))
                case Fold(spec, _):
                    by_spec.setdefault(id(spec), []).append(node.number)
        for numbers in by_spec.values():
            kind = self.graph.nodes[numbers[0]].kind
            assert isinstance(kind, Fold), "grouped by reduction"
            spec = kind.spec
            found.append(Cluster(numbers[0], frozenset(numbers), spec.out_extents, spec.reduce_extents, specs=(spec,)))
        for cluster in found:
            cluster.outputs = tuple(sorted(cluster.members))
            cluster.shape = self._shape(cluster.members)
        return sorted(found, key=lambda cluster: cluster.number)

    def _relieve(self, cluster: Cluster, linear: set[int], problem: NotFusable) -> None:
        """Make a kernel smaller that is too large alone: store what is inlined in it, then count on one axis."""
        nodes = [self.graph.nodes[number] for number in cluster.members]
        inlined = {read.node for node in nodes for read in self.graph.reads(node)} & self.inlined
        if inlined:
            self.inlined -= inlined
        elif cluster.scatter is None and cluster.number not in linear:
            linear.add(cluster.number)
        else:
            where = " | ".join(nodes[0].sources) or "an unknown line"
            raise CaptureError(f"{where}\n  is too large for one kernel ({problem}); write it as several steps")

    def _shape(self, members: Collection[int]) -> tuple[int, ...] | None:
        shapes = {self.forced[number] for number in sorted(members) if self.forced.get(number) is not None}
        if len(shapes) > 1:
            raise NotFusable("outputs of different shapes are asked for")
        return shapes.pop() if shapes else None

    # EVALUATING
    def evaluate(self, cluster: Cluster, outputs: Sequence[int], inlined: Collection[int]) -> Evaluation:
        """The code of a cluster that stores these outputs. Raises: NotFusable past a limit.

        The same question is asked again and again while moves are tried: what was found once is kept, with the answers
        to whether nodes are inlined that it rests on.
        """
        specs = tuple(map(id, cluster.specs))
        extents = (cluster.out_extents, cluster.reduce_extents, cluster.linear, cluster.shape)
        found = self._evaluated.setdefault((cluster.members, cluster.scatter, specs, extents, tuple(outputs)), [])
        for written_out, evaluation in found:
            if all((number in inlined) == (number in written_out) for number in evaluation.met):
                return evaluation
        evaluation = self._evaluate(cluster, outputs, inlined)
        found.append((evaluation.met.intersection(inlined), evaluation))
        return evaluation

    def _evaluate(self, cluster: Cluster, outputs: Sequence[int], inlined: Collection[int]) -> Evaluation:
        graph = self.graph
        if len(outputs) > limits.OUTPUTS:
            raise NotFusable("too many outputs")
        nodes = [graph.nodes[number] for number in outputs]
        if cluster.scatter is not None:
            evaluation = evaluate_scatter(graph, graph.nodes[cluster.scatter], inlined)
        elif cluster.specs:
            evaluation = evaluate_fold(
                graph,
                cluster.specs,
                nodes,
                cluster.members,
                cluster.out_extents,
                cluster.reduce_extents,
                inlined,
                cluster.linear,
            )
        else:
            evaluation = evaluate_map(graph, nodes, cluster.members, cluster.out_extents, inlined, cluster.linear)
        check_evaluation(graph, evaluation, cluster.shape, cluster.linear)
        return evaluation

    def cost_of(self, evaluation: Evaluation, outputs: Sequence[int]) -> float:
        """What the kernel costs; ``outputs`` are those that the evaluation stores."""
        if id(evaluation) not in self._costs:
            stored = sum(self.graph.nodes[number].elements * self.graph.nodes[number].dtype.size for number in outputs)
            self._costs[id(evaluation)] = evaluation, evaluation_cost(self.graph, evaluation, stored)
        return self._costs[id(evaluation)][1]

    def wanted_outputs(self, members: Collection[int], without: Collection[int] = ()) -> tuple[int, ...]:
        """Members that must be in memory, if the clusters numbered ``without`` do not count as readers."""
        ignored = set(without)
        return tuple(n for n in sorted(members) if n in self.forced or self.readers.get(n, set()) - ignored)

    def _commit_evaluation(self, cluster: Cluster, evaluation: Evaluation) -> None:
        before = cluster.evaluation.loads if cluster.evaluation is not None else frozenset()
        for number in before - evaluation.loads:
            self.readers[number].discard(cluster.number)
        for number in evaluation.loads - before:
            self.readers.setdefault(number, set()).add(cluster.number)
        self._touch(before ^ evaluation.loads)
        cluster.evaluation = evaluation
        cluster.cost = self.cost_of(evaluation, cluster.outputs)
        self._connect(cluster)

    def _touch(self, nodes: Iterable[int]) -> None:
        self._settle_later(self.owner[number].number for number in nodes if number in self.owner)

    def _settle_later(self, clusters: Iterable[int]) -> None:
        for number in clusters:
            if number not in self._touched:
                self._touched.add(number)
                heapq.heappush(self._queue, -number)

    def settle(self) -> None:
        """Let every cluster store exactly what others need, and drop clusters that nobody needs."""
        while self._queue:
            number = -heapq.heappop(self._queue)
            self._touched.discard(number)
            cluster = self.clusters.get(number)
            if cluster is None:
                continue
            outputs = self.wanted_outputs(cluster.members, [number])
            if not outputs:
                self._remove(cluster)
            elif outputs != cluster.outputs:
                cluster.outputs = outputs
                self._commit_evaluation(cluster, self.evaluate(cluster, outputs, self.inlined))

    def _remove(self, cluster: Cluster) -> None:
        for number in cluster.loads:
            self.readers[number].discard(cluster.number)
        self._touch(cluster.loads)
        for number in cluster.members:
            if self.owner.get(number) is cluster:
                del self.owner[number]
        del self.clusters[cluster.number]
        alike = self._alike[cluster.out_points, cluster.is_map]
        del alike[bisect_left(alike, cluster.number)]
        self._before.pop(cluster.number, None)

    def _enlist(self, cluster: Cluster) -> None:
        self.clusters[cluster.number] = cluster
        insort(self._alike.setdefault((cluster.out_points, cluster.is_map), []), cluster.number)

    def alike(self, cluster: Cluster) -> list[int]:
        """Numbers of all clusters of the same kind with as many output points, in order."""
        return self._alike[cluster.out_points, cluster.is_map]

    # DEPENDENCIES
    def _connect(self, cluster: Cluster) -> None:
        found = {self.owner[n].number for n in cluster.loads if n in self.owner}
        found.discard(cluster.number)
        self._before[cluster.number] = found

    def dependencies(self, cluster: Cluster) -> set[int]:
        """Numbers of the clusters whose results a cluster loads."""
        return self._before[cluster.number]

    def ancestors(self) -> Ancestry:
        """Which clusters come before which."""
        if self._ancestors is None:
            self._ancestors = Ancestry((cluster.number, self.dependencies(cluster)) for cluster in self.ordered())
        return self._ancestors

    def refresh(self) -> None:
        """Forget ancestors that are none any more."""
        self._ancestors = None

    def ordered(self) -> list[Cluster]:
        """All clusters, each after those it depends on, otherwise in the order of their numbers."""
        waiting = {number: len(self._before[number]) for number in self.clusters}
        followers: dict[int, list[int]] = {}
        for number in self.clusters:
            for other in self._before[number]:
                followers.setdefault(other, []).append(number)
        ready = [number for number, count in waiting.items() if not count]
        heapq.heapify(ready)
        result: list[Cluster] = []
        while ready:
            number = heapq.heappop(ready)
            result.append(self.clusters[number])
            for follower in followers.get(number, ()):
                waiting[follower] -= 1
                if not waiting[follower]:
                    heapq.heappush(ready, follower)
        assert len(result) == len(self.clusters), "clusters depend on each other in a circle"
        return result

    def makes_circle(self, a: Cluster, b: Cluster) -> bool:
        """Whether one of two clusters needs the other through a third."""
        ancestors = self.ancestors()
        for one, other in ((a, b), (b, a)):
            for number in self.dependencies(one):
                if number != other.number and ancestors.comes_before(other.number, number):
                    return True
        return False

    # MOVES
    def merged(self, a: Cluster, b: Cluster) -> Cluster:
        """What a and b would be as one cluster, evaluated. Raises: NotFusable."""
        outputs = self.wanted_outputs(a.members | b.members, [a.number, b.number])
        if len(outputs) > limits.OUTPUTS:
            raise NotFusable("too many outputs")
        out = common_axes(a.out_extents, b.out_extents)
        reduce = a.reduce_extents or b.reduce_extents
        if a.reduce_extents and b.reduce_extents:
            reduce = common_axes(a.reduce_extents, b.reduce_extents)
        members = a.members | b.members
        cluster = Cluster(min(a.number, b.number), members, out, reduce, specs=a.specs + b.specs)
        cluster.shape = self._shape(members)
        cluster.outputs = outputs
        cluster.evaluation = self.evaluate(cluster, cluster.outputs, self.inlined)
        cluster.cost = self.cost_of(cluster.evaluation, cluster.outputs)
        return cluster

    def commit(self, a: Cluster, b: Cluster, merged: Cluster) -> None:
        """Commit a merge."""
        evaluation = merged.evaluation
        assert evaluation is not None, "a merged cluster is evaluated"
        self.ancestors().merge(a.number, b.number, merged.number)
        self._remove(a)
        self._remove(b)
        merged.evaluation = None
        self._enlist(merged)
        for number in merged.members:
            self.owner[number] = merged
        self._commit_evaluation(merged, evaluation)
        for number in merged.members:
            for reader in self.readers.get(number, ()):
                self._connect(self.clusters[reader])
        self._settle_later([merged.number])
        self.settle()

    def dissolve(self, number: int, margin: float = 0.0) -> bool:
        """Write a map out in all its readers instead of storing it, if that is cheaper by more than a margin."""
        home = self.owner[number]
        inlined = self.inlined | {number}
        try:
            trial = self._dissolved(number, home, inlined)
        except NotFusable:
            return False
        before = sum(self.clusters[n].cost for n in trial) + (0 if home.number in trial else home.cost)
        after = sum(cost for _, _, cost in trial.values())
        if after >= before - margin:
            return False
        self.inlined.add(number)
        home.members = home.members - {number}
        del self.owner[number]
        for n, (outputs, evaluation, _) in trial.items():
            self.clusters[n].outputs = outputs
            self._commit_evaluation(self.clusters[n], evaluation)
        if not home.members or home.number not in trial:
            self._remove(home)
        self.settle()
        return True

    def _dissolved(
        self, number: int, home: Cluster, inlined: set[int]
    ) -> dict[int, tuple[tuple[int, ...], Evaluation, float]]:
        """New outputs, code and cost of every cluster that dissolving a node changes."""
        trial: dict[int, tuple[tuple[int, ...], Evaluation, float]] = {}
        fresh: set[int] = set()
        for reader in sorted(self.readers.get(number, ())):
            cluster = self.clusters[reader]
            evaluation = self.evaluate(cluster, cluster.outputs, inlined)
            fresh |= evaluation.loads
            trial[reader] = (cluster.outputs, evaluation, self.cost_of(evaluation, cluster.outputs))
        # What the readers now need must be stored; the node itself need not be.
        changed = {home.number} | {self.owner[n].number for n in fresh if n in self.owner}
        for owner in sorted(changed):
            cluster = self.clusters[owner]
            wanted = {n for n in fresh if n in cluster.members} | set(cluster.outputs)
            outputs = tuple(n for n in sorted(wanted) if n != number)
            if outputs == (trial[owner][0] if owner in trial else cluster.outputs) or not outputs:
                continue
            rest = replace(cluster, members=cluster.members - {number})
            evaluation = self.evaluate(rest, outputs, inlined)
            trial[owner] = (outputs, evaluation, self.cost_of(evaluation, outputs))
        return trial


def common_axes(a: Axes, b: Axes) -> Axes:
    """The loop axes of two nests over the same points in row-major order."""
    axes = refine(a, b) if prod(a) == prod(b) else None
    if axes is None:
        raise NotFusable("the points differ")
    return axes
