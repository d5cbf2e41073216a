"""Pictures of sharp constants into RePU_s: the ratio over the reach, the shares, the functional.

By Theorem One reach the constant is a supremum over one number, so the picture of "constant
against (w, b)" is a curve over rho = w + |b|.  Everything here is sampled for pictures (level
float); what is proved is in :mod:`jaxbarron.bounds.sharp.proof`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxbarron.activations import Activation
from jaxbarron.balls.dyadic import exact
from jaxbarron.balls.series import working_precision
from jaxbarron.bounds.density import rational
from jaxbarron.bounds.sharp.evidence import Evidence, Plan
from jaxbarron.bounds.sharp.functionals import excess_from_moments
from jaxbarron.bounds.sharp.moments import AbsoluteMoments
from jaxbarron.bounds.sharp.plans import PlanCost
from jaxbarron.bounds.sharp.proof import BITS, moments_up_to
from jaxbarron.bounds.sharp.table import SharpEntry

__all__ = ["functional_curve", "ratio_curves", "shares", "sharp_picture"]

_SERIES = 24
_END = 1024.0  # reaches beyond are drawn up to the last sample only
_CELLS = 48  # of rho/(1 + rho)
_LATE = (127.0, 255.0, 1023.0)
_HALF = 32  # cells of a half of the functional's picture
_LEFT_OF_ZERO = -(2.0**-30)
# for every reach: right particles only, left ones only, half of each, the Taylor kernel at 0
_PLAIN = (
    Plan(((0.0, -1.0, 1.0),)),
    Plan(((0.0, 1.0, 1.0),)),
    Plan(((0.0, -1.0, 0.5), (0.0, 1.0, 0.5))),
    Plan(((0.0, 0.0, 1.0),)),
)


def sharp_picture(source: Activation, entry: SharpEntry) -> dict[str, Any] | None:
    """What the atlas page draws of an entry of the table; None where it holds no evidence.

    ``reach`` is null where the lower bound is a limit, ``at`` its place rho/(1 + rho); ``steps``
    are pairs (t, change of the share of right particles).

    Example:
        >>> from jaxbarron.activations import activation
        >>> from jaxbarron.bounds.sharp.table import lookup
        >>> picture = sharp_picture(activation("softplus"), lookup("softplus", 1, 1))
        >>> round(picture["reach"], 3), round(picture["value"], 4), picture["level"]
        (5.176, 1.0522, 'float')
    """
    if entry.evidence is None:
        return None
    reach = entry.reach
    functional = functional_curve(entry.evidence.dual.moments, entry.s)
    moved = shares(entry.evidence)
    return {
        "level": "float",
        "s": entry.s,
        "reach": reach if math.isfinite(reach) else None,
        "at": _short(reach / (1 + reach) if math.isfinite(reach) else 1.0),
        "value": _short((entry.lower + entry.upper) / 2),
        "ratio": {name: _row(row) for name, row in ratio_curves(source, entry).items()},
        "steps": [[_short(t), _short(a)] for t, a in moved],
        "functional": None if functional is None else [_row(row) for row in functional],
    }


def ratio_curves(source: Activation, entry: SharpEntry) -> dict[str, list[float]]:
    """Norm over weight against x = rho/(1 + rho), b = 0: between ``lower`` and ``upper``.

    ``lower``: the largest of the density part (with what the entry's functional gives at that
    reach), of |sigma|, and of its oscillation, on [-rho, rho]: particles lie between 0 and their
    weight; and of these at smaller reaches, since the norm does not decrease.  ``upper``: the
    cheapest of the evidence's plans at this reach or a larger one.  ``taylor``: the kernel of
    Theorem Taylor kernel at 0 (from the left, where D has an atom there), its polynomial in the
    monomials of Theorem Monomial cost.

    Returns:
        Rows ``x``, ``lower``, ``upper``, ``taylor`` of one length; empty where the moments are
        not known.
    """
    evidence, s, order = entry.evidence, entry.s, entry.order
    if evidence is None:
        return {}
    with working_precision(BITS, s + _SERIES):
        moments = moments_up_to(source, s, _END)
        if moments.reason:
            return {}
        reaches = _reaches(moments, entry.reach)
        taylor = Plan(((_LEFT_OF_ZERO if 0 in moments.atom_places else 0.0, 0.0, 1.0),))
        fixed = [p for p in _plans(evidence) if p.is_fixed]
        costs = {plan: PlanCost(moments, plan, order) for plan in (*_plans(evidence), taylor)}
        at_zero = _middle(moments.jet(exact(rational(0.0)), -1)[0])
        below, upper, kernel = [abs(at_zero)], [abs(at_zero)], [abs(at_zero)]
        lowest = highest = at_zero
        for reach in reaches[1:]:
            rho = rational(reach)
            there = [stage.plan for stage in evidence.stages if stage.start <= reach <= stage.end]
            usable = [p for p in dict.fromkeys([*there, *fixed, *_PLAIN, taylor])
                      if p.holds_on(reach, reach)]  # fmt: skip
            values = {plan: _middle(costs[plan].value(rho)) for plan in usable}
            upper.append(min(v for v in values.values() if math.isfinite(v)))
            kernel.append(values[taylor])
            ends = [_middle(moments.jet(exact(rho), side)[0]) for side in (-1, 1)]
            lowest, highest = min(lowest, *ends), max(highest, *ends)
            density = _middle(costs[taylor].density(exact(rho), moments.at(rho)))
            bounds = [density, abs(lowest), abs(highest), highest - lowest]
            if evidence.dual.moments:
                excess = _middle(excess_from_moments(moments, rho, evidence.dual.moments))
                bounds += [density + excess] if math.isfinite(excess) else []
            below.append(max(bounds))
    rows, places = np.asarray([below, upper, kernel]), np.asarray(reaches)
    # the norm does not decrease: a bound at one reach serves those beyond, or those before
    rows[0] = np.maximum.accumulate(rows[0])
    rows[1] = np.minimum.accumulate(rows[1][::-1])[::-1]
    rows /= (1 + places) ** order
    names = ("lower", "upper", "taylor")
    return {
        "x": (places / (1 + places)).tolist(),
        **{name: row.tolist() for name, row in zip(names, rows, strict=True)},
    }


def shares(evidence: Evidence) -> list[tuple[float, float]]:
    """Places and changes of lambda, where the lower bound is found.

    At a limit, and at 0, those of the plan for all large reaches.  Beyond the last place lambda
    is 1, before the first it is 0 (Theorem Shares).
    """
    plan, reach = evidence.beyond, evidence.dual.reach
    if math.isfinite(reach):
        for stage in evidence.stages:
            if reach > 0 and stage.start <= reach <= stage.end:
                plan = stage.plan
    held = reach if math.isfinite(reach) else 0.0
    return [(c + t * held, a) for c, t, a in plan.steps]


def functional_curve(moments: Sequence[float], s: int) -> tuple[list[float], list[float]] | None:
    """u = t/(1 + |t|) and Q_M(t)/V(t), for all t in [-inf, inf], in units of the reach.

    Between -2 and 2 for |t| < 1, which is |u| < 1/2, and between -1 and 1 outside (Theorem Dual
    moments).  None without moments.
    """
    if not moments:
        return None
    u = np.arange(-_HALF, _HALF + 1) / _HALF
    values = np.zeros_like(u)
    for k, m in enumerate(moments):
        values += math.comb(s, k) * m * (-u) ** (s - k) * (1 - np.abs(u)) ** k
    return u.tolist(), values.tolist()


# ---------------------------------------------------------------------------- inside


def _plans(evidence: Evidence) -> tuple[Plan, ...]:
    every = [*(stage.plan for stage in evidence.stages), evidence.beyond, *_PLAIN]
    return tuple(dict.fromkeys(every))


def _reaches(moments: AbsoluteMoments, found_at: float) -> list[float]:
    """0 first; where an atom of D comes in both sides, and where the lower bound is found."""
    places = {k / (_CELLS - k) for k in range(_CELLS)} | set(_LATE)
    for place in moments.atom_places:
        edge = abs(float(place.p) / float(place.q))
        places |= {edge, edge * (1 + 2.0**-24)}
    if found_at <= _LATE[-1]:
        places.add(found_at)
    return sorted(x for x in places if x <= _LATE[-1])


def _middle(ball: Any) -> float:
    return float(ball.mid())


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _row(values: Sequence[float]) -> list[float]:
    return [_short(v) for v in values]
