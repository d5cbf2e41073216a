"""``jaxbarron constant --sharp``: the sharp constant, where it is attained, and what it gains."""

from __future__ import annotations

import math
from typing import Any, Literal

from jaxbarron.activations import Activation, activation
from jaxbarron.bounds.edges import checked_order
from jaxbarron.bounds.paper_kernel import paper_constant
from jaxbarron.bounds.sharp import SharpConstant, check_evidence, sharp_constant
from jaxbarron.bounds.sharp.closed_forms import closed_form
from jaxbarron.bounds.sharp_edges import sharp_entry
from jaxbarron.certificates import WeightCertificate, weight_certificate
from jaxbarron.errors import UsageError

__all__ = [
    "attained", "attained_in_other_weight", "gain", "in_other_weight", "parse_weight", "proved",
    "sharp_document", "weight_gap",
]  # fmt: skip


def parse_weight(text: str | None) -> int | str | None:
    """The order p, ``"bias-free"`` or ``"l2"``, or None for the natural order.

    Raises:
        UsageError: anything else.
    """
    if text is None or text in ("bias-free", "l2"):
        return text
    try:
        return checked_order(int(text))
    except ValueError:
        raise UsageError(
            f"given: --weight {text!r}; expected: a whole number from 1 to 16, p of (1 + rho)^p, "
            "bias-free or l2; do: e.g. --weight 1"
        ) from None


def proved(sigma: Activation, tau: Activation, order: int, rel_gap: float) -> SharpConstant | None:
    """The proof in the table, if its gap is small enough, or one that is searched for.

    The table's where the search finds none; None where there is neither.

    Raises:
        UsageError: the pair is none to which Theorem One reach applies here.
    """
    s = tau.homogeneity
    if not s or sigma.homogeneity is not None:
        raise UsageError(
            f"given: --sharp for {sigma.name} in {tau.name}; expected: a source that is no RePU "
            "and a target RePU_s, s >= 1; do: leave --sharp out"
        )
    if not 1e-12 <= rel_gap <= 1:
        raise UsageError(
            f"given: --rel-gap {rel_gap!r}; expected: from 1e-12 to 1; do: e.g. --rel-gap 1e-6"
        )
    entry, found = sharp_entry(sigma, tau, order), None
    if entry is not None and entry.evidence is not None:
        found = check_evidence(sigma, s, order, entry.evidence)
        if found.gap <= rel_gap:
            return found
    searched = sharp_constant(sigma, s, order, rel_gap)
    return found if searched is None or not math.isfinite(searched.upper) else searched


def attained(found: SharpConstant) -> str:
    """Where the supremum over all particles is found."""
    if found.reach == math.inf:
        return "in the limit w -> infinity, b = 0"
    if found.reach == 0:
        return "at w = 0, b = 0: the constant sigma(0)"
    return f"at w = {found.reach:.9g}, b = 0"


def gain(found: SharpConstant) -> tuple[float, float] | None:
    """What the Taylor kernel at 0 costs at most, and over C; None where that is infinite.

    For the natural order, with which the costs of the kernel are stated.
    """
    target = activation("relu" if found.s == 1 else f"repu({found.s})")
    cost = paper_constant(found.source, target, found.order)
    return None if cost is None else (cost, cost / found.upper)


def in_other_weight(
    sigma: Activation, tau: Activation, weight: str, rel_gap: float
) -> WeightCertificate:
    """Theorem Bias free or Theorem Euclidean weights, for a pair to which it applies.

    The table's proof, if its gap is small enough, or one that is searched for.

    Raises:
        UsageError: it does not apply.
    """
    named: Literal["bias_free", "l2"] = "l2" if weight == "l2" else "bias_free"
    s = tau.homogeneity
    if not s or sigma.homogeneity is not None or (weight == "l2" and s != 1):
        expected = "the target relu" if weight == "l2" else "a target RePU_s, s >= 1"
        raise UsageError(
            f"given: --weight {weight} for {sigma.name} in {tau.name}; expected: a source that "
            f"is no RePU and {expected}; do: leave --weight out"
        )
    return weight_certificate(sigma, s, weight=named, rel_gap=rel_gap)


def attained_in_other_weight(found: WeightCertificate) -> str:
    """Where the lower bound of a finite constant in the weight l2 is found; or empty."""
    if found.evidence is None or not math.isfinite(found.upper):
        return ""
    w, b = found.evidence.particle
    return f"lower bound at w = {w:.9g}, b = {b:.9g}; relative gap {weight_gap(found):.1e}"


def weight_gap(found: WeightCertificate) -> float:
    """``upper / lower - 1``."""
    return found.upper / found.lower - 1 if found.lower > 0 else math.inf


def sharp_document(found: SharpConstant) -> dict[str, Any]:
    """The result for ``--json``."""
    known = gain(found)
    return {
        "lower": found.lower,
        "upper": found.upper,
        "gap": found.gap,
        "spread": found.reach if math.isfinite(found.reach) else None,
        "limit": math.isinf(found.reach),
        "attained": attained(found),
        "closed_form": closed_form(found) or None,
        "taylor_kernel": None if known is None else known[0],
        "gain": None if known is None else known[1],
        "theorem": found.theorem,
        "level": found.level,
    }
