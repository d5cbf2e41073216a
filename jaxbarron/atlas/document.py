"""The atlas as one JSON document: verdicts, constants, routes, kernels, witnesses, certificates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxbarron.activations import Activation
from jaxbarron.atlas.approximations import best_approximations
from jaxbarron.atlas.graph import Embedding
from jaxbarron.atlas.sharp_pictures import sharp_picture
from jaxbarron.bounds.edges import Edge
from jaxbarron.bounds.sharp_edges import sharp_entry
from jaxbarron.certificates import to_document
from jaxbarron.programs import evaluate_program

__all__ = ["atlas_document", "pair_document"]

FORMAT = "jaxbarron-atlas"
VERSION = 1
_SAMPLES = 97
_REACH = 6.0
_NEAR = 2.0**-16  # of a kink: there the density may jump


def atlas_document(
    found: Sequence[Embedding], library: str, *, full: bool = False
) -> dict[str, Any]:
    """The document of ``jaxbarron atlas --json``.

    Args:
        found: the pairs.
        library: the library's version.
        full: with the kernel's density, the pictures of a sharp constant and the certificate of
            each pair, as the page shows them.
    """
    names = dict.fromkeys(a.name for e in found for a in (e.source, e.target))
    return {
        "format": FORMAT,
        "version": VERSION,
        "library": library,
        "activations": [{"name": name} for name in names],
        "pairs": [pair_document(e, full=full) for e in found],
    }


def pair_document(found: Embedding, *, full: bool = True) -> dict[str, Any]:
    """One pair; ``lower`` and ``upper`` are null where they are infinite or not known.

    ``gain``: what the paper's kernel costs over the sharp constant; null where one is not known.
    """
    document: dict[str, Any] = {
        "source": found.source.name,
        "target": found.target.name,
        "order": found.order,
        "verdict": found.verdict,
        "lower": _number(found.lower) or None,
        "upper": _number(found.upper),
        "gain": found.gain,
        "level": None if found.verdict == "open" else "rigorous",
        "theorem": found.theorem,
        "reason": reason_of(found),
        "route": [_edge(edge) for edge in found.route],
        "direct": None if found.direct is None else _edge(found.direct),
        "formula": " | ".join(edge.formula for edge in found.route) or None,
        "witness": None,
        "approximation": _approximations(found) if full else None,
    }
    if found.witness is not None:
        witness = found.witness
        document["witness"] = {
            "theorem": witness.theorem,
            "kind": witness.kind,
            "derivative": witness.derivative,
            "location": _number(witness.location),
            "gap": witness.gap,
            "atom_bound": witness.atom_bound,
            "ratios": [list(row) for row in witness.ratios],
        }
    if full:
        certificate = found.certificate
        document["density"] = _density(found.route[0]) if len(found.route) == 1 else None
        document["sharp"] = _sharp(found, document["density"])
        document["certificate"] = None if certificate is None else to_document(certificate)
    return document


def _sharp(found: Embedding, drawn: dict[str, Any] | None) -> dict[str, Any] | None:
    """Pictures of the constant, for a pair with an entry in the table of sharp constants.

    With the density that is shared, unless it is the one that is ``drawn`` for the pair anyway;
    without steps where there is none.
    """
    entry = sharp_entry(found.source, found.target, found.order)
    picture = None if entry is None else sharp_picture(found.source, entry)
    if entry is None or picture is None or found.verdict != "embedded":
        return None
    density = _picture(found.source, {entry.s + 1: 1 / math.factorial(entry.s)})
    if not (any(density["values"]) or density["atoms"]):
        picture["steps"] = []
    return {**picture, "density": None if density == drawn else density}


def _approximations(found: Embedding) -> list[dict[str, Any]] | None:
    if found.verdict != "open":
        return None
    known = best_approximations(found.source, found.target, found.order)
    return [{"norm": a.norm, "error": a.error, "level": a.level} for a in known]


def reason_of(found: Embedding) -> str:
    """The verdict in a sentence."""
    if found.witness is not None:
        return found.witness.claim
    certificate = found.certificate
    if certificate is None:
        return "neither an embedding nor a proof against one is known"
    return certificate.claim


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _edge(edge: Edge) -> dict[str, Any]:
    return {
        "source": edge.source.name,
        "target": edge.target.name,
        "rule": edge.rule,
        "theorem": edge.theorem,
        "upper": edge.upper,
        "formula": edge.formula,
    }


def _density(edge: Edge) -> dict[str, Any] | None:
    """What the kernel of a density rule looks like, sampled for a picture (level float)."""
    sigma, s = edge.source, edge.target.homogeneity
    if edge.rule in ("taylor", "taylor on a reach", "reach cells", "one reach") and s is not None:
        return _picture(sigma, {s + 1: 1 / math.factorial(s)})
    if edge.rule == "ramp" and sigma.homogeneity is None:
        return _picture(sigma, {2: 1.0})
    if edge.rule == "resolvent" and edge.target.left is not None:
        return _picture(sigma, {2: 1.0, 3: edge.target.left.intercept})
    return None


def _picture(sigma: Activation, terms: dict[int, float]) -> dict[str, Any]:
    points = np.linspace(-_REACH, _REACH, _SAMPLES)
    beside = [k.location + d for k in sigma.kinks for d in (-_NEAR, _NEAR)]
    points = np.union1d(points, [z for z in beside if abs(z) < _REACH])
    values = np.zeros_like(points)
    for order, factor in terms.items():
        values += factor * np.nan_to_num(evaluate_program(sigma.derivative(order).program, points))
    highest = max(terms)
    atoms = [
        [kink.location, terms[highest] * kink.jumps[highest - 1]]
        for kink in sigma.kinks
        if highest <= len(kink.jumps) and kink.jumps[highest - 1]
    ]
    rounded = [float(f"{v:.4g}") for v in values]
    return {"points": [float(f"{p:.7g}") for p in points], "values": rounded, "atoms": atoms}
