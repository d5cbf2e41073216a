"""The search for a proof in the Euclidean weights: the particle, and the plans.

Floats guess here; :mod:`jaxbarron.bounds.sharp.euclidean` proves (THEORY.md, Theorem Second-order
cells).
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from jaxbarron.activations import Activation
from jaxbarron.bounds.constants import Constant, variation_constant
from jaxbarron.bounds.sharp.euclidean import (
    EUCLIDEAN,
    euclidean_beyond,
    euclidean_lower,
    euclidean_near,
    euclidean_obstacle,
    largest_on_cells,
    plane_of,
)
from jaxbarron.bounds.sharp.euclidean_evidence import EuclideanEvidence
from jaxbarron.bounds.sharp.euclidean_norm import FloatNorm
from jaxbarron.bounds.sharp.evidence import Plan
from jaxbarron.bounds.sharp.half_plane import HalfPlane, Shares
from jaxbarron.bounds.sharp.programs import fixed_plan

__all__ = ["euclidean_evidence"]

_ENDS = (16.0, 64.0, 256.0, 1024.0)
_PLAN_STARTS = (0.5, 1.0, 2.0, 4.0, 8.0)
_SPREADS = (0.03125, 0.125, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0)
_ASIDE = (-0.9, -0.5, -0.2, 0.0, 0.2, 0.5, 0.9)
_FINENESS = 64.0  # panels of the density in the particle's half-width
_NEAR = 2.0**-10
_NARROW = 2.0**-40  # beyond a kink, for a particle that just holds it
_PLANS = 96
_HIGHER = 8  # times that the search begins anew from a better particle
_ADDED = 8  # plans at a time
_END_PLANS = (
    Plan(((0.0, -1.0, 1.0),)),
    Plan(((0.0, 1.0, 1.0),)),
    Plan(((0.0, -1.0, 0.5), (0.0, 1.0, 0.5))),
)


@functools.lru_cache(maxsize=256)
def euclidean_evidence(sigma: Activation, rel_gap: float) -> EuclideanEvidence | Constant:
    """What proves the constant to a relative gap, or to ten times more, or more; or an obstacle.

    Args:
        sigma: no RePU.
        rel_gap: the relative gap aimed at, 1e-7 to 1.

    Returns:
        The evidence; or what is known where the constant is infinite or no proof was found.

    Example:
        >>> from jaxbarron.activations import activation
        >>> found = euclidean_evidence(activation("sigmoid"), 1e-6)
        >>> found.upper, found.reason
        (inf, 'sigma(0) is not 0: small particles weigh less than their value')
    """
    obstacle = euclidean_obstacle(sigma)
    if obstacle is not None:
        return obstacle
    search = _Search(sigma)
    gap, higher = rel_gap, 0
    while gap <= 10:
        try:
            found = search.evidence(gap)
        except _Higher:
            higher += 1
            if higher <= _HIGHER:
                continue
            found = None
        if found is not None:
            return found
        gap *= 10
    lower = max(search.lower, variation_constant(sigma, 1).lower)
    return Constant(lower, math.inf, EUCLIDEAN, "no bound was found")


class _Higher(Exception):
    """A particle was found whose norm over its weight is larger."""


class _Search:
    def __init__(self, sigma: Activation) -> None:
        self.sigma, self.norms = sigma, FloatNorm(sigma)
        self.lower, self.place = 0.0, (-1.0, 1.0)
        self.start()

    # ------------------------------------------------------------------ the particle

    def start(self) -> None:
        """The best particle from many starts."""
        tried: list[tuple[float, float, float]] = []
        for w, aside in itertools.product(_SPREADS, _ASIDE):
            ends = w * (aside - 1), w * (aside + 1)
            tried.append((self.norms.ratio(ends), *ends))
        held = {abs(z) * (1 + _NARROW) for z in self.norms.kinks if z}
        tried += [(self.norms.ratio((-w, w)), -w, w) for w in held]
        tried.sort(reverse=True)
        best = tried[0]
        for _, left, right in tried[:3]:
            found = self.climbed(left, right)
            best = max(best, found)
        self.place = best[1:]
        limit = math.sqrt(2) * abs(float(self.norms.values(1, [_NEAR])[0]))
        if limit > best[0] * (1 - 1e-6):
            self.place = -_NEAR, _NEAR  # the limit at 0

    def climbed(self, left: float, right: float) -> tuple[float, float, float]:
        """A local maximum from there."""
        step = 0.02 * (right - left)
        found = minimize(
            lambda x: -self.norms.ratio(x), (left, right), method="Nelder-Mead",
            options={"xatol": 1e-8, "fatol": 1e-13, "maxiter": 250,
                     "initial_simplex": [(left, right), (left - step, right),
                                         (left, right + step)]},
        )  # fmt: skip
        return -float(found.fun), float(found.x[0]), float(found.x[1])

    def particle(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """(w, b), of few digits, and M."""
        left, right = self.place
        w, b = (right - left) / 2, (right + left) / 2
        if all(abs(abs(x) - abs(k)) > 1e-9 for x in self.place for k in self.norms.kinks):
            grain = 2.0 ** (math.floor(math.log2(w)) - 30)
            w, b = round(w / grain) * grain, round(b / grain) * grain
        _, excess, (u, v) = self.norms.norm(b - w, b + w)
        return (w, b), ((u + v, v - u) if excess > 0 else (0.0, 0.0))

    # ------------------------------------------------------------------ the evidence

    def evidence(self, gap: float) -> EuclideanEvidence | None:
        """Plans that prove ``lower (1 + gap)``; None where they are not found."""
        particle, moments = self.particle()
        w, b = particle
        # what panels lose is of third order in their width
        width = w / _FINENESS * (gap / 1e-6) ** (1 / 3)
        finest = 2.0 ** min(max(math.floor(math.log2(width)), -20), -4)
        for end in _ENDS:
            if end < 2 * (w + abs(b)) and end != _ENDS[-1]:
                continue
            plane = plane_of(self.sigma, end, finest, particle)
            if plane.reason:
                return None
            self.lower = euclidean_lower(self.sigma, plane, particle, moments)
            goal = self.lower * (1 + 0.75 * gap)
            evidence = EuclideanEvidence(particle, moments, goal, end, finest, ())
            if plane.near_zero(math.inf) <= goal:
                return evidence
            plans = [*_END_PLANS, *self._fixed(end)]
            shares = [plane.shares(plan) for plan in plans]
            reach, near = euclidean_near(plane, goal)
            if near > goal:
                return None
            beyond = [euclidean_beyond(plane, p) for p in shares]
            if min(beyond) > goal:
                continue
            used = {int(np.argmin(beyond))}
            repair = functools.partial(self._repair, plane, plans, shares, goal)
            if math.isfinite(largest_on_cells(plane, shares, reach, goal, repair, used)):
                return replace(evidence, plans=tuple(plans[i] for i in sorted(used)))
            return None
        return None

    def _fixed(self, end: float) -> list[Plan]:
        """Plans for all intervals from some reach on, with no or little of a line."""
        own = 0.9 * min(map(abs, self.place))
        starts = sorted({*_PLAN_STARTS, own, own / 1.2} - {0.0})
        found = [fixed_plan(self.sigma, 1, x, 32 * x) for x in starts if x < end]
        return [x.plan for x in found if x is not None]

    def _repair(
        self,
        plane: HalfPlane,
        plans: list[Plan],
        shares: list[Shares],
        goal: float,
        left: Any,
        right: Any,
        size: float,
    ) -> bool:
        """Plans for the cells whose middles no plan brings below the goal."""
        near = size < np.hypot(left, right) / 4
        if len(plans) > _PLANS or not near.any():
            return False
        left, right = left[near], right[near]
        values, _ = plane.ratio(left, right, 0.0, shares)
        added = 0
        while added < _ADDED and np.max(values, initial=0.0) > goal:
            worst = int(np.argmax(values))
            place = float(left[worst]), float(right[worst])
            least = self.norms.ratio(place)
            if least > self.lower * (1 + 1e-9):
                self.place = self.climbed(*place)[1:]
                raise _Higher
            best, chosen = values, None
            for plan in self.norms.plans(*place):
                share = plane.shares(plan)
                found = np.minimum(values, plane.ratio(left, right, 0.0, [share])[0])
                if found[worst] < best[worst]:
                    best, chosen = found, (plan, share)
                if best[worst] <= (goal + least) / 2:
                    break
            if chosen is None:
                break
            plans.append(chosen[0])
            shares.append(chosen[1])
            values, added = best, added + 1
        return added > 0
