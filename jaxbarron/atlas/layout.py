"""Where boxes and arrows of the hierarchy stand: columns by longest path, few crossings.

The method is that of Sugiyama, Tagawa and Toda (1981): columns, stand-ins where an arrow passes a
column, an order within each column by the mean place of the neighbours, then heights.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import isotonic_regression

from jaxbarron.atlas.hierarchy import Arc, Hierarchy

__all__ = ["Box", "Curve", "Drawing", "draw"]

_CHARACTER, _LINE, _PADDING = 7.4, 20.0, 7.0  # of the 12 px monospaced names
_GAP, _COLUMN_GAP, _MARGIN, _LANE = 10.0, 84.0, 12.0, 5.0
_SWEEPS, _SETTLING = 16, 40


@dataclass(frozen=True)
class Box:
    """A group: its upper left corner, its size, and the baseline of each name."""

    x: float
    y: float
    width: float
    height: float
    names: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class Curve:
    """An arc and its path, in SVG's notation."""

    arc: Arc
    path: str


@dataclass(frozen=True)
class Drawing:
    """Boxes in the order of the hierarchy's groups, curves in that of its arcs.

    Attributes:
        reading_order: the names, column by column: sources come before what they embed in.
    """

    width: float
    height: float
    boxes: tuple[Box, ...]
    curves: tuple[Curve, ...]
    reading_order: tuple[str, ...]


def draw(made: Hierarchy) -> Drawing:
    """Lay out a hierarchy from left to right.

    Example:
        >>> from jaxbarron.atlas.hierarchy import Link, hierarchy
        >>> drawing = draw(hierarchy(["b", "a"], [Link("a", "b", 1, 2.0)]))
        >>> drawing.reading_order, drawing.boxes[1].x < drawing.boxes[0].x
        (('a', 'b'), True)
    """
    joined = {g for arc in made.arcs for g in (arc.source, arc.target)}
    column, forward = _columns(len(made.groups), made.arcs)
    sizes = [_size(names) for names in made.groups]
    columns: list[list[int]] = [[] for _ in range(max(column, default=0) + 1)]
    for g in sorted(joined):
        columns[column[g]].append(g)
    heights = [h for _, h in sizes]
    lanes: dict[int, list[int]] = {}
    segments: list[tuple[int, int]] = []
    for index in forward:
        arc = made.arcs[index]
        chain = [arc.source]
        for c in range(column[arc.source] + 1, column[arc.target]):
            chain.append(len(heights))
            columns[c].append(len(heights))
            heights.append(_LANE)
        lanes[index] = chain[1:]
        segments.extend(zip(chain, [*chain[1:], arc.target], strict=True))
    columns = _ordered(columns, segments)
    middle = _settled(columns, segments, np.array(heights))
    widths = [max((sizes[g][0] for g in c if g < len(sizes)), default=0.0) for c in columns]
    left = np.cumsum([_MARGIN, *(w + _COLUMN_GAP for w in widths)])

    boxes: dict[int, Box] = {}
    for c, members in enumerate(columns):
        for g in members:
            if g < len(sizes):
                x = left[c] + (widths[c] - sizes[g][0]) / 2
                boxes[g] = _box(made.groups[g], x, middle[g] - sizes[g][1] / 2)
    width = float(left[-1]) - _COLUMN_GAP + _MARGIN if joined else 720.0
    bottom = max((m + h / 2 for m, h in zip(middle, heights, strict=True)), default=0.0)
    alone = [g for g in range(len(made.groups)) if g not in joined]
    bottom = _rows_below(made, alone, boxes, width, bottom + _MARGIN if joined else _MARGIN)

    curves: list[Curve] = []
    for index, arc in enumerate(made.arcs):
        start, end = boxes[arc.source], boxes[arc.target]
        points = [(start.x + start.width, start.y + start.height / 2)]
        for lane in lanes.get(index, ()):
            c = column[arc.source] + (len(points) + 1) // 2
            points += [(left[c], middle[lane]), (left[c] + widths[c], middle[lane])]
        points.append((end.x - 1, end.y + end.height / 2))
        curves.append(Curve(arc, _path(points)))
    drawn = [g for members in columns for g in members if g < len(sizes)]
    reading = tuple(name for g in [*drawn, *alone] for name in made.groups[g])
    ordered = tuple(boxes[g] for g in range(len(made.groups)))
    return Drawing(round(width, 1), round(bottom + _MARGIN, 1), ordered, tuple(curves), reading)


