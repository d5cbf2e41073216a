"""The embedding constant in the Euclidean weights (THEORY.md, Theorem Euclidean weights)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import flint
import numpy as np

from jaxbarron.activations import Activation, activation, repu
from jaxbarron.balls.dyadic import exact
from jaxbarron.balls.series import taylor_coefficients, working_precision
from jaxbarron.balls.suprema import lower_float
from jaxbarron.bounds.constants import Constant, absolute_moment, variation_constant
from jaxbarron.bounds.density import rational
from jaxbarron.bounds.interval_norm import interval_norm
from jaxbarron.bounds.sharp.half_plane import HalfPlane, Shares
from jaxbarron.bounds.sharp.plans import PlanCost
from jaxbarron.bounds.sharp.programs import fixed_plan
from jaxbarron.bounds.witnesses import find_witness
from jaxbarron.errors import UsageError

__all__ = [
    "best_particle", "euclidean_bracket", "euclidean_constant", "euclidean_obstacle",
    "euclidean_upper",
]  # fmt: skip

_BITS = 128
_SERIES = 25
_NEAR = 2.0**-12
_SMALLEST = 2.0**-10
_UNIT = 2.0**-48
_PLAN_STARTS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
_ENDS = (16.0, 64.0, 256.0, 1024.0)
_CELLS = 40_000
_STARTS = (0.0625, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_THEOREM = "Euclidean weights"


def euclidean_constant(
    source: str | Activation | Callable[[Any], Any], *, rel_gap: float = 1e-3
) -> Constant:
    """``lower <= C <= upper`` for sigma in ReLU in the weights ``(w^2 + b^2)^(1/2)`` of both.

    Finite only where ``sigma(z) = O(|z|)`` at 0 and sigma' is of bounded variation.  The lower
    bound is the rigorous norm of one particle, the upper one that of cells of the half plane of
    all (w, b): rigorous as well, and wider than ``rel_gap`` where the cells allowed do not
    suffice.

    Args:
        source: a name, an activation or a scalar JAX function; no RePU.
        rel_gap: the relative gap aimed at, 1e-6 to 1.

    Raises:
        UnknownActivationError: no such name.
        UsageError: a RePU, or a gap out of range.

    Example:
        >>> found = euclidean_constant("sigmoid")
        >>> found.upper, found.reason
        (inf, 'sigma(0) is not 0: small particles weigh less than their value')
    """
    sigma = activation(source)
    if sigma.homogeneity is not None or not 1e-6 <= rel_gap <= 1:
        raise UsageError(
            f"given: {sigma.name} with rel_gap={rel_gap!r}; expected: a source that is no RePU, "
            "and a gap from 1e-6 to 1; do: e.g. rel_gap=1e-3"
        )
    return _found(sigma, rel_gap)


@functools.lru_cache(maxsize=256)
def _found(sigma: Activation, rel_gap: float) -> Constant:
    obstacle = euclidean_obstacle(sigma)
    return euclidean_bracket(sigma, best_particle(sigma), rel_gap) if obstacle is None else obstacle


def euclidean_obstacle(sigma: Activation) -> Constant | None:
    """What is known where the constant is infinite, or is not bounded; None elsewhere."""
    witness = find_witness(sigma, repu(1), 1)
    if witness is not None:
        return Constant(math.inf, math.inf, _THEOREM, witness.claim)
    variation = variation_constant(sigma, 1)
    if not math.isfinite(variation.upper):
        return Constant(variation.lower, math.inf, _THEOREM, variation.reason)
    value = taylor_coefficients(sigma.program, flint.arb(0), 1, _BITS)[0]
    if not value.contains(0):
        reason = "sigma(0) is not 0: small particles weigh less than their value"
        return Constant(math.inf, math.inf, _THEOREM, reason)
    if not value.is_zero():
        return Constant(variation.lower, math.inf, _THEOREM, "sigma(0) is not known to be 0")
    return None


def euclidean_bracket(sigma: Activation, particle: tuple[float, float], rel_gap: float) -> Constant:
    """Both bounds from a particle (w, b), the gap being widened tenfold where cells do not do.

    sigma is as :func:`euclidean_constant` has checked: sigma(0) = 0, sigma' of finite variation.
    """
    known = variation_constant(sigma, 1).lower, _slope_at_zero(sigma), _lower(sigma, *particle)
    lower, upper = max(known), math.inf
    for gap in (rel_gap, 10 * rel_gap, 100 * rel_gap):
        upper = min(upper, euclidean_upper(sigma, lower * (1 + gap / 2)))
        if upper <= lower * (1 + gap):
            break
    return Constant(lower, upper, _THEOREM, "" if math.isfinite(upper) else "no bound was found")


def best_particle(sigma: Activation) -> tuple[float, float]:
    """A particle (w, b) whose norm over its weight is large: a local search in floats."""
    best, place = 0.0, (1.0, 0.0)
    for w in _STARTS:
        found = _ratio(sigma, w, 0.0)
        if found > best:
            best, place = found, (w, 0.0)
    step = 0.25
    while step > 1e-4:
        w, b = place
        near = [
            (w * (1 + step), b),
            (max(w / (1 + step), _NEAR), b),
            (w, b + step * w),
            (w, b - step * w),
        ]
        values = [_ratio(sigma, *p) for p in near]
        top = max(range(4), key=values.__getitem__)
        if values[top] > best * (1 + 1e-12):
            best, place = values[top], near[top]
        else:
            step /= 2
    grain = 2.0**-20
    return round(place[0] / grain) * grain, round(place[1] / grain) * grain


def _slope_at_zero(sigma: Activation) -> float:
    """``sqrt 2 |sigma'(0)|``, a limit of particles; 0 where the slope jumps."""
    plane = HalfPlane(sigma, 1.0)
    if plane.reason or any(place == 0 for place, _ in plane.atoms):
        return 0.0
    return abs(plane.slope_at_zero(-1)) * math.sqrt(2) * (1 - 2.0**-44)


