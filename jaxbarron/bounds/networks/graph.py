"""A network as affine maps, elementwise functions and products: what bounds are propagated on.

:func:`network_of` reads a jaxpr in which each activation site is marked by :func:`mark_site`; the
original network and the one with replaced activations are then one graph, which differ in what
stands at the sites.  Real arithmetic: conversions between floating dtypes are the identity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.extend.core as jex
import numpy as np

from jaxbarron.bounds.networks.cells import Cells, Pair
from jaxbarron.bounds.networks.maps import LinearMap
from jaxbarron.bounds.replacements import Replacement
from jaxbarron.programs import Operation, Program, Register

__all__ = [
    "Affine",
    "Constant",
    "Elementwise",
    "Input",
    "Network",
    "Node",
    "Product",
    "Site",
    "floor_of",
    "mark_site",
    "with_kernels",
]


@dataclass(frozen=True, eq=False)
class Site:
    """A place where an activation is applied: its path, and what stands there before and after."""

    path: str
    pair: Pair


@dataclass(frozen=True, eq=False)
class Input:
    """The network's input, flat."""

    size: int


@dataclass(frozen=True, eq=False)
class Constant:
    """Numbers that are known up to ``radius``."""

    size: int
    centre: Any
    radius: Any


@dataclass(frozen=True, eq=False)
class Affine:
    """``bias + sum_k L_k v_k`` with the bias known up to ``bias_radius``."""

    size: int
    terms: tuple[tuple[int, LinearMap], ...]
    bias: Any
    bias_radius: Any


@dataclass(frozen=True, eq=False)
class Elementwise:
    """A scalar function of each number; ``site`` is None where it is no activation site.

    Below ``floor`` the function and its derivative are less than 1e-300 in modulus.
    """

    size: int
    source: int
    cells: Cells
    site: int | None
    name: str
    floor: float = -math.inf


@dataclass(frozen=True, eq=False)
class Product:
    """The products of two arrays, elementwise."""

    size: int
    left: int
    right: int


Node = Input | Constant | Affine | Elementwise | Product


@dataclass(frozen=True, eq=False)
class Network:
    """Nodes in the order of the computation; node 0 is the input.

    Attributes:
        nodes: each refers to earlier ones.
        outputs: for each output of the function its node and shape; None where an output is
            beyond a primitive without a rule.
        sites: the activation sites; a site may stand at several nodes (a loop).
        ends_at: the first primitive without a rule that an output needs, with the reason; None if
            there is none.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[tuple[int, tuple[int, ...]] | None, ...]
    sites: tuple[Site, ...]
    ends_at: str | None


# Below, exp and its derivative are less than 1e-300, which every table allows for: the large
# negative numbers that masks put in.
_VANISHES = -800.0


def floor_of(program: Program) -> float:
    """Where a function and its derivative have vanished below: known of exp alone."""
    simple = program == Program((Operation("exp", (Register(0),)),), Register(1))
    return _VANISHES if simple else -math.inf


_site = jex.Primitive("jaxbarron_site")


def mark_site(z: Any, *, index: int) -> Any:
    """Stands for the activation of site ``index`` while a function is traced; has no value."""
    return _site.bind(z, index=index)


@_site.def_abstract_eval
def _same_array(z: Any, *, index: int) -> Any:
    del index
    return z


def is_site(eqn: Any) -> bool:
    """Whether an equation of a jaxpr is a marked site."""
    return eqn.primitive is _site


def with_kernels(network: Network, kernels: Mapping[str, Replacement | None]) -> Network:
    """The same network with other replacements at its sites, by their paths."""
    sites = [
        Site(site.path, Pair(site.pair.source, kernels.get(site.path))) for site in network.sites
    ]
    cells = [Cells(site.pair) for site in sites]
    nodes = tuple(
        replace(node, cells=cells[node.site])
        if isinstance(node, Elementwise) and node.site is not None
        else node
        for node in network.nodes
    )
    return replace(network, nodes=nodes, sites=tuple(sites))


class Builder:
    """The nodes of a network in the making."""

    def __init__(self, size: int, sites: Sequence[Site]) -> None:
        self.nodes: list[Node] = [Input(size)]
        self.sites = tuple(sites)
        self._site_cells = [Cells(site.pair) for site in sites]
        self._cells: dict[Pair, Cells] = {}

    def append(self, node: Node) -> int:
        """The index of the new node."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def affine(
        self,
        terms: Sequence[tuple[int, LinearMap]],
        size: int,
        bias: Any = None,
        radius: Any = None,
    ) -> int:
        """``bias + sum_k L_k v_k``."""
        bias = np.zeros(size) if bias is None else bias
        radius = np.zeros(size) if radius is None else radius
        return self.append(Affine(size, tuple(terms), bias, radius))

    def at_site(self, source: int, site: int) -> int:
        """The activation site ``site`` applied to a node."""
        cells, name = self._site_cells[site], self.sites[site].path
        return self.append(Elementwise(self.nodes[source].size, source, cells, site, name))

    def elementwise(self, source: int, cells: Cells, name: str) -> int:
        """A scalar function of a node."""
        floor = floor_of(cells.pair.source)
        return self.append(Elementwise(self.nodes[source].size, source, cells, None, name, floor))
