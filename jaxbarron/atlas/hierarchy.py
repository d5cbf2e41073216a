"""The embeddings as a hierarchy: equivalent spaces in one group, arcs that no others imply.

Embeddings compose at one order p of the weight ``(1 + rho)^p`` (THEORY.md, Theorem Chain), so
groups and implied arcs are taken within one order only: tanh in repu(2) at order 2 and repu(2) in
relu at order 1 do not give tanh in relu at order 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

__all__ = ["Arc", "Hierarchy", "Link", "hierarchy"]


@dataclass(frozen=True)
class Link:
    """A known embedding: source in target at an order, with an upper bound of the constant."""

    source: str
    target: str
    order: int
    upper: float


@dataclass(frozen=True)
class Arc:
    """An arrow between two groups (by index); the link with the least constant stands for it."""

    source: int
    target: int
    link: Link


@dataclass(frozen=True)
class Hierarchy:
    """What is drawn.

    Attributes:
        order: the order of most links; groups are made at it.
        groups: names that embed in each other at that order, directly or through others.
        arcs: at that order those that no others imply, first; then those of other orders, all.
    """

    order: int
    groups: tuple[tuple[str, ...], ...]
    arcs: tuple[Arc, ...]


def hierarchy(names: Sequence[str], links: Sequence[Link]) -> Hierarchy:
    """Groups and arcs of the known embeddings; each name of a link is one of ``names``.

    Example:
        >>> chain = [Link("a", "b", 1, 2.0), Link("b", "c", 1, 2.0), Link("a", "c", 1, 3.0)]
        >>> [(arc.link.source, arc.link.target) for arc in hierarchy("abc", chain).arcs]
        [('a', 'b'), ('b', 'c')]
        >>> hierarchy("abc", [*chain, Link("c", "b", 1, 1.0)]).groups
        (('a',), ('b', 'c'))
    """
    links = [link for link in links if link.source != link.target]
    counts = Counter(link.order for link in links)
    order = min(counts, key=lambda p: (-counts[p], p), default=1)
    place = {name: i for i, name in enumerate(names)}
    labels = _components(len(names), [_ends(x, place) for x in links if x.order == order])
    first = list(dict.fromkeys(labels))  # groups in the order of their first names
    group = {name: first.index(label) for name, label in zip(names, labels, strict=True)}
    groups = tuple(tuple(n for n in names if group[n] == g) for g in range(len(first)))
    best: dict[tuple[int, int, int], Link] = {}
    for link in sorted(links, key=lambda x: (x.upper, place[x.source], place[x.target])):
        ends = group[link.source], group[link.target]
        if ends[0] != ends[1]:
            best.setdefault((*ends, link.order), link)
    kept = _reduced(len(groups), [(a, b) for a, b, p in best if p == order])
    others = sorted(key for key in best if key[2] != order and (key[0], key[1]) not in kept)
    keys = [*((a, b, order) for a, b in sorted(kept)), *others]
    return Hierarchy(order, groups, tuple(Arc(a, b, best[a, b, p]) for a, b, p in keys))


def _ends(link: Link, place: dict[str, int]) -> tuple[int, int]:
    return place[link.source], place[link.target]


def _matrix(count: int, arrows: Sequence[tuple[int, int]]) -> Bool[np.ndarray, "n n"]:
    made = np.zeros((count, count), bool)
    for a, b in arrows:
        made[a, b] = True
    return made


def _components(count: int, arrows: Sequence[tuple[int, int]]) -> list[int]:
    graph = csr_array(_matrix(count, arrows))
    return connected_components(graph, directed=True, connection="strong")[1].tolist()


def _reduced(count: int, arrows: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """The arrows of a graph without cycles that no path of two or more arrows replaces."""
    step = _matrix(count, arrows)
    reach = step
    for _ in range(count.bit_length()):  # each round doubles the length of the paths
        reach = reach | (reach @ reach)
    needed = step & ~(step @ reach)
    return {(int(a), int(b)) for a, b in zip(*np.nonzero(needed), strict=True)}
