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

__all__ = ["ONE_PLACE", "atom_share", "evidence_of"]

ONE_PLACE = 1e-12  # kinks that are closer in y are one

_SAME = 1e-12  # shares closer than this are one: moving one costs at most twice that of the norm
_NEGLIGIBLE = 1e-15  # of the largest particle


def evidence_of(
    sigma: Activation, body: GaugeBody, spread: float, offset: float, found: IntervalBracket
) -> Evidence:
    """M, the shares with neighbouring equal ones joined, and the particles that carry weight.

    Args:
        sigma: the function is ``sigma(spread y + offset)``.
        body: s and the weight.
        spread: as above.
        offset: as above.
        found: the bracket of that function.

    Returns:
        The evidence for ``sigma(|spread| y + offset)``, which has the same norm.
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
    places = sorted(z for z in _kinks(sigma) if abs(z - offset) < abs(spread))
    atoms = [atom_share((z - offset) / spread, edges, shares) for z in places]
    nodes, particles = (np.asarray(v, np.float64) for v in (found.nodes, found.particles))
    heavy = np.abs(particles) > _NEGLIGIBLE * np.abs(particles).max(initial=0)
    evidence = Evidence(
        _floats(found.moments),
        tuple(kept_edges),
        tuple(kept) or (0.0,),
        tuple(atoms),
        _floats(nodes[heavy]),
        _floats(particles[heavy]),
    )
    return evidence if spread > 0 else _mirrored(body, evidence)


def _mirrored(body: GaugeBody, evidence: Evidence) -> Evidence:
    """The same for y -> f(-y): right and left particles change places, D by (-1)^(s+1)."""
    sign = (-1) ** body.s
    return Evidence(
        tuple((-1) ** k * m for k, m in zip(body.kept, evidence.moments, strict=True)),
        tuple(-t for t in reversed(evidence.edges)),
        tuple(sign * v for v in reversed(evidence.shares)),
        tuple(sign * v for v in evidence.atoms),  # in the order of the kinks of sigma
        tuple(-x for x in evidence.nodes),
        tuple(sign * c for c in evidence.particles),
    )


def _kinks(sigma: Activation) -> list[float]:
    if sigma.homogeneity is not None:
        return [place for place, _ in jump_orders(sigma)]
    return [kink.location for kink in sigma.kinks]


def atom_share(place: float, edges: np.ndarray, shares: np.ndarray) -> float:
    """v of the atom: it belongs to the last of the edges that rounding cannot tell from it."""
    if shares.size < edges.size:  # no atoms in this profile
        return 0.0
    near = np.flatnonzero(np.abs(edges - place) <= ONE_PLACE)
    return float(shares[edges.size - 1 + near[-1]]) if near.size else 0.0


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(v) for v in np.asarray(values, np.float64))
