"""Where the boxes of a diagram go: in layers along the flow, with few crossings."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Sequence

from torchkeras.models.diagram import Box, Group

Point = tuple[float, float]

RANKDIRS = ("TB", "LR", "BT", "RL")

_BETWEEN = 28.0  # between neighbours of a layer
_CHANNEL = 30.0  # between layers, at least
_LANE = 9.0  # between parallel lines
_MARGIN = 16.0  # within a group's frame
_LABEL = 22.0  # for a group's name
_SWEEPS = 12


@dataclasses.dataclass(frozen=True)
class Frame:
    """A rectangle: its upper left corner, width and height."""

    x: float
    y: float
    width: float
    height: float


@dataclasses.dataclass
class Layout:
    """Where everything is, in points from the upper left corner.

    Attributes:
        boxes: the boxes' frames.
        groups: the frames of the models inside.
        routes: the corners of each line, from where data comes to where it goes.
        loops: likewise, of those that lead back to a shared layer.
        width: of the whole.
        height: of the whole.
    """

    boxes: dict[Box, Frame]
    groups: dict[Group, Frame]
    routes: list[list[Point]]
    loops: list[list[Point]]
    width: float
    height: float


def arrange(group: Group, size_of: Callable[[Box], Point], rankdir: str = "TB") -> Layout:
    """Find places for the boxes of a diagram.

    Boxes stand in layers, each as far from the start as its longest way; an inner group is a box
    of its own there.

    Args:
        group: the diagram.
        size_of: gives a box' width and height.
        rankdir: where data flows to: ``'TB'`` down, ``'LR'`` right, ``'BT'`` up, ``'RL'`` left.
    """
    turned = rankdir in ("LR", "RL")

    def extent(box: Box) -> Point:
        width, height = size_of(box)
        return (height, width) if turned else (width, height)

    block = _Block(group, extent, is_inner=False, label_across=turned)
    whole = (block.along, block.across) if turned else (block.across, block.along)

    def point(at: Point) -> Point:
        x, y = (at[1], at[0]) if turned else at
        return whole[0] - x if rankdir == "RL" else x, whole[1] - y if rankdir == "BT" else y

    def frame(held: Frame) -> Frame:
        corners = [point((held.x, held.y)), point((held.x + held.width, held.y + held.height))]
        (left, right), (top, bottom) = (sorted(ends) for ends in zip(*corners))
        return Frame(left, top, right - left, bottom - top)

    boxes: dict[Box, Frame] = {}
    groups: dict[Group, Frame] = {}
    block.hand_out(0.0, 0.0, boxes, groups)
    lines = [
        [[point(at) for at in route] for route in routes]
        for routes in (block.routes(boxes), block.loops(boxes))
    ]
    return Layout(
        {box: frame(held) for box, held in boxes.items()},
        {inner: frame(held) for inner, held in groups.items()},
        *lines,
        *whole,
    )


@dataclasses.dataclass(eq=False)
class _Item:
    """What stands in a layer: a box, a group, or (with neither) a long line passing through."""

    across: float
    along: float
    thing: Box | _Block | None = None
    center: float = 0.0
    before: list[_Item] = dataclasses.field(default_factory=list)
    behind: list[_Item] = dataclasses.field(default_factory=list)


class _Block:
    """A group with its members placed; `across` is the direction of a layer, `along` the flow's.

    Args:
        group: what is placed.
        extent: gives a box' sizes across and along.
        is_inner: whether it has a frame and a name.
        label_across: whether the name takes space across, not along.
    """

    def __init__(
        self,
        group: Group,
        extent: Callable[[Box], Point],
        is_inner: bool,
        label_across: bool,
    ):
        self.group = group
        self._items = [
            _Item(*extent(member), member)
            if isinstance(member, Box)
            else _item_of(_Block(member, extent, True, label_across))
            for member in group.members
        ]
        owner = {box: item for item in self._items for box in _boxes_in(item.thing)}
        self._forward, self._back = _split(self._items, group.edges, owner)
        self._chains: dict[tuple[Box, Box], list[_Item]] = {}
        self._layers = self._in_layers(owner)
        self._order()
        self._spread()
        label = (_LABEL if label_across else 0.0, 0.0 if label_across else _LABEL)
        margin = _MARGIN if is_inner else _MARGIN / 2
        self._start = (margin + is_inner * label[0], margin + is_inner * label[1])
        self._measure(margin)

    # ------------------------------------------------------------------------------- layers

    def _in_layers(self, owner: dict[Box, _Item]) -> list[list[_Item]]:
        """Put each item as far back as its longest way; long edges get an item in each layer."""
        pairs = dict.fromkeys((owner[a], owner[b]) for a, b in self._forward)
        behind: dict[_Item, list[_Item]] = {item: [] for item in self._items}
        missing = dict.fromkeys(self._items, 0)
        for a, b in pairs:
            behind[a].append(b)
            missing[b] += 1
        rank = dict.fromkeys(self._items, 0)
        waiting = [item for item in self._items if not missing[item]]
        starts = list(waiting)
        for item in waiting:  # grows while it is read
            for other in behind[item]:
                rank[other] = max(rank[other], rank[item] + 1)
                missing[other] -= 1
                if not missing[other]:
                    waiting.append(other)
        for item in starts:  # an input stands just before what takes it
            if behind[item]:
                rank[item] = min(rank[other] for other in behind[item]) - 1
        layers: list[list[_Item]] = [[] for _ in range(max(rank.values()) + 1)]
        for item in self._items:
            layers[rank[item]].append(item)
        passing: dict[tuple[_Item, _Item], list[_Item]] = {}
        for a, b in pairs:
            between = [_Item(2.0, 0.0) for _ in range(rank[a] + 1, rank[b])]
            for layer, item in zip(layers[rank[a] + 1 :], between):
                layer.append(item)
            for first, second in itertools.pairwise([a, *between, b]):
                first.behind.append(second)
                second.before.append(first)
            passing[a, b] = between
        for a, b in self._forward:
            self._chains[a, b] = [owner[a], *passing[owner[a], owner[b]], owner[b]]
        return layers

    def _order(self) -> None:
        """Sort each layer by where the neighbours are; keep the order with the fewest crossings."""
        best, fewest = [list(layer) for layer in self._layers], self._crossings()
        for sweep in range(_SWEEPS):
            if not fewest:
                break
            downward = sweep % 2 == 0
            layers = self._layers if downward else self._layers[::-1]
            for fixed, layer in itertools.pairwise(layers):
                place = {item: index for index, item in enumerate(fixed)}
                own = {item: float(index) for index, item in enumerate(layer)}
                for item in layer:
                    around = item.before if downward else item.behind
                    if around:
                        own[item] = sum(place[one] for one in around) / len(around)
                layer.sort(key=own.__getitem__)
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(layer) for layer in self._layers], crossings
        self._layers = best

    def _crossings(self) -> int:
        count = 0
        for layer, following in itertools.pairwise(self._layers):
            place = {item: index for index, item in enumerate(following)}
            ends = [place[b] for a in layer for b in sorted(a.behind, key=place.__getitem__)]
            seen: list[int] = []
            for end in ends:
                count += len(seen) - bisect.bisect_right(seen, end)
                bisect.insort(seen, end)
        return count

    # ----------------------------------------------------------------------------- coordinates

    def _spread(self) -> None:
        """Move each item to the middle of its neighbours, as far as its layer leaves room."""
        for layer in self._layers:
            _settle(layer, [0.0] * len(layer))
        for sweep in range(2 * _SWEEPS):
            layers = self._layers if sweep % 2 == 0 else self._layers[::-1]
            for layer in layers:
                wanted = []
                for item in layer:
                    around = [*item.before, *item.behind]
                    if sweep < _SWEEPS:
                        around = (item.before if sweep % 2 == 0 else item.behind) or around
                    wanted.append(
                        sum(one.center for one in around) / len(around) if around else item.center
                    )
                _settle(layer, wanted)
        self._place = {
            item: (layer, index) for layer in self._layers for index, item in enumerate(layer)
        }
        for chain in dict.fromkeys(map(tuple, self._chains.values())):
            self._straighten(chain)

    def _straighten(self, chain: Sequence[_Item]) -> None:
        """Let a long line turn as seldom as the items beside it allow."""
        first, *passing, last = chain
        at, run = first.center, []
        lowest, highest = -math.inf, math.inf
        for item in passing:
            low, high = self._room(item)
            if max(lowest, low) > min(highest, high):
                at = min(max(at, lowest), highest)
                for one in run:
                    one.center = at
                run, lowest, highest = [], low, high
            run.append(item)
            lowest, highest = max(lowest, low), min(highest, high)
        # Where the line is already, or where it ends, saves a turn.
        is_in = lowest <= last.center <= highest and not lowest <= at <= highest
        for one in run:
            one.center = last.center if is_in else min(max(at, lowest), highest)

    def _room(self, item: _Item) -> Point:
        """Return the lowest and the highest place of an item between those beside it."""
        layer, index = self._place[item]
        low, high = -math.inf, math.inf
        if index:
            before = layer[index - 1]
            low = before.center + (before.across + item.across + _BETWEEN) / 2
        if index + 1 < len(layer):
            behind = layer[index + 1]
            high = behind.center - (behind.across + item.across + _BETWEEN) / 2
        return low, max(low, high)

    def _measure(self, margin: float) -> None:
        """Find the layers' places along the flow, lanes for lines that turn, and the size."""
        items = [item for layer in self._layers for item in layer]
        left = min(item.center - item.across / 2 for item in items)
        right = max(item.center + item.across / 2 for item in items)
        for item in items:
            item.center += self._start[0] - left
        self._right = self._start[0] + right - left
        lanes = _LANE * (len(self._back) + 1) if self._back else 0.0
        self.across = self._right + lanes + margin
        self._lane: dict[_Item, float] = {}
        self._span: list[Point] = []
        at = self._start[1]
        for index, layer in enumerate(self._layers):
            depth = max(item.along for item in layer)
            self._span.append((at, at + depth))
            at += depth
            if index + 1 < len(self._layers):
                turning = [a for a in layer if any(abs(b.center - a.center) > 1 for b in a.behind)]
                for number, item in enumerate(turning, 1):
                    self._lane[item] = at + _CHANNEL / 3 + _LANE * number
                at += _CHANNEL + _LANE * len(turning)
        self.along = at + margin

    def hand_out(
        self, across: float, along: float, boxes: dict[Box, Frame], groups: dict[Group, Frame]
    ) -> None:
        """Write down where boxes and inner groups are, this block's corner given."""
        self._corner = (across, along)
        for (start, end), layer in zip(self._span, self._layers):
            for item in layer:
                first = across + item.center - item.across / 2
                # Each in the middle of its layer.
                second = along + (start + end - item.along) / 2
                held = Frame(first, second, item.across, item.along)
                if isinstance(item.thing, Box):
                    boxes[item.thing] = held
                elif item.thing is not None:
                    groups[item.thing.group] = held
                    item.thing.hand_out(first, second, boxes, groups)

    # ------------------------------------------------------------------------------------ lines

    def routes(self, boxes: dict[Box, Frame]) -> list[list[Point]]:
        """Return the lines of this block and of those inside, with right angles."""
        found = [route for item in self._blocks() for route in item.routes(boxes)]
        across, along = self._corner
        for (a, b), chain in self._chains.items():
            source, target = boxes[a], boxes[b]
            start = (source.x + source.width / 2, source.y + source.height)
            end = (target.x + target.width / 2, target.y)
            route = [start]
            for item, following in itertools.pairwise(chain):
                goal = end[0] if following is chain[-1] else across + following.center
                lane = self._lane.get(item)
                if abs(goal - route[-1][0]) > 0.5:
                    if lane is None:  # from within an inner group that stands above its goal
                        lane = self._span[self._layer_of(item)][1] + _CHANNEL / 3
                    route += [(route[-1][0], along + lane), (goal, along + lane)]
            found.append([*route, end])
        return found

    def loops(self, boxes: dict[Box, Frame]) -> list[list[Point]]:
        """Return the lines that lead back, each beside this block's layers or those inside."""
        found = [loop for item in self._blocks() for loop in item.loops(boxes)]
        for number, (a, b) in enumerate(self._back, 1):
            source, target = boxes[a], boxes[b]
            lane = self._corner[0] + self._right + _LANE * number
            low = source.y + source.height * 0.7
            high = target.y + target.height * 0.3
            start, end = source.x + source.width, target.x + target.width
            found.append([(start, low), (lane, low), (lane, high), (end, high)])
        return found

    def _blocks(self) -> list[_Block]:
        return [item.thing for item in self._items if isinstance(item.thing, _Block)]

    def _layer_of(self, item: _Item) -> int:
        return next(index for index, layer in enumerate(self._layers) if item in layer)


