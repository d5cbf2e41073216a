"""The proof of a sharp constant from its evidence, by ball arithmetic alone.

Every stage is cut into tiles of the reach; on a tile the ratio of cost and weight is bounded by its
value at an end, by its slope, or, for a fixed plan, by a Bernstein form (THEORY.md, Theorem One
reach, Theorem Shares).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Literal

import flint

from jaxbarron.activations import Activation
from jaxbarron.balls.dyadic import exact, floor_log2, power_of_two
from jaxbarron.balls.series import local_series, working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.bounds.constants import absolute_moment, variation_constant
from jaxbarron.bounds.density import rational
from jaxbarron.bounds.mean_kernels import largest_of_bernstein
from jaxbarron.bounds.sharp.evidence import Dual, Evidence, Plan
from jaxbarron.bounds.sharp.functionals import excess_from_moments, is_in_the_body
from jaxbarron.bounds.sharp.moments import AbsoluteMoments
from jaxbarron.bounds.sharp.plans import PlanCost
from jaxbarron.bounds.sharp.waves import is_wave, settled_from, wave_limit

__all__ = [
    "BITS", "SharpConstant", "bound_beyond", "bound_stage", "check_evidence", "full_moments",
    "lower_of_dual", "moments_up_to",
]  # fmt: skip

BITS = 128
_SERIES = 24
_TILES = 4000
_SMALLEST = 2.0**-44
_RIGHT = Plan(((0.0, -1.0, 1.0),))  # right particles only


@dataclass(frozen=True)
class SharpConstant:
    """``lower <= C <= upper`` for the constant of ``source`` in RePU_s at order p.

    Attributes:
        source: sigma.
        s: the target is RePU_s.
        order: p, of the weight ``(1 + rho)^p``.
        lower: rounded down.
        upper: rounded up.
        reach: where the lower bound is attained, on particles with w = reach and b = 0; inf: in
            the limit.
        evidence: what both bounds are derived from.
        theorem: of THEORY.md.
        level: ball arithmetic.
    """

    source: Activation
    s: int
    order: int
    lower: float
    upper: float
    evidence: Evidence
    theorem: str = "Theorem One reach"
    level: Literal["rigorous"] = "rigorous"

    @property
    def reach(self) -> float:
        """The reach of the particles, w = reach and b = 0, at which the lower bound is found."""
        return self.evidence.dual.reach

    @property
    def gap(self) -> float:
        """``upper / lower - 1``."""
        return self.upper / self.lower - 1 if self.lower > 0 else math.inf


def check_evidence(source: Activation, s: int, order: int, evidence: Evidence) -> SharpConstant:
    """Both bounds, derived from the evidence alone; upper is inf where it proves none.

    Raises:
        UsageError: a plan whose shares do not add up.
    """
    return _checked(source, s, order, evidence)


@functools.lru_cache(maxsize=512)
def _checked(source: Activation, s: int, order: int, evidence: Evidence) -> SharpConstant:
    if order < s or s < 1 or source.homogeneity is not None:
        return SharpConstant(source, s, order, 0.0, math.inf, evidence)
    lower = lower_of_dual(source, s, order, evidence.dual)
    with working_precision(BITS, s + _SERIES):
        upper = _upper(source, s, order, evidence, lower)
    return SharpConstant(source, s, order, lower, upper, evidence)


def _upper(source: Activation, s: int, order: int, evidence: Evidence, lower: float) -> float:
    before = 0.0
    for stage in evidence.stages:
        if stage.start != before or not stage.start < stage.end < math.inf:
            return math.inf
        before = stage.end
    moments = moments_up_to(source, s, evidence.end)
    if moments.reason:
        return math.inf
    upper = bound_beyond(source, moments, evidence.beyond, order, evidence.end, lower)
    goal = max(evidence.goal, upper)
    for stage in evidence.stages:
        if not math.isfinite(upper):
            break
        cost = PlanCost(moments, stage.plan, order)
        found = bound_stage(cost, stage.start, stage.end, goal)
        upper = max(upper, found)
    return upper


@functools.lru_cache(maxsize=64)
def moments_up_to(source: Activation, s: int, end: float) -> AbsoluteMoments:
    """:class:`AbsoluteMoments`, isolated once; call it at the precision of the proof."""
    return AbsoluteMoments(source, s, end)


@functools.lru_cache(maxsize=512)
def full_moments(source: Activation, s: int) -> tuple[float, ...]:
    """Upper bounds of the moments over all of R."""
    return tuple(absolute_moment(source, s, k).upper for k in range(s + 1))


# ------------------------------------------------------------------------ the upper bound


def bound_beyond(
    source: Activation,
    moments: AbsoluteMoments,
    plan: Plan,
    order: int,
    end: float,
    known: float = 0.0,
) -> float:
    """The largest ratio for all reaches from ``end`` on, with all of D and a fixed plan.

    From one integral over R where that stays below ``known``, a lower bound of the constant, so
    that nothing is lost; from s + 1 of them otherwise.
    """
    if order == moments.s + 1 and is_wave(source):
        settled = exact(rational(end)) >= settled_from(moments.s)
        return upper_float(wave_limit(moments.s)) if settled else math.inf
    if not plan.holds_on(end, math.inf):
        return math.inf
    cost, s, start = PlanCost(moments, plan, order), moments.s, rational(end)
    top = absolute_moment(source, s, s).upper
    if not math.isfinite(top):
        return math.inf
    inner = moments.at(start, after=True)
    tail = (flint.arb(top) - inner[s]).max(flint.arb(0))  # int |t|^s |D|/s! over |t| > end
    rows = cost.bernstein([m + tail / exact(start) ** (s - k) for k, m in enumerate(inner)])
    rough = _through_weight(rows, start, None, order - s)
    if rough <= known:
        return rough
    whole = full_moments(source, s)
    if not math.isfinite(sum(whole)):
        return math.inf
    rows = cost.bernstein([flint.arb(m) for m in whole])
    return min(rough, _through_weight(rows, start, None, order - s))


def bound_stage(
    cost: PlanCost, start: float, end: float, goal: float, tiles: int = _TILES
) -> float:
    """The largest ratio on reaches from start to end; inf where it is not proved to be <= goal.

    ``goal`` guides the search only: what is returned is a bound.
    """
    if not cost.plan.holds_on(start, end):
        return math.inf
    largest, looks = 0.0, 0
    stack = _cover(rational(start), rational(end))[::-1]
    while stack:
        low, high = stack.pop()
        looks += 1
        found = _bound_tile(cost, low, high, goal)
        if found <= goal:
            largest = max(largest, found)
            continue
        middle = (low + high) / 2
        hopeless = cost.ratio(middle) > goal
        if hopeless or looks > tiles or high - low < rational(_SMALLEST) * (1 + high):
            return math.inf
        stack += [(middle, high), (low, middle)]
    return largest


def _cover(start: Any, end: Any) -> list[tuple[Any, Any]]:
    """Dyadic tiles of power-of-two width: their balls end exactly where they do."""
    tiles: list[tuple[Any, Any]] = []
    while start < end:
        width = power_of_two(floor_log2(end - start))
        if start > 0:
            # a multiple of its own width
            width = min(width, power_of_two(_trailing(start)))
        tiles.append((start, start + width))
        start = start + width
    return tiles


def _trailing(value: Any) -> int:
    """The largest n for which a dyadic rational > 0 is a multiple of 2**n."""
    p, q = int(value.p), int(value.q)
    return (p & -p).bit_length() - q.bit_length()


def _bound_tile(cost: PlanCost, low: Any, high: Any, goal: float) -> float:
    # The norm grows with the reach, so the cost at the far end serves the whole tile.
    plain = upper_float(cost.value(high) / (1 + exact(low)) ** cost.order)
    if plain <= goal:
        return plain
    slope = cost.slope(low, high)
    if slope <= 0:
        best = upper_float(cost.ratio(low, after=True))
    elif slope >= 0:
        best = upper_float(cost.ratio(high))
    else:
        middle, radius = (low + high) / 2, exact((high - low) / 2)
        best = upper_float(cost.ratio(middle).abs_upper() + abs(slope).abs_upper() * radius)
    best = min(best, plain)
    if best <= goal or not cost.plan.is_fixed:
        return best
    rows = cost.bernstein(cost.moments.at(high))
    return min(best, _through_weight(rows, low, high, cost.order - cost.s))


def _through_weight(rows: list[Any], low: Any, high: Any, extra: int) -> float:
    """The largest of a Bernstein form in rho/(1 + rho), over a further (1 + rho)^extra."""
    if not all(row.is_finite() for row in rows):
        return math.inf
    span = low / (1 + low), flint.fmpq(1) if high is None else high / (1 + high)
    top = largest_of_bernstein(rows, span)
    return upper_float(flint.arb(top) / (1 + exact(low)) ** extra) if extra else top


# ------------------------------------------------------------------------ the lower bound


@functools.lru_cache(maxsize=512)
def lower_of_dual(source: Activation, s: int, order: int, dual: Dual) -> float:
    """The lower bound that a functional proves; 0 where it proves none."""
    if dual.reach == math.inf and order == s + 1 and is_wave(source):
        with working_precision(BITS):
            return _down(wave_limit(s))
    if dual.reach == math.inf:
        found = variation_constant(source, s).lower if order == s else 0.0
        return found if math.isfinite(found) else 0.0
    if not dual.reach >= 0:
        return 0.0
    with working_precision(BITS, s + _SERIES):
        if dual.reach == 0:
            zero = flint.arb(0)
            series = local_series(source.program, flint.arb_series([zero, 1], prec=2), zero)
            return _down(abs(series.coefficients[0]))
        rho = rational(dual.reach)
        end = 2.0 ** math.ceil(math.log2(dual.reach) + 1)
        moments = moments_up_to(source, s, end)
        if moments.reason:
            return 0.0
        total = PlanCost(moments, _RIGHT, order).density(exact(rho), moments.at(rho))
        if dual.moments:
            if not is_in_the_body(dual.moments, s):
                return 0.0
            total += excess_from_moments(moments, rho, dual.moments)
        return _down(total / (1 + exact(rho)) ** order)


def _down(ball: Any) -> float:
    if not ball.is_finite():
        return 0.0
    end = ball.lower()
    value = float(end)
    if flint.arb(value) > end:
        value = math.nextafter(value, -math.inf)
    return max(value, 0.0)
