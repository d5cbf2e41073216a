"""Both bounds of the constant in the Euclidean weights from its evidence, by ball arithmetic.

THEORY.md, Theorem Euclidean weights.  The search for the evidence is in
:mod:`jaxbarron.bounds.sharp.euclidean_search`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import flint
import numpy as np

from jaxbarron.activations import Activation, repu
from jaxbarron.balls.dyadic import exact
from jaxbarron.balls.series import taylor_coefficients, working_precision
from jaxbarron.balls.suprema import lower_float
from jaxbarron.bounds.constants import Constant, absolute_moment, variation_constant
from jaxbarron.bounds.density import rational
from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_rigorous import Evidence, rigorous_bounds
from jaxbarron.bounds.sharp.euclidean_evidence import EuclideanEvidence
from jaxbarron.bounds.sharp.half_plane import HalfPlane, Shares
from jaxbarron.bounds.witnesses import find_witness

__all__ = [
    "EUCLIDEAN", "check_euclidean", "euclidean_beyond", "euclidean_lower", "euclidean_near",
    "euclidean_obstacle", "largest_on_cells", "plane_of",
]  # fmt: skip

EUCLIDEAN = "Euclidean weights"

_BITS = 128
_NEAR = 2.0**-12
_SMALLEST = 2.0**-24  # of the reach: cells are no smaller
_UNIT = 2.0**-48
_CELLS = 20_000  # at one level


def check_euclidean(sigma: Activation, evidence: EuclideanEvidence) -> Constant:
    """Both bounds, derived from the evidence alone; the upper one is inf where it proves none.

    Raises:
        UsageError: a plan whose shares do not add up (Theorem Shares).
    """
    return _checked(sigma, evidence)


@functools.lru_cache(maxsize=256)
def _checked(sigma: Activation, evidence: EuclideanEvidence) -> Constant:
    obstacle = euclidean_obstacle(sigma)
    if obstacle is not None:
        return obstacle
    plane = plane_of(sigma, evidence.end, evidence.finest, evidence.particle)
    if plane.reason:
        return Constant(0.0, math.inf, EUCLIDEAN, plane.reason)
    lower = euclidean_lower(sigma, plane, evidence.particle, evidence.moments)
    upper = plane.near_zero(math.inf)
    if upper > evidence.goal:
        plans = [plane.shares(plan) for plan in evidence.plans]
        reach, near = euclidean_near(plane, evidence.goal)
        beyond = min((euclidean_beyond(plane, p) for p in plans), default=math.inf)
        upper = max(near, beyond)
        # below a lower bound no cell would ever close; a plan that proves nothing is not asked
        good = all(math.isfinite(p.error) for p in plans)
        if good and max(upper, lower) <= evidence.goal:
            upper = max(upper, largest_on_cells(plane, plans, reach, evidence.goal))
        else:
            upper = math.inf
    return Constant(lower, upper, EUCLIDEAN, "" if math.isfinite(upper) else "no bound was found")


def plane_of(
    sigma: Activation, end: float, finest: float, particle: tuple[float, float]
) -> HalfPlane:
    """Cells up to ``end``, with panels that are fine where the particle's interval is."""
    w, b = particle
    return HalfPlane(sigma, end, finest, min(2 * (w + abs(b)), end))


def euclidean_obstacle(sigma: Activation) -> Constant | None:
    """What is known where the constant is infinite, or is not bounded; None elsewhere."""
    witness = find_witness(sigma, repu(1), 1)
    if witness is not None:
        return Constant(math.inf, math.inf, EUCLIDEAN, witness.claim)
    variation = variation_constant(sigma, 1)
    if not math.isfinite(variation.upper):
        return Constant(variation.lower, math.inf, EUCLIDEAN, variation.reason)
    value = taylor_coefficients(sigma.program, flint.arb(0), 1, _BITS)[0]
    if not value.contains(0):
        reason = "sigma(0) is not 0: small particles weigh less than their value"
        return Constant(math.inf, math.inf, EUCLIDEAN, reason)
    if not value.is_zero():
        return Constant(variation.lower, math.inf, EUCLIDEAN, "sigma(0) is not known to be 0")
    return None


