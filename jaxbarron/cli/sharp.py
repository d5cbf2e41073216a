"""``jaxbarron constant --sharp``: the sharp constant, where it is attained, and what it gains."""

from __future__ import annotations

import math
from typing import Any

from jaxbarron.activations import Activation
from jaxbarron.bounds.bias_free import bias_free_constant
from jaxbarron.bounds.constants import Constant, polynomial_part, taylor_constant
from jaxbarron.bounds.edges import checked_order
from jaxbarron.bounds.sharp import SharpConstant, check_evidence, sharp_constant
from jaxbarron.bounds.sharp.closed_forms import closed_form
from jaxbarron.bounds.sharp_edges import sharp_entry
from jaxbarron.errors import UsageError

__all__ = ["attained", "bias_free", "gain", "parse_weight", "proved", "sharp_document"]


def parse_weight(text: str | None) -> int | str | None:
    """The order p, ``"bias-free"``, or None for the natural order.

    Raises:
        UsageError: anything else.
    """
    if text is None or text == "bias-free":
        return text
    try:
        return checked_order(int(text))
    except ValueError:
        raise UsageError(
            f"given: --weight {text!r}; expected: a whole number from 1 to 16, p of (1 + rho)^p, "
            "or bias-free; do: e.g. --weight 1"
        ) from None


def proved(sigma: Activation, tau: Activation, order: int, rel_gap: float) -> SharpConstant:
    """The proof in the table, if its gap is small enough, or one that is searched for.

    Raises:
        UsageError: the pair is none to which Theorem One reach applies here, or none was found.
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
    entry = sharp_entry(sigma, tau, order)
    if entry is not None and entry.evidence is not None:
        found = check_evidence(sigma, s, order, entry.evidence)
        if found.gap <= rel_gap:
            return found
    searched = sharp_constant(sigma, s, order, rel_gap)
    if searched is None or not math.isfinite(searched.upper):
        raise UsageError(
            f"given: --sharp for {sigma.name} in {tau.name} at order {order}; expected: a pair "
            "for which the search finds a proof; do: leave --sharp out for the interval known"
        )
    return searched


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
    if found.order != found.s:
        return None
    kernel = taylor_constant(found.source, found.s), polynomial_part(found.source, found.s)
    cost = sum(part.upper for part in kernel)
    return (cost, cost / found.upper) if math.isfinite(cost) else None


def bias_free(sigma: Activation, tau: Activation) -> Constant:
    """Theorem Bias free, for a pair to which it applies.

    Raises:
        UsageError: it does not apply.
    """
    if not tau.homogeneity or sigma.homogeneity is not None:
        raise UsageError(
            f"given: --weight bias-free for {sigma.name} in {tau.name}; expected: a source that "
            "is no RePU and a target RePU_s, s >= 1; do: leave --weight out"
        )
    return bias_free_constant(sigma, tau.homogeneity)


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
