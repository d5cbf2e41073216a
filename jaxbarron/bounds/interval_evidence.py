"""What the float search found, as the few plain numbers that a proof needs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from jaxbarron.activations import Activation
from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_bracket import IntervalBracket
from jaxbarron.bounds.interval_rigorous import Evidence
from jaxbarron.bounds.regularity import jump_orders

__all__ = ["evidence_of"]

_SAME = 1e-12  # shares closer than this are one: moving one costs at most twice that of the norm
_NEGLIGIBLE = 1e-15  # of the largest particle


def evidence_of(
    sigma: Activation, body: GaugeBody, spread: float, offset: float, found: IntervalBracket
) -> Evidence:
    """M, the shares with neighbouring equal ones joined, and the particles that carry weight.

    Args:
        sigma: the function is ``sigma(spread y + offset)``, spread > 0.
        body: s and the weight.
        spread: as above.
        offset: as above.
        found: the bracket of that function.
    """
    edges = np.asarray(found.edges, np.float64)
    shares = np.clip(np.asarray(found.shares, np.float64), -0.5, 0.5)
    kept_edges, kept = list[float](), list[float]()
    for (start, end), share in zip(itertools.pairwise(edges), shares, strict=False):
        if not end > start:
            continue
        value = round(share * 2) / 2 if abs(abs(share) - 0.5) < _SAME else float(share)
        if kept and abs(value - kept[-1]) < _SAME:
            continue
        if kept:
            kept_edges.append(float(start))
        kept.append(value)
    places = sorted(z for z in _kinks(sigma) if abs(z - offset) < spread)
    atoms = [_atom_share((z - offset) / spread, edges, shares) for z in places]
    nodes, particles = (np.asarray(v, np.float64) for v in (found.nodes, found.particles))
    heavy = np.abs(particles) > _NEGLIGIBLE * np.abs(particles).max(initial=0)
    return Evidence(
        _floats(found.moments),
        tuple(kept_edges),
        tuple(kept) or (0.0,),
        tuple(atoms),
        _floats(nodes[heavy]),
        _floats(particles[heavy]),
    )


def _kinks(sigma: Activation) -> list[float]:
    if sigma.homogeneity is not None:
        return [place for place, _ in jump_orders(sigma)]
    return [kink.location for kink in sigma.kinks]


def _atom_share(place: float, edges: np.ndarray, shares: np.ndarray) -> float:
    """v of the atom: it belongs to the last of the edges that rounding cannot tell from it."""
    if shares.size < edges.size:  # no atoms in this profile
        return 0.0
    near = np.flatnonzero(np.abs(edges - place) <= 1e-12)
    return float(shares[edges.size - 1 + near[-1]]) if near.size else 0.0


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(v) for v in np.asarray(values, np.float64))
