"""What a proof of a sharp constant rests on: how the density is shared, and a functional.

Nothing here is trusted: :mod:`jaxbarron.bounds.sharp.proof` derives both bounds from it anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

__all__ = ["Dual", "Evidence", "Plan", "Stage", "evidence_from_json", "evidence_to_json"]


@dataclass(frozen=True)
class Plan:
    """A representation of sigma on every [-rho, rho] (THEORY.md, Theorem Shares).

    Attributes:
        steps: triples (c, t, a): at z = c + t rho the share of right particles changes by a, from
            0 at -rho to 1 at rho in all.
        kinks: the polynomial is paid for in the powers (y - u)^s, y = z/rho, at these s + 1
            places u; inf is the constant.  Empty: in the monomials of Theorem Monomial cost.
    """

    steps: tuple[tuple[float, float, float], ...]
    kinks: tuple[float, ...] = ()

    @property
    def is_fixed(self) -> bool:
        """Whether the polynomial does not depend on rho."""
        return all(t == 0 for _, t, _ in self.steps)

    def holds_on(self, start: float, end: float) -> bool:
        """Whether the places are in order and within [-rho, rho] for rho from start to end.

        They are affine in rho, so the two ends decide; end may be inf for a fixed plan.
        """
        for reach in (start, end) if math.isfinite(end) else (start,):
            rho = Fraction(reach)
            places = [Fraction(c) + Fraction(t) * rho for c, t, _ in self.steps]
            if places != sorted(places) or any(abs(z) > rho for z in places):
                return False
        return math.isfinite(end) or self.is_fixed


@dataclass(frozen=True)
class Stage:
    """A plan for the reaches from ``start`` to ``end``."""

    start: float
    end: float
    plan: Plan


@dataclass(frozen=True)
class Dual:
    """A functional at one reach: its moments ``M_k = int y^k`` on [-1, 1] (Theorem Dual moments).

    ``reach`` is inf for the limit A_s, 0 for the value at 0; without moments the density part.
    """

    reach: float
    moments: tuple[float, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """Stages that cover [0, end], a fixed plan beyond, and where the lower bound is found.

    ``goal`` is what the upper bound is to come below: tiles are cut until they do.
    """

    stages: tuple[Stage, ...]
    beyond: Plan
    dual: Dual
    goal: float

    @property
    def end(self) -> float:
        """Where the last stage ends."""
        return self.stages[-1].end


def evidence_to_json(evidence: Evidence) -> dict[str, Any]:
    """Floats as hexadecimal strings; each plan once."""
    plans = list(dict.fromkeys([*(s.plan for s in evidence.stages), evidence.beyond]))
    return {
        "plans": [
            {
                "steps": [[x.hex() for x in step] for step in p.steps],
                "kinks": [t.hex() for t in p.kinks],
            }
            for p in plans
        ],
        "stages": [[s.start.hex(), s.end.hex(), plans.index(s.plan)] for s in evidence.stages],
        "beyond": plans.index(evidence.beyond),
        "goal": evidence.goal.hex(),
        "reach": evidence.dual.reach.hex(),
        "moments": [m.hex() for m in evidence.dual.moments],
    }


def evidence_from_json(data: Any) -> Evidence:
    """The inverse of :func:`evidence_to_json`; KeyError, TypeError or ValueError otherwise."""
    number = float.fromhex
    plans = [
        Plan(
            tuple((number(c), number(t), number(a)) for c, t, a in p["steps"]),
            tuple(number(t) for t in p["kinks"]),
        )
        for p in data["plans"]
    ]
    stages = tuple(
        Stage(number(a), number(b), plans[_index(i, plans)]) for a, b, i in data["stages"]
    )
    if not stages:
        raise ValueError("no stage")
    dual = Dual(number(data["reach"]), tuple(number(m) for m in data["moments"]))
    if math.isnan(dual.reach):
        raise ValueError("the reach is not a number")
    if not all(math.isfinite(m) for m in dual.moments):
        raise ValueError("a moment is not a number")
    return Evidence(stages, plans[_index(data["beyond"], plans)], dual, number(data["goal"]))


def _index(value: Any, plans: list[Plan]) -> int:
    if not isinstance(value, int) or not 0 <= value < len(plans):
        raise ValueError(f"no plan {value!r}")
    return value