def euclidean_lower(
    sigma: Activation,
    plane: HalfPlane,
    particle: tuple[float, float],
    moments: tuple[float, float],
) -> float:
    """The norm of a particle over its weight, or one of the two limits, ``A_1`` and that at 0."""
    w, b = particle
    nothing = Evidence(moments, (), (0.0,), (), (), ())
    norm = rigorous_bounds(sigma, GaugeBody(1, "l2"), w, b, nothing).lower
    with working_precision(_BITS):
        size = (exact(rational(w)) ** 2 + exact(rational(b)) ** 2).sqrt()
        found = max(lower_float(flint.arb(norm) / size), 0.0)
    return max(found, variation_constant(sigma, 1).lower, _limit_at_zero(plane, -1))


def _limit_at_zero(plane: HalfPlane, rounding: int) -> float:
    """``2^(1/2) |sigma'(0)|``, a limit of particles; 0 where the slope jumps or is not known."""
    slope = plane.slope_at_zero(-1)
    if any(place == 0 for place, _ in plane.atoms) or not math.isfinite(slope):
        return 0.0
    return abs(slope) * math.sqrt(2) * (1 + rounding * 2.0**-44)


def euclidean_near(plane: HalfPlane, goal: float) -> tuple[float, float]:
    """A reach, and the largest ratio for ``|zeta|`` up to it."""
    turned, limit = plane.turned_to_zero(), _limit_at_zero(plane, 1)
    if turned and limit <= goal:
        return turned, limit
    reach = _NEAR
    while plane.near_zero(2 * reach) <= goal and reach < plane.end / 4:
        reach *= 2
    return reach, plane.near_zero(reach)


def euclidean_beyond(plane: HalfPlane, plan: Shares) -> float:
    """The largest ratio where the interval leaves [-end, end]: ``|zeta| >= end/sqrt 2``."""
    if plan.left or plan.right or not math.isfinite(plan.error):
        return math.inf
    variation, first = variation_constant(plane.sigma, 1), absolute_moment(plane.sigma, 1, 1)
    if not math.isfinite(first.upper):
        return math.inf
    least = plane.end / math.sqrt(2)
    skew, inner = plane.first_moments
    tail = max(first.upper - inner, 0.0)
    total = variation.upper + math.sqrt(2) * (abs(plan.slope) + plan.error)
    total += (abs(plan.constant) + plan.error + skew + tail) / least + plane.second_moment / (
        2 * least**2
    )
    return total * (1 + 2.0**-40)


def largest_on_cells(
    plane: HalfPlane,
    plans: Sequence[Shares],
    reach: float,
    goal: float,
    repair: Callable[[Any, Any, float], bool] | None = None,
    used: set[int] | None = None,
) -> float:
    """The largest ratio on the cells of all (l, r) in [-end, end], ``|zeta| > reach``; or inf.

    inf where it is not proved to be at most ``goal``.

    Args:
        plane: what a cell costs.
        plans: representations to choose from for each cell.
        reach: nearer particles are left out.
        goal: cells are halved until they come below.
        repair: called with the middles and the size of the cells that stay open; where it returns
            True it has added to ``plans``, and they are looked at again.
        used: the plans that closed a cell are added.
    """
    left, right = np.array([-plane.end]), np.array([-plane.end])
    size, largest = 2 * plane.end, 0.0
    while len(left):
        bounds, which = plane.ratio(left, right, size, plans)
        # the corner farthest from 0: the whole cell is near 0
        far = np.hypot(
            np.maximum(np.abs(left), np.abs(left + size)),
            np.maximum(np.abs(right), np.abs(right + size)),
        )
        outside = far > math.sqrt(2) * reach * (1 - 2.0**-40)
        open_ = (bounds > goal) & outside
        if used is not None:
            used.update(which[~open_ & outside].tolist())
        largest = max(largest, float(np.max(bounds[~open_ & outside], initial=0.0)))
        left, right = left[open_], right[open_]
        if 4 * len(left) > _CELLS or size < reach * _SMALLEST:
            return math.inf
        if repair is not None and len(left) and repair(left + size / 2, right + size / 2, size):
            continue
        size /= 2
        left = np.concatenate([left, left + size, left, left + size])
        right = np.concatenate([right, right, right + size, right + size])
        real = right + size > left
        left, right = left[real], right[real]
    return largest
