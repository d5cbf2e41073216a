"""The edge of a sharp constant into RePU_s: from the shipped table, proved again when asked."""

from __future__ import annotations

import math

from jaxbarron.activations import Activation
from jaxbarron.activations.registry import is_registered
from jaxbarron.bounds.edge import Edge, make_edge
from jaxbarron.bounds.sharp.proof import check_evidence
from jaxbarron.bounds.sharp.table import SharpEntry, lookup

__all__ = ["one_reach", "proved_one_reach", "sharp_entry"]


def sharp_entry(source: Activation, target: Activation, order: int) -> SharpEntry | None:
    """The table's entry with evidence for a pair and an order, or None."""
    s = target.homogeneity
    if s is None or source.homogeneity is not None or not is_registered(source):
        return None
    entry = lookup(source.name, s, order)
    return None if entry is None or entry.evidence is None else entry


def one_reach(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem One reach: what the table says."""
    entry = sharp_entry(source, target, order)
    return None if entry is None else _edge(source, target, order, entry.upper)


def proved_one_reach(source: Activation, target: Activation, order: int) -> Edge | None:
    """Theorem One reach: what the table's evidence proves, by ball arithmetic alone."""
    entry = sharp_entry(source, target, order)
    if entry is None or entry.evidence is None:
        return None
    found = check_evidence(source, entry.s, order, entry.evidence)
    return _edge(source, target, order, found.upper)


def _edge(source: Activation, target: Activation, order: int, upper: float) -> Edge | None:
    s = target.homogeneity or 1
    power = "" if s == 1 else f"^{s}"
    formula = (
        f"sigma(z) = P(z) + 1/{s}! int over |t| < rho of D(t) [lambda(t) (z - t)_+{power} "
        f"{'+' if s % 2 else '-'} (1 - lambda(t)) (t - z)_+{power}] dt"
    )
    if not math.isfinite(upper):
        return None
    return make_edge(source, target, order, "one reach", upper, "Theorem One reach", formula)