def _ratio(sigma: Activation, w: float, b: float) -> float:
    found = interval_norm(sigma, 1, weight="l2", spread=w, offset=b)
    return found.lower / math.hypot(w, b)


def _lower(sigma: Activation, w: float, b: float) -> float:
    """What one particle proves: its exact norm, or the density part of it."""
    found = interval_norm(sigma, 1, weight="l2", spread=w, offset=b, level="rigorous").lower
    plane = HalfPlane(sigma, 2.0 ** math.ceil(math.log2(w + abs(b)) + 1))
    if not plane.reason:
        found = max(found, plane.density_below(w, b))
    with working_precision(_BITS):
        size = (exact(rational(w)) ** 2 + exact(rational(b)) ** 2).sqrt()
        return max(lower_float(flint.arb(found) / size), 0.0)


def euclidean_upper(sigma: Activation, goal: float) -> float:
    """An upper bound of the constant; ``goal`` guides the search only.

    Example:
        >>> 2.115 < euclidean_upper(activation("tanh"), 2.12) <= 2.12
        True
    """
    upper = math.inf
    for end in _ENDS:
        plane = HalfPlane(sigma, end)
        if plane.reason:
            return math.inf
        everywhere = plane.near_zero(math.inf)
        if everywhere <= goal:
            return everywhere
        plans = _plans(sigma, plane)
        beyond = min((_beyond(sigma, plane, plan) for plan in plans), default=math.inf)
        if beyond > goal and end != _ENDS[-1]:
            continue
        reach = _NEAR
        while plane.near_zero(2 * reach) <= goal:
            reach *= 2
        upper = max(plane.near_zero(reach), beyond)
        return max(upper, _cells(plane, plans, reach, goal)) if math.isfinite(upper) else upper
    return upper


def _plans(sigma: Activation, plane: HalfPlane) -> list[Shares]:
    """Those of the ends, of the signs of D, and of fixed plans (Theorem Shares)."""
    found = [Shares(left=1.0), Shares(right=1.0), Shares(left=0.5, right=0.5), *plane.turns()]
    with working_precision(_BITS, _SERIES):
        for start in _PLAN_STARTS:
            plan = fixed_plan(sigma, 1, start, 32 * start)
            if plan is None:
                continue
            largest = max(abs(c) for c, _, _ in plan.plan.steps)
            terms = PlanCost(plane.moments, plan.plan, 1).polynomial
            if all(x.is_finite() for x in terms) and largest < plane.end:
                line = (float(x.mid()) for x in terms)
                found.append(Shares(-largest, largest, *line))
    return found


def _beyond(sigma: Activation, plane: HalfPlane, plan: Shares) -> float:
    """The largest ratio where the interval leaves [-end, end]: ``|zeta| >= end/sqrt 2``."""
    if plan.left or plan.right:
        return math.inf
    variation, first = variation_constant(sigma, 1), absolute_moment(sigma, 1, 1)
    if not math.isfinite(first.upper):
        return math.inf
    least = plane.end / math.sqrt(2)
    skew, inner = plane.first_moments
    tail = max(first.upper - inner, 0.0)
    total = variation.upper + math.sqrt(2) * (abs(plan.slope) + _UNIT)
    total += (abs(plan.constant) + _UNIT + skew + tail) / least + plane.second_moment / (
        2 * least**2
    )
    return total * (1 + 2.0**-40)


def _cells(plane: HalfPlane, plans: list[Shares], reach: float, goal: float) -> float:
    """The largest ratio on the cells of all (left, right) in [-end, end], ``|zeta| > reach``."""
    left, right = np.array([-plane.end]), np.array([-plane.end])
    size, largest = 2 * plane.end, 0.0
    while len(left):
        bounds = plane.ratio(left, right, size, plans)
        # the corner farthest from 0: the whole cell is near 0
        far = np.hypot(
            np.maximum(np.abs(left), np.abs(left + size)),
            np.maximum(np.abs(right), np.abs(right + size)),
        )
        open_ = (bounds > goal) & (far > math.sqrt(2) * reach * (1 - 2.0**-40))
        if 4 * np.sum(open_) > _CELLS or size < reach * _SMALLEST:
            return max(largest, float(np.max(bounds)))
        closed = bounds[bounds <= goal]
        largest = max(largest, float(np.max(closed, initial=0.0)))
        size /= 2
        a, b = left[open_], right[open_]
        left = np.concatenate([a, a + size, a, a + size])
        right = np.concatenate([b, b, b + size, b + size])
        real = right + size > left
        left, right = left[real], right[real]
    return largest
