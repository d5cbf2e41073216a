"""What a proof in the Euclidean weights rests on: a particle, moments, and plans.

Nothing here is trusted: :mod:`jaxbarron.bounds.sharp.euclidean` derives both bounds from it anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from jaxbarron.bounds.sharp.evidence import Plan

__all__ = ["EuclideanEvidence", "euclidean_from_json", "euclidean_to_json"]

_FINEST, _FARTHEST = 2.0**-24, 2.0**12
_PANELS = 2.0**14


@dataclass(frozen=True)
class EuclideanEvidence:
    """Numbers from which both bounds follow (THEORY.md, Theorem Euclidean weights).

    Attributes:
        particle: (w, b), w > 0, whose norm over its weight is the lower bound.
        moments: M of Theorem Interval norm there; zeros: the density part.
        goal: what the upper bound is to come below: cells are cut until they do.
        end: a power of two: cells of l and r in [-end, end].
        finest: a power of two, the width of the panels of the density.
        plans: how the density is shared; their steps (c, t, a) are places c with t = 0, or ends of
            the interval with c = 0 and t = -1 or 1.
    """

    particle: tuple[float, float]
    moments: tuple[float, float]
    goal: float
    end: float
    finest: float
    plans: tuple[Plan, ...]


def euclidean_to_json(evidence: EuclideanEvidence) -> dict[str, Any]:
    """Floats as hexadecimal strings."""
    return {
        "particle": [x.hex() for x in evidence.particle],
        "moments": [x.hex() for x in evidence.moments],
        "goal": evidence.goal.hex(),
        "end": evidence.end.hex(),
        "finest": evidence.finest.hex(),
        "plans": [[[x.hex() for x in step] for step in p.steps] for p in evidence.plans],
    }


def euclidean_from_json(data: Any) -> EuclideanEvidence:
    """The inverse of :func:`euclidean_to_json`; KeyError, TypeError or ValueError otherwise."""
    number = float.fromhex
    w, b = (number(x) for x in data["particle"])
    first, second = (number(x) for x in data["moments"])
    goal, end, finest = (number(data[key]) for key in ("goal", "end", "finest"))
    plans = tuple(
        Plan(tuple((number(c), number(t), number(a)) for c, t, a in steps))
        for steps in data["plans"]
    )
    powers = all(0 < x < math.inf and math.frexp(x)[0] == 0.5 for x in (end, finest))
    finite = all(map(math.isfinite, (w, b, first, second)))
    if not (finite and w > 0 and powers and _FINEST <= finest <= 1 <= end <= _FARTHEST):
        raise ValueError(f"the particle {w!r}, {b!r}, or the powers of two {end!r} and {finest!r}")
    if min(2 * (w + abs(b)), end) > _PANELS * finest:
        raise ValueError(f"panels of {finest!r} are too many for the particle {w!r}, {b!r}")
    if not 0 < goal < math.inf:
        raise ValueError(f"the goal is {goal!r}")
    return EuclideanEvidence((w, b), (first, second), goal, end, finest, plans)