def _item_of(block: _Block) -> _Item:
    return _Item(block.across, block.along, block)


def _boxes_in(thing: Box | _Block | None) -> Iterable[Box]:
    """Yield the boxes in a member of a group."""
    if isinstance(thing, Box):
        yield thing
    elif thing is not None:
        for item in thing._items:
            yield from _boxes_in(item.thing)


def _split(
    items: Sequence[_Item], edges: Iterable[tuple[Box, Box]], owner: dict[Box, _Item]
) -> tuple[list[tuple[Box, Box]], list[tuple[Box, Box]]]:
    """Part the edges that follow the flow from those that lead back to a shared layer."""
    edges = list(edges)
    behind: dict[_Item, list[_Item]] = {item: [] for item in items}
    for a, b in edges:
        behind[owner[a]].append(owner[b])
    back: set[tuple[_Item, _Item]] = set()
    done: set[_Item] = set()
    for root in items:
        if root in done:
            continue
        path = {root}
        pending = [(root, iter(behind[root]))]
        while pending:
            item, following = pending[-1]
            for other in following:
                if other in path:
                    back.add((item, other))
                elif other not in done:
                    path.add(other)
                    pending.append((other, iter(behind[other])))
                    break
            else:
                pending.pop()
                path.discard(item)
                done.add(item)
    leads_back = [(owner[a], owner[b]) in back for a, b in edges]
    forward = [edge for edge, is_back in zip(edges, leads_back) if not is_back]
    return forward, [edge for edge, is_back in zip(edges, leads_back) if is_back]


def _settle(layer: Sequence[_Item], wanted: Sequence[float]) -> None:
    """Put a layer's items near the places wanted, in order and apart.

    Pushed to the right where the one before is in the way, and likewise to the left; the middle of
    both.
    """
    gaps = [(a.across + b.across) / 2 + _BETWEEN for a, b in itertools.pairwise(layer)]
    to_right, to_left = list(wanted), list(wanted)
    for index, gap in enumerate(gaps):
        to_right[index + 1] = max(to_right[index + 1], to_right[index] + gap)
    for index in reversed(range(len(gaps))):
        to_left[index] = min(to_left[index], to_left[index + 1] - gaps[index])
    for item, a, b in zip(layer, to_right, to_left):
        item.center = (a + b) / 2
