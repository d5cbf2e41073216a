"""The search for a proof: where the supremum lies, and plans for all other reaches."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from jaxbarron.activations import Activation, activation
from jaxbarron.balls.dyadic import exact
from jaxbarron.balls.series import working_precision
from jaxbarron.bounds.density import rational
from jaxbarron.bounds.sharp.active import active_plans, norm_at
from jaxbarron.bounds.sharp.evidence import Dual, Evidence, Plan, Stage
from jaxbarron.bounds.sharp.functionals import is_in_the_body
from jaxbarron.bounds.sharp.moments import AbsoluteMoments
from jaxbarron.bounds.sharp.plans import PlanCost
from jaxbarron.bounds.sharp.programs import exceeded, fixed_plan, free_plan
from jaxbarron.bounds.sharp.proof import (
    BITS,
    SharpConstant,
    bound_beyond,
    bound_stage,
    check_evidence,
    full_moments,
    lower_of_dual,
    moments_up_to,
)
from jaxbarron.bounds.sharp.waves import is_wave
from jaxbarron.errors import UsageError

__all__ = ["sharp_constant"]

_MOST = 5
_SERIES = 24
_FIRST = 0.125
_LARGEST = 2.0**22
_FAR = 2.0**24
_TRIES = 60  # tiles for a plan that was made for another stage
_HALVINGS = 14
_NARROW = 0.13  # of the reach: wider stages than this need a plan that is followed
# right particles only, left ones only, half of each, and the Taylor kernel at 0
_PLAIN = (
    Plan(((0.0, -1.0, 1.0),)),
    Plan(((0.0, 1.0, 1.0),)),
    Plan(((0.0, -1.0, 0.5), (0.0, 1.0, 0.5))),
    Plan(((0.0, 0.0, 1.0),)),
)


def sharp_constant(
    source: str | Activation | Callable[[Any], Any],
    s: int,
    order: int | None = None,
    rel_gap: float = 1e-6,
) -> SharpConstant | None:
    """A proof of the constant of ``source`` in RePU_s, searched for; None where none was found.

    ``lower <= C <= upper``: the result is what :func:`check_evidence` derives from the evidence
    found, so that it never claims more than that proves (THEORY.md, Theorem One reach).

    Args:
        source: a name, an activation or a scalar JAX function; no RePU.
        s: the target is RePU_s, s from 1 to 5.
        order: p >= s of the weight ``(1 + rho)^p``; s by default.
        rel_gap: the relative gap aimed at, 1e-12 to 1.

    Returns:
        None where the moments of D are infinite, as for sin at order s, or where the search ends
        without a proof.

    Raises:
        UnknownActivationError: no such name.
        UsageError: s, order or rel_gap out of range.

    Example:
        >>> found = sharp_constant("silu", 1)
        >>> round(found.lower, 6), round(found.reach, 3), found.gap < 1e-6
        (1.431357, 8.871, True)
    """
    p = s if order is None else order
    whole = not any(isinstance(x, bool) or not isinstance(x, int) for x in (s, p))  # pyright: ignore[reportUnnecessaryIsInstance]
    if not (whole and 1 <= s <= _MOST and s <= p <= 16 and 1e-12 <= rel_gap <= 1):
        raise UsageError(
            f"given: s={s!r}, order={p!r}, rel_gap={rel_gap!r}; expected: s from 1 to {_MOST}, an "
            "order from s to 16, a gap from 1e-12 to 1; do: e.g. s=1, rel_gap=1e-6"
        )
    return _found(activation(source), s, p, rel_gap)


@functools.lru_cache(maxsize=512)
def _found(source: Activation, s: int, p: int, rel_gap: float) -> SharpConstant | None:
    if source.homogeneity is not None:
        return None
    settles = p == s + 1 and is_wave(source)
    if not (settles or math.isfinite(sum(full_moments(source, s)))):
        return None
    with working_precision(BITS, s + _SERIES):
        evidence = _Search(source, s, p, rel_gap).evidence()
    return None if evidence is None else check_evidence(source, s, p, evidence)


class _Search:
    def __init__(self, source: Activation, s: int, order: int, rel_gap: float) -> None:
        self.source, self.s, self.order, self.rel_gap = source, s, order, rel_gap
        self.fixed: list[Plan] = []
        self.recent: list[Plan] = []
        self.vanishing = math.inf  # a fixed plan without a polynomial exists from this reach on

    def evidence(self) -> Evidence | None:
        self._find_fixed()
        dual, lower = self._best_dual()
        if lower <= 0:
            return None
        goal = lower * (1 + self.rel_gap / 2)
        beyond = self._end(goal, lower)
        if beyond is None:
            return None
        end, plan = beyond
        moments = moments_up_to(self.source, self.s, end)
        if moments.reason:
            return None
        stages: list[Stage] = []
        edge = 0.0
        while edge < end:
            following = _FIRST if edge == 0 else min(2 * edge, end)
            found = self._cover(moments, edge, following, goal, _HALVINGS)
            if found is None:
                return None
            stages += found
            edge = following
        return Evidence(_merged(stages), plan, dual, goal)

    # ---------------------------------------------------------------- the supremum

    def _best_dual(self) -> tuple[Dual, float]:
        candidates = [Dual(0.0), Dual(math.inf)]
        best = max(candidates, key=self._lower)
        lower = self._lower(best)
        reach, value = self._peak()
        if value > lower * (1 - 1e-9):
            for dual in self._duals_at(reach):
                found = self._lower(dual)
                # a limit, or the value at 0, is preferred to a particle that only comes near
                if found > lower * (1 + 1e-13):
                    best, lower = dual, found
        return best, lower

    def _lower(self, dual: Dual) -> float:
        return lower_of_dual(self.source, self.s, self.order, dual)

    def _peak(self) -> tuple[float, float]:
        """Where density part and excess over the weight are largest, about."""
        reaches = [2.0 ** (k / 2) for k in range(-8, 21)]
        values = [self._promise(r) for r in reaches]
        top = max(range(len(values)), key=values.__getitem__)
        low, high = reaches[max(top - 1, 0)], reaches[min(top + 1, len(values) - 1)]
        # a parabola through three points, again and again, on ever smaller scales
        middle = reaches[top]
        for _ in range(14):
            width = (high - low) / 8
            left, right = max(middle - width, low), min(middle + width, high)
            a, b, c = (self._promise(x) for x in (left, middle, right))
            best = max(((a, left), (b, middle), (c, right)))[1]
            if best == middle and left < middle < right:
                ahead, behind = (c - b) / (right - middle), (b - a) / (middle - left)
                if ahead < behind:
                    best = middle + (ahead + behind) / (behind - ahead) * (right - left) / 4
            low, high = max(low, best - 2 * width), min(high, best + 2 * width)
            middle = best if low < best < high else (low + high) / 2
            if high - low < 1e-3 * middle:
                break
        if self._excess(middle) > 0:
            middle = self._refined(middle)
        reach = _short(middle)
        if top == len(values) - 1 and values[-1] > values[-2] * (1 + 1e-7):
            reach = _FAR  # it grows to a limit: a particle far out comes near it
        # the norm jumps where an atom of D comes into the interval
        beside = [abs(k.location) * (1 + 2.0**-28) for k in self.source.kinks if k.location]
        reach = max([reach, *beside], key=self._promise)
        return reach, self._promise(reach)

    def _refined(self, reach: float) -> float:
        """The peak of the exact norm near a reach; the linear programs are off by their grid."""
        low, high = reach / 1.25, reach * 1.25
        for _ in range(3):
            reaches = [low + (high - low) * k / 8 for k in range(9)]
            values = [self._exact(r) for r in reaches]
            top = max(range(9), key=values.__getitem__)
            low, high = reaches[max(top - 1, 0)], reaches[min(top + 1, 8)]
        a, b, c = (self._exact(r) for r in (low, (low + high) / 2, high))
        bend = 2 * b - a - c
        return (low + high) / 2 + (c - a) / bend * (high - low) / 4 if bend > 0 else reach

    def _exact(self, reach: float) -> float:
        found = norm_at(self.source, self.s, reach)
        return 0.0 if found is None else found.lower / (1 + reach) ** self.order

    @functools.cache  # noqa: B019
    def _promise(self, reach: float) -> float:
        return (self._density(reach) + self._excess(reach)) / (1 + reach) ** self.order

    def _density(self, reach: float) -> float:
        rho = rational(reach)
        moments = moments_up_to(self.source, self.s, 2.0**11 if reach <= 2.0**11 else 2 * _FAR)
        if moments.reason:
            return 0.0
        cost = PlanCost(moments, _PLAIN[0], self.order)
        return float(cost.density(exact(rho), moments.at(rho)).mid())

    def _excess(self, reach: float) -> float:
        if self.vanishing <= reach:
            return 0.0
        found = free_plan(self.source, self.s, reach, rounds=2)
        return 0.0 if found is None else found.excess

    def _duals_at(self, reach: float) -> list[Dual]:
        duals = [Dual(reach)]
        found = free_plan(self.source, self.s, reach, rounds=5)
        if found is not None and found.excess > 0:
            known = norm_at(self.source, self.s, reach)
            for guess in (found.moments, () if known is None else known.moments):
                moments = _into_the_body(guess, self.s) if guess else None
                if moments is not None:
                    duals.append(Dual(reach, moments))
        return duals

    # -------------------------------------------------------------- fixed plans

    def _find_fixed(self) -> None:
        """Fixed plans from growing reaches on, up to one whose polynomial vanishes."""
        start = _FIRST
        while start <= 128:
            if self._try_fixed(start):
                break
            start *= 2**0.5
        low, high = start / 2**0.5, start
        for _ in range(5 if high <= 128 else 0):
            middle = (low + high) / 2
            low, high = (low, middle) if self._try_fixed(middle) else (middle, high)
        # those from the largest reach on first: they cost least, where they hold
        self.fixed.sort(key=lambda plan: -max(abs(c) for c, _, _ in plan.steps))

    def _try_fixed(self, start: float) -> bool:
        start = math.floor(start * 256) / 256
        for factor in (2, 32):
            found = fixed_plan(self.source, self.s, start, factor * start)
            if found is None:
                continue
            if found.excess < 1e-9 * (1 + factor * start) ** self.s:
                self.fixed.append(found.plan)
                self.vanishing = min(self.vanishing, start)
                return True
            self.fixed.append(found.plan)
        return False

    def _end(self, goal: float, lower: float) -> tuple[float, Plan] | None:
        """Where the last stage may end, and a plan for all beyond."""
        end = 4.0
        while end <= _LARGEST:
            moments = moments_up_to(self.source, self.s, end)
            if moments.reason:
                return None
            for plan in self.fixed or _PLAIN[3:]:
                found = bound_beyond(self.source, moments, plan, self.order, end, lower)
                if found <= goal:
                    return end, plan
            end *= 2
        return None

    # -------------------------------------------------------------------- stages

    def _cover(
        self, moments: AbsoluteMoments, start: float, end: float, goal: float, left: int
    ) -> list[Stage] | None:
        usable = [plan for plan in self.fixed if plan.holds_on(start, end)][:3] + list(_PLAIN)
        for plan in dict.fromkeys([*usable, *self.recent[:3]]):
            if self._proves(moments, plan, start, end, goal, _TRIES):
                self.recent = [plan, *(p for p in self.recent if p != plan)]
                return [Stage(start, end, plan)]
        middle = (start + end) / 2
        for rounds in (2, 4):
            found = free_plan(self.source, self.s, middle, rounds=rounds)
            if found is None:
                break
            value = (self._density(middle) + found.excess) / (1 + middle) ** self.order
            if value > goal:
                continue
            if self._proves(moments, found.plan, start, end, goal, _TRIES):
                self.recent.insert(0, found.plan)
                return [Stage(start, end, found.plan)]
            break
        plan = self._cheapest_active(moments, start, end, goal)
        if plan is not None and self._proves(moments, plan, start, end, goal, _TRIES):
            return [Stage(start, end, plan)]
        if left == 0:
            return None
        first = self._cover(moments, start, middle, goal, left - 1)
        if first is None:
            return None
        second = self._cover(moments, middle, end, goal, left - 1)
        return None if second is None else first + second

    def _cheapest_active(
        self, moments: AbsoluteMoments, start: float, end: float, goal: float
    ) -> Plan | None:
        """The plan of the exact norm before the start that costs least, if little enough.

        Before it: so that what moves on the stage has moved in one direction only.
        """
        if end > start * (1 + _NARROW) or self.vanishing <= start:
            return None
        best, least = None, goal
        for plan in active_plans(self.source, self.s, start - (end - start) / 2, end):
            if not plan.holds_on(start, end):
                continue
            cost = PlanCost(moments, plan, self.order)
            most = max(float(cost.ratio(rational(r)).mid()) for r in (start, end))
            if most < least:
                best, least = plan, most
        return best

    def _proves(
        self, moments: AbsoluteMoments, plan: Plan, start: float, end: float, goal: float,
        tiles: int,
    ) -> bool:  # fmt: skip
        if not plan.holds_on(start, end):
            return False
        cost = PlanCost(moments, plan, self.order)
        return math.isfinite(bound_stage(cost, start, end, goal, tiles))


def _merged(stages: list[Stage]) -> tuple[Stage, ...]:
    result: list[Stage] = []
    for stage in stages:
        if result and result[-1].plan == stage.plan:
            result[-1] = Stage(result[-1].start, stage.end, stage.plan)
        else:
            result.append(stage)
    return tuple(result)


def _short(value: float) -> float:
    """Nearly the same number with 30 bits."""
    grain = 2.0 ** (math.floor(math.log2(value)) - 30)
    return round(value / grain) * grain


def _into_the_body(moments: tuple[float, ...], s: int) -> tuple[float, ...] | None:
    """Scaled a little more at each try, until it is proved to lie in the body."""
    largest, shrink = max(1.0, exceeded(moments, s)[1]), 2.0**-32
    for _ in range(20):
        scaled = tuple(m / largest * (1 - shrink) for m in moments)
        if is_in_the_body(scaled, s):
            return scaled
        shrink *= 2
    return None