def _columns(count: int, arcs: Sequence[Arc]) -> tuple[list[int], list[int]]:
    """The column of each group, and the indices of the arcs that run to the right.

    Arcs of different orders may close a cycle; one that would is left out of the count.
    """
    reach = np.eye(count, dtype=bool)
    forward: list[int] = []
    for index, arc in enumerate(arcs):
        if not reach[arc.target, arc.source]:
            forward.append(index)
            reach |= np.outer(reach[:, arc.source], reach[arc.target])
    depth = [0] * count
    for _ in range(count):
        for index in forward:
            arc = arcs[index]
            depth[arc.source] = max(depth[arc.source], depth[arc.target] + 1)
    last = max(depth, default=0)
    return [last - d for d in depth], forward


def _ordered(columns: list[list[int]], segments: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The columns, each in the order of its neighbours' mean places; the fewest crossings seen."""
    before: dict[int, list[int]] = {}
    after: dict[int, list[int]] = {}
    for a, b in segments:
        after.setdefault(a, []).append(b)
        before.setdefault(b, []).append(a)
    now = best = [list(c) for c in columns]
    fewest = _crossings(now, segments)
    for sweep in range(_SWEEPS):
        now = [list(c) for c in now]
        near = after if sweep % 2 else before
        for c in range(len(now))[:: -1 if sweep % 2 else 1]:
            place = {node: i for members in now for i, node in enumerate(members)}
            mean = {n: np.mean([place[m] for m in near.get(n, [n])]) for n in now[c]}
            now[c].sort(key=mean.__getitem__)
        crossings = _crossings(now, segments)
        if crossings < fewest:
            best, fewest = now, crossings
    return best


def _crossings(columns: Sequence[Sequence[int]], segments: Sequence[tuple[int, int]]) -> int:
    place = {node: i for members in columns for i, node in enumerate(members)}
    column = {node: c for c, members in enumerate(columns) for node in members}
    total = 0
    for c in range(len(columns)):
        ends = np.array([(place[a], place[b]) for a, b in segments if column[a] == c]).reshape(
            -1, 2
        )
        start, end = ends.T
        total += int(np.sum(np.subtract.outer(start, start) * np.subtract.outer(end, end) < 0)) // 2
    return total


def _settled(
    columns: Sequence[Sequence[int]],
    segments: Sequence[tuple[int, int]],
    heights: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    """The middle of each node, as near to its neighbours' mean as order and sizes allow.

    Given what its neighbours ask for, a column is a monotone regression of its nodes' middles less
    the room that those above them take.
    """
    middle = np.zeros(len(heights))
    near: dict[int, list[int]] = {}
    for a, b in segments:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    for sweep in range(_SETTLING):
        for members in columns[:: -1 if sweep % 2 else 1]:
            if not members:
                continue
            own = heights[list(members)]
            room = np.concatenate([[0.0], np.cumsum((own[:-1] + own[1:]) / 2 + _GAP)])
            wish = np.array([np.mean(middle[near.get(n, [n])]) for n in members])
            middle[list(members)] = isotonic_regression(wish - room).x + room
    placed = [n for members in columns for n in members]
    if placed:
        middle += _MARGIN - np.min((middle - heights / 2)[placed])
    return middle


def _rows_below(
    made: Hierarchy, alone: Sequence[int], boxes: dict[int, Box], width: float, top: float
) -> float:
    """Put the groups without an arc in rows under the rest; the lowest edge."""
    x, bottom = _MARGIN, top - _MARGIN
    for g in alone:
        w, h = _size(made.groups[g])
        if x > _MARGIN and x + w + _MARGIN > width:
            x, top = _MARGIN, bottom + _GAP
        boxes[g] = _box(made.groups[g], x, top)
        x, bottom = x + w + _GAP, max(bottom, top + h)
    return bottom


def _size(names: Sequence[str]) -> tuple[float, float]:
    return max(map(len, names)) * _CHARACTER + 2 * _PADDING, len(names) * _LINE + _PADDING


def _box(names: Sequence[str], x: float, y: float) -> Box:
    width, height = _size(names)
    x, y = round(float(x), 1), round(float(y), 1)
    baselines = (round(y + _LINE * (i + 0.87), 1) for i in range(len(names)))
    lines = ((name, round(x + _PADDING, 1), b) for name, b in zip(names, baselines, strict=True))
    return Box(x, y, round(width, 1), height, tuple(lines))


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Curves that leave and arrive level between the columns, straight lines within them."""
    steps = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for i, ((a, b), (c, d)) in enumerate(itertools.pairwise(points)):
        bend = (a + c) / 2
        curved = f"C{bend:.1f} {b:.1f} {bend:.1f} {d:.1f} {c:.1f} {d:.1f}"
        steps.append(f"H{c:.1f}" if i % 2 else curved)
    return "".join(steps)
