"""What each theorem against an embedding derives: the gap, the bound on particles, the growth.

A rule ``by_...`` takes sigma, tau, the weight's order p, the functional's order m and a location,
and gives :class:`Evidence`, or the reason why its theorem says nothing there.  Its companion lists
the (m, location) that are worth a try.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import flint

from jaxbarron.activations import Activation
from jaxbarron.balls.envelopes import HalfLine, Unknown
from jaxbarron.balls.series import local_series
from jaxbarron.balls.suprema import lower_float, upper_float
from jaxbarron.balls.tails import linear_argument, tail_jet
from jaxbarron.bounds.lines import tail_line
from jaxbarron.bounds.regularity import (
    derivative_bound,
    jump,
    jump_orders,
    modulus_bound,
    variation_bound,
)
from jaxbarron.programs import Operation, Program, Register

__all__ = [
    "HIGHEST",
    "Evidence",
    "by_difference",
    "by_jump",
    "by_polynomial",
    "by_scaling",
    "by_smoothness",
    "by_value",
    "by_variation",
    "difference_candidates",
    "kinks_above",
    "kinks_at",
    "polynomial_candidates",
    "slope_candidates",
    "value_candidates",
    "variation_candidates",
]

HIGHEST = 10  # order of a derivative; the tail calculus goes no further
_SPACING = flint.fmpq(1, 2)  # of the nodes in z = w x + b of Theorem Difference witness
_CENTRES = (0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 4.0, -4.0)


@dataclass(frozen=True)
class Evidence:
    """Proved numbers: ``gap`` and ``ratio`` from below, ``atom_bound`` from above."""

    gap: float
    atom_bound: float
    ratio: Callable[[float, float], float]  # (h, w or |b|; atom bound) -> lower bound


def _weight(sigma: Activation, order: int, spread: Any, centre: Any) -> Any:
    """V_sigma(w, b) on [-1, 1]."""
    reach = abs(spread) + abs(centre)
    return (1 + reach) ** order if sigma.homogeneity is None else reach**sigma.homogeneity


def _value(program: Program, point: Any) -> Any:
    ball = flint.arb(point)
    return local_series(program, flint.arb_series([ball, 1], prec=2), ball).coefficients[0]


def _divided_difference(program: Program, centre: float, step: Any, m: int) -> Any:
    """``[z_0, ..., z_m] sigma`` at ``z_i = centre + (i - m/2) step``."""
    middle, total = _rational(centre), flint.arb(0)
    for i in range(m + 1):
        point = middle + (flint.fmpq(i) - flint.fmpq(m, 2)) * step
        total += (-1) ** (m - i) * math.comb(m, i) * _value(program, point)
    return total / (math.factorial(m) * flint.arb(step) ** m)


def _rational(x: float) -> Any:
    return flint.fmpq(*x.as_integer_ratio())


def _difference_bound(tau: Activation, order: int, m: int) -> float:
    """``|[x_0, ..., x_m] tau(w x + b)| <= bound * V_tau(w, b)`` on [-1, 1]; inf if unknown."""
    t = tau.homogeneity
    if t is not None:
        return float(math.comb(t, m)) if m <= t else math.inf
    if m == 0:
        return modulus_bound(tau) if order == 0 else _linear_bound(tau)
    bound = derivative_bound(tau, m, continuous=False)
    if bound == 0.0 or (m <= order and bound < math.inf):
        return upper_float(flint.arb(bound) / math.factorial(m))
    return math.inf


def _linear_bound(tau: Activation) -> float:
    """``|tau(z)| <= bound * (1 + |z|)``."""
    steepest = derivative_bound(tau, 1, continuous=False)
    return min(max(upper_float(_value(tau.program, 0)), steepest), modulus_bound(tau))


# --------------------------------------------------- Theorem Jump witness, Smoothness witness


def kinks_above(source: Activation, target: Activation, order: int) -> Iterator[tuple[int, float]]:
    """Differences of the order above that of each kink of sigma."""
    return ((j + 1, location) for location, j in jump_orders(source) if j < HIGHEST)


def kinks_at(source: Activation, target: Activation, order: int) -> Iterator[tuple[int, float]]:
    """Derivatives of the order of each kink of sigma."""
    return ((j, location) for location, j in jump_orders(source) if j <= HIGHEST)


def _proved_jump(source: Activation, location: float, order: int) -> float:
    if not math.isfinite(location):
        return 0.0
    found = jump(source.program, location, order)
    return 0.0 if found is None else lower_float(found)


def by_jump(
    source: Activation, target: Activation, order: int, m: int, location: float
) -> Evidence | str:
    """Theorem Jump witness."""
    if m < 1:
        return "a jump needs a difference of order 1 or more"
    gap = _proved_jump(source, location, m - 1)
    if not gap > 0:
        return f"no jump of order {m - 1} is proved at {location}"
    bound = _difference_bound(target, order, m)
    if not 0 < bound < math.inf:
        return f"differences of order {m} are not proved bounded on {target.name}"
    weight = _weight(source, order, flint.arb(1), flint.arb(location))

    def ratio(h: float, bound: float) -> float:
        if not 0 < h * m <= 2:  # the nodes lie in [-1, 1]
            return -math.inf
        difference = _divided_difference(source.program, location, _rational(h), m)
        return lower_float(difference / (flint.arb(bound) * weight))

    return Evidence(gap, bound, ratio)


def by_smoothness(
    source: Activation, target: Activation, order: int, m: int, location: float
) -> Evidence | str:
    """Theorem Smoothness witness."""
    gap = _proved_jump(source, location, m)
    if not gap > 0:
        return f"no jump of order {m} is proved at {location}"
    bound = derivative_bound(target, m, continuous=True) if m else modulus_bound(target)
    if m > order or target.homogeneity is not None or not bound < math.inf:
        return f"the functions of {target.name} are not proved to be smooth of order {m}"
    if m == 0 and derivative_bound(target, 0, continuous=True) == math.inf:
        return f"{target.name} is not proved to be continuous"
    return Evidence(gap, bound, lambda _, __: -math.inf)


def slope_candidates(
    source: Activation, target: Activation, order: int
) -> Iterator[tuple[int, float]]:
    """Sources of order 1 that tend to different slopes."""
    if order == 1 and source.homogeneity is None and target.homogeneity is None:
        yield 1, 0.0


def by_scaling(
    source: Activation, target: Activation, order: int, m: int, location: float
) -> Evidence | str:
    """Theorem Scaling witness."""
    if (order, m, location) != (1, 1, 0.0) or source.homogeneity is not None:
        return "the scaling witness is about sources other than RePU at order 1"
    lines = tail_line(source, -1), tail_line(source, 1)
    if lines[0] is None or lines[1] is None:
        return f"{source.name} is not proved to tend to lines"
    gap = lower_float(lines[1][1] - lines[0][1])
    if not gap > 0:
        return f"the slopes of {source.name} at both infinities are not proved to differ"
    if target.homogeneity is not None or not modulus_bound(target) < math.inf:
        return f"{target.name} is not proved to be bounded"
    bound = derivative_bound(target, 1, continuous=True)
    if not bound < math.inf:
        return f"the functions of {target.name} are not proved to be smooth of order 1"
    return Evidence(gap, bound, lambda _, __: -math.inf)


def polynomial_candidates(
    source: Activation, target: Activation, order: int
) -> Iterator[tuple[int, float]]:
    """The lowest derivative of tau that vanishes, about several centres."""
    if target.homogeneity is None:
        for m in range(1, 5):
            if derivative_bound(target, m, continuous=False) == 0.0:
                return ((m, b) for b in _centres(source))
    return iter(())


def _centres(source: Activation) -> tuple[float, ...]:
    return tuple(dict.fromkeys([*(at for at, _ in jump_orders(source)), *_CENTRES]))


def by_polynomial(
    source: Activation, target: Activation, order: int, m: int, location: float
) -> Evidence | str:
    """Theorem Polynomial target."""
    found = by_difference(source, target, order, m, location)
    if isinstance(found, Evidence) and found.atom_bound != 0:
        return f"{target.name} is not proved to be a polynomial of degree below {m}"
    return found


def difference_candidates(
    source: Activation, target: Activation, order: int
) -> Iterator[tuple[int, float]]:
    """Differences of RePU_t of the order above that of the weight, about several centres."""
    t = target.homogeneity
    if t is None or t <= order or source.homogeneity is not None:
        return iter(())
    return ((order + 1, b) for b in _centres(source))


def by_difference(
    source: Activation, target: Activation, order: int, m: int, location: float
) -> Evidence | str:
    """Theorem Difference witness."""
    if m < 1 or not math.isfinite(location):
        return "a divided difference needs an order of 1 or more and a finite centre"
    bound = _difference_bound(target, order, m)
    power = source.homogeneity if source.homogeneity is not None else order
    if bound == math.inf or (m <= power and bound != 0):
        return f"differences of order {m} do not outgrow the weight of {source.name}"
    difference = _divided_difference(source.program, location, _SPACING, m)
    gap = lower_float(difference)
    if not gap > 0:
        return f"no divided difference of order {m} is proved nonzero at {location}"

    def ratio(w: float, bound: float) -> float:
        if not m / 4 <= w < math.inf:  # the nodes lie in [b - w, b + w]
            return -math.inf
        if bound == 0:
            return math.inf
        spread = flint.arb(w)
        weight = _weight(source, order, spread, flint.arb(location))
        return lower_float(spread**m * difference / (flint.arb(bound) * weight))

    return Evidence(gap, bound, ratio)


def value_candidates(
    source: Activation, target: Activation, order: int
) -> Iterator[tuple[int, float]]:
    """Both infinities."""
    return iter(()) if source.homogeneity is not None else iter(((0, math.inf), (0, -math.inf)))


def by_value(
    source: Activation, target: Activation, order: int, m: int, location: float
) -> Evidence | str:
    """Theorem Value witness."""
    if m != 0 or not math.isinf(location) or source.homogeneity is not None:
        return "values are functionals of order 0, towards an infinity"
    side = 1 if location > 0 else -1
    gap = _leading_coefficient(source.program, side, order)
    if not gap > 0:
        return f"{source.name} is not proved to outgrow its weight of order {order}"
    bound = _difference_bound(target, order, 0)
    if not 0 < bound < math.inf:
        return f"values of {target.name} are not proved to stay below its weight"

    def ratio(b: float, bound: float) -> float:
        if not 0 < b < math.inf:
            return -math.inf
        centre = flint.arb(side * b)
        weight = _weight(source, order, flint.arb(0), centre)
        return lower_float(_value(source.program, side * b) / (flint.arb(bound) * weight))

    return Evidence(gap, bound, ratio)


@functools.cache
def _leading_coefficient(program: Program, side: int, above: int) -> float:
    """A lower bound of |c| if ``sigma(z) = c z^n + ...``, n > above, on that side; else 0."""
    for k in (2, 5, 8):
        half = HalfLine(flint.fmpq(2**k))
        tail = tail_jet(program, half, linear_argument(half, side, 1, 0, 0))
        if isinstance(tail, Unknown) or not half.bound(tail[0].envelope).is_finite():
            continue
        if tail[0].degree > above:
            return lower_float(flint.arb(tail[0].coefficients[-1]))
    return 0.0


_WAVES = tuple(Program((Operation(name, (Register(0),)),), Register(1)) for name in ("sin", "cos"))


def variation_candidates(
    source: Activation, target: Activation, order: int
) -> Iterator[tuple[int, float]]:
    """The one order at which the variation of a wave outgrows its weight."""
    t = target.homogeneity
    return iter([(order if t is None else t, 0.0)] if _is_wave(source) else [])


def _is_wave(source: Activation) -> bool:
    return source.homogeneity is None and source.program in _WAVES


def by_variation(
    source: Activation, target: Activation, order: int, m: int, location: float
) -> Evidence | str:
    """Theorem Variation witness."""
    if not _is_wave(source) or location != 0:
        return "infinite variation is proved for sin and cos alone, about 0"
    t = target.homogeneity
    if order > m or m != (order if t is None else t):
        return f"the variation of order {m} does not outgrow the weight of order {order}"
    bound = float(math.factorial(t)) if t is not None else variation_bound(target, m)
    if not 0 < bound < math.inf:
        return f"the derivative of order {m} of {target.name} has no variation proved finite"
    # Over each period of length 2 pi a derivative of sin or cos goes from -1 to 1 and back.
    gap = 4.0

    def ratio(w: float, bound: float) -> float:
        if not 4 <= w < math.inf:
            return -math.inf
        periods = (flint.arb(w) / flint.arb.pi()).floor().lower()
        weight = _weight(source, order, flint.arb(w), flint.arb(0))
        return lower_float(flint.arb(w) ** m * gap * periods / (flint.arb(bound) * weight))

    return Evidence(gap, bound, ratio)
