"""How smooth an activation is on all of R, and how large its derivatives are: upper bounds.

Between declared kinks a cover of the line by tiles on which the ball series is smooth, with every
joint of two tiles looked at from both sides; beyond it the tail calculus (THEORY.md, Theorem
Certified regularity).  A kink that nobody declared makes every answer here infinite.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import flint

from jaxbarron.activations import Activation
from jaxbarron.balls.envelopes import Envelope, HalfLine, Unknown
from jaxbarron.balls.series import LocalSeries, local_series, working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.balls.tails import linear_argument, tail_jet
from jaxbarron.bounds.kernel_error import kernel_error
from jaxbarron.programs import Program

__all__ = ["derivative_bound", "jump", "jump_orders", "modulus_bound", "variation_bound"]

_BITS = 192
_KNOWN = 4  # a Kink lists the jumps of the orders 0, ..., 3
_FARTHEST = 10  # the tail starts at 2**10 times the scale of the kinks at most
_SMALLEST = -30  # tiles are not halved below 2**_SMALLEST
_BESIDE = -64  # exponent of the radius of the tiles on both sides of a kink
_OCTAVES = 6  # a variation is summed up to 2**6 at least, in pieces of 2**4 tiles or more


def jump_orders(sigma: Activation) -> tuple[tuple[float, int], ...]:
    """(location, order of the lowest derivative that jumps) of each declared kink."""
    if sigma.homogeneity is not None:
        return ((0.0, sigma.homogeneity),)
    found = ((k.location, [j for j, jump in enumerate(k.jumps) if jump]) for k in sigma.kinks)
    return tuple((location, orders[0]) for location, orders in found if orders)


@functools.cache
def jump(program: Program, location: float, order: int) -> Any:
    """A ball that holds ``f^(order)(location + 0) - f^(order)(location - 0)``; None if unknown.

    Both derivatives are enclosed over short tiles flush with the location.
    """
    with working_precision(_BITS, order + 2):
        exponent = max(math.frexp(location)[1], 0) + _BESIDE
        sides: list[Any] = []
        for side in (1, -1):
            middle = flint.fmpq(*location.as_integer_ratio()) + side * _power_of_two(exponent)
            found = _on_tile(program, middle, exponent, order + 1)
            if not found.smooth or not found.coefficients[order].is_finite():
                return None
            sides.append(found.coefficients[order] * math.factorial(order))
        return sides[0] - sides[1]


def modulus_bound(tau: Activation) -> float:
    """An upper bound of ``sup |tau|`` on R; inf if there is none."""
    return _supremum(tau.program, _locations(tau), 0)


def derivative_bound(tau: Activation, order: int, *, continuous: bool) -> float:
    """An upper bound of ``sup |tau^(order)|`` if tau is as smooth as is asked; else inf.

    Theorem Certified regularity.

    Args:
        tau: the function; not RePU_s, whose derivatives are known.
        order: m >= 0.
        continuous: ask that tau^(m) be continuous on R; otherwise that tau^(m-1) be, with
            ``|tau^(m)|`` bounded where it exists: tau^(m-1) is then a Lipschitz function.
    """
    if not _is_continuous(tau, order + 1 if continuous else order):
        return math.inf
    if not _is_smooth(tau.program, _locations(tau), order):
        return math.inf
    return _supremum(tau.program, _locations(tau), order) if order else 0.0


def variation_bound(tau: Activation, order: int) -> float:
    """An upper bound of the total variation of ``tau^(order)`` on R; inf if none is proved.

    Theorem Certified regularity: the integral of ``|tau^(order + 1)|`` over tiles and tails, and
    the jumps of tau^(order) at the declared kinks.
    """
    if not _is_continuous(tau, order) or (tau.kinks and order >= _KNOWN):
        return math.inf
    places = _locations(tau)
    start = _smooth_core(tau.program, places, order + 1)
    if start is None:
        return math.inf
    total = flint.arb(0)
    for place in places:
        total += abs(jump(tau.program, place, order))
    octaves = [_power_of_two(k) for k in range(_OCTAVES + 1)]
    start = max(start, octaves[-1])
    with working_precision(_BITS, order + 4):
        cuts = {side * cut for side in (-1, 1) for cut in (*octaves, start)}
        for a, b in itertools.pairwise(sorted(cuts | set(map(_rational, places)))):
            total += _variation_between(tau.program, a, b, order + 1)
        for side in (-1, 1):
            total += _variation_beyond(tau.program, start, side, order + 1)
        return upper_float(total)


# ------------------------------------------------------------------------- kinks


def _locations(tau: Activation) -> tuple[float, ...]:
    return tuple(k.location for k in tau.kinks)


def _is_continuous(tau: Activation, count: int) -> bool:
    """Whether the derivatives of orders below ``count`` are continuous at the declared kinks.

    Zero jumps are facts of the activation; the balls must agree to the last bits.
    """
    if tau.homogeneity is not None or (tau.kinks and count > _KNOWN):
        return False
    for kink in tau.kinks:
        for order in range(count):
            found = jump(tau.program, kink.location, order)
            if kink.jumps[order] or found is None or not found.contains(0):
                return False
    return True


@functools.cache
def _supremum(program: Program, kinks: tuple[float, ...], order: int) -> float:
    # The error of the kernel without particles: a RePU spline that is zero.
    found = kernel_error(
        program, program, [0.0], [1.0], [0.0],
        derivative=order, target_homogeneity=order + 1, splits=kinks,
    )  # fmt: skip
    return found.upper


# ----------------------------------------------------------------- smooth between kinks


def _is_smooth(program: Program, kinks: tuple[float, ...], order: int) -> bool:
    return _smooth_core(program, kinks, order) is not None


@functools.cache
def _smooth_core(program: Program, kinks: tuple[float, ...], order: int) -> Any:
    """T such that f is analytic on R but for the kinks, with a tail known beyond T; else None."""
    with working_precision(_BITS, order + 8):
        first = max([0, *(math.frexp(k)[1] for k in kinks)]) + 1
        for exponent in range(first, first + _FARTHEST):
            start = _power_of_two(exponent)
            if all(_tail(program, start, side, order) is not None for side in (-1, 1)):
                break
        else:
            return None
        cuts = sorted({-start, *map(_rational, kinks), start})
        whole = all(_covered(program, a, b, order + 1) for a, b in itertools.pairwise(cuts))
        joined = all(_is_smooth_beside(program, end, 0, order + 1) for end in (cuts[0], cuts[-1]))
        return start if whole and joined else None


def _tail(program: Program, start: Any, side: int, order: int) -> Any:
    half = HalfLine(start)
    found = tail_jet(program, half, linear_argument(half, side, 1, 0, order))
    return None if isinstance(found, Unknown) else found[order]


def _covered(program: Program, start: Any, end: Any, length: int) -> bool:
    """Whether f is analytic on [start, end], one-sidedly at these ends, which are dyadic."""
    exponent = _floor_log2(end - start) - 1
    radius = _power_of_two(exponent)
    middles = {start + radius, end - radius}  # one or two tiles, flush, that overlap if two
    return all(_tile_is_smooth(program, middle, exponent, length) for middle in middles)


def _tile_is_smooth(program: Program, middle: Any, exponent: int, length: int) -> bool:
    if _is_analytic(_on_tile(program, middle, exponent, length)):
        return True
    # A kink at the joint of two tiles is invisible to both: the joint needs a tile of its own.
    if exponent <= _SMALLEST or not _is_smooth_beside(program, middle, exponent, length):
        return False
    half = _power_of_two(exponent - 1)
    return all(
        _tile_is_smooth(program, middle + side * half, exponent - 1, length) for side in (-1, 1)
    )


def _is_smooth_beside(program: Program, middle: Any, exponent: int, length: int) -> bool:
    return _is_analytic(_on_tile(program, middle, exponent + _SMALLEST, length))


def _is_analytic(found: LocalSeries) -> bool:
    return found.smooth and all(c.is_finite() for c in found.coefficients)


def _at_point(program: Program, middle: Any, length: int) -> LocalSeries:
    ball = flint.arb((middle.p, 1 - int(middle.q).bit_length()))
    return local_series(program, flint.arb_series([ball, 1], prec=max(length, 2)), ball)


def _on_tile(program: Program, middle: Any, exponent: int, length: int) -> LocalSeries:
    ball = flint.arb((middle.p, 1 - int(middle.q).bit_length()), (1, exponent))
    return local_series(program, flint.arb_series([ball, 1], prec=max(length, 2)), ball)


# --------------------------------------------------------------------- variation


def _variation_between(program: Program, start: Any, end: Any, order: int) -> Any:
    """An upper bound of the integral of ``|D|``, ``D = f^(order)``, between two kinks.

    On a tile of midpoint m and radius r it is at most ``2 r |D(m)| + r^2 sup |D'|``.
    """
    total = flint.arb(0)
    exponent = _floor_log2(end - start) - 5
    radius = _power_of_two(exponent)
    width = flint.arb(radius)
    middle = start + radius
    while True:
        last = middle + radius >= end
        place = end - radius if last else middle  # flush with the end, over its neighbour
        steepest = _on_tile(program, place, exponent, order + 2).coefficients[order + 1]
        value = _at_point(program, place, order + 1).coefficients[order]
        total += 2 * width * abs(value) + (order + 1) * width**2 * abs(steepest)
        if last:
            return total * math.factorial(order)
        middle += 2 * radius


def _variation_beyond(program: Program, start: Any, side: int, order: int) -> Any:
    """An upper bound of the integral of ``|f^(order)|`` over ``side * z >= start``."""
    tail = _tail(program, start, side, order)
    if tail is None or tail.coefficients:
        return flint.arb("inf")
    envelope: Envelope = tail.envelope
    if envelope.vanishes:
        return flint.arb(0)
    if envelope.rate > 0:
        slower = Envelope(envelope.constant, envelope.power, envelope.rate / 2)
        total = HalfLine(start).bound(slower) * 2 / flint.arb(envelope.rate)
    elif envelope.power < -1:
        total = envelope.constant * flint.arb(start) ** (envelope.power + 1) / (-1 - envelope.power)
    else:
        return flint.arb("inf")
    return total * math.factorial(order)


def _rational(x: float) -> Any:
    return flint.fmpq(*x.as_integer_ratio())


def _power_of_two(exponent: int) -> Any:
    return flint.fmpq(1 << exponent) if exponent >= 0 else flint.fmpq(1, 1 << -exponent)


def _floor_log2(value: Any) -> int:
    guess = int(value.p).bit_length() - int(value.q).bit_length()
    return guess if _power_of_two(guess) <= value else guess - 1
