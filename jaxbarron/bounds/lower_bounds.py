"""Lower bounds on embedding constants, each from one functional (THEORY.md, Theorem Lower bounds).

The constant is a supremum over all particles of sigma, and the norm of a particle is at least what
any functional says that is at most 1 on the weighted particles of tau.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import flint
import numpy as np

from jaxbarron.activations import Activation
from jaxbarron.balls.series import local_series, taylor_coefficients, working_precision
from jaxbarron.balls.suprema import lower_float
from jaxbarron.bounds.constants import density_part, variation_constant
from jaxbarron.bounds.lines import tail_line
from jaxbarron.bounds.regularity import derivative_bound, jump, jump_orders, modulus_bound
from jaxbarron.bounds.sharp.proof import lower_of_dual
from jaxbarron.bounds.sharp_edges import sharp_entry
from jaxbarron.kernels import hierarchy_constant
from jaxbarron.programs import evaluate_program

__all__ = ["FUNCTIONALS", "LowerBound", "lower_bound", "lower_bounds"]

_BITS = 128
_POINTS = tuple(0.125 * k for k in range(-48, 49))
_SPREADS = tuple(2.0 ** (k / 2) for k in range(-2, 9))
_OFFSETS = (0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0)


@dataclass(frozen=True)
class LowerBound:
    """The embedding constant from ``source`` to ``target`` is at least ``value``.

    Attributes:
        source: sigma.
        target: tau.
        order: p, as in :class:`jaxbarron.bounds.edges.Edge`.
        functional: the name of what is measured, a key of ``FUNCTIONALS``.
        spread: w of the particle sigma(w r + b) that is measured; inf: the limit w -> infinity.
        offset: b.
        value: the bound, rounded down.
    """

    source: Activation
    target: Activation
    order: int
    functional: str
    spread: float
    offset: float
    value: float
    theorem: str = "Theorem Lower bounds"


def lower_bound(source: Activation, target: Activation, order: int) -> LowerBound | None:
    """The largest of the lower bounds that the library knows; None if there is none.

    Example:
        >>> from jaxbarron.activations import activation
        >>> found = lower_bound(activation("tanh"), activation("relu"), 1)
        >>> found.functional, found.spread, round(found.value, 12)
        ('density part', inf, 2.0)
    """
    best: LowerBound | None = None
    for bound in lower_bounds(source, target, order):
        # of two that agree but for rounding, the first: a limit rather than a particle near it
        if best is None or bound.value > best.value * (1 + 1e-12):
            best = bound
    return best


def lower_bounds(source: Activation, target: Activation, order: int) -> Iterator[LowerBound]:
    """One bound a functional, at the particle where it promises most."""
    for name, functional in FUNCTIONALS.items():
        for spread, offset in functional.places(source, target, order):
            value = functional.derive(source, target, order, spread, offset)
            if value > 0:
                yield LowerBound(source, target, order, name, spread, offset, value)


# ------------------------------------------------------------------- the functionals


@dataclass(frozen=True)
class _Functional:
    places: Callable[[Activation, Activation, int], Iterator[tuple[float, float]]]
    derive: Callable[[Activation, Activation, int, float, float], float]


def _weight(source: Activation, order: int, spread: float, offset: float) -> Any:
    rho = flint.arb(spread) + abs(flint.arb(offset))
    return (1 + rho) ** order if source.homogeneity is None else rho**source.homogeneity


def _ratio(value: float, source: Activation, order: int, spread: float, offset: float) -> float:
    with working_precision(_BITS):
        weight = _weight(source, order, spread, offset)
        return lower_float(flint.arb(value) / weight) if weight > 0 else 0.0


def _density_places(
    source: Activation, target: Activation, order: int
) -> Iterator[tuple[float, float]]:
    s = target.homogeneity
    if s is None or source == target:
        return
    if source.homogeneity is not None:
        if source.homogeneity > s >= 1:
            yield 1.0, 0.0
        return
    if order < s:
        return
    limit = _density(source, target, order, math.inf, 0.0) if order == s else 0.0
    if limit:
        yield math.inf, 0.0
    if s == 0:
        return
    entry = sharp_entry(source, target, order)
    if entry is not None:
        inside = 0 < entry.reach < math.inf
        if inside and entry.evidence is not None and not entry.evidence.dual.moments:
            yield entry.reach, 0.0
        return
    promise, spread, offset = _most_promising(source, s, order)
    if promise > limit:
        yield spread, offset


def _density(
    source: Activation, target: Activation, order: int, spread: float, offset: float
) -> float:
    s = target.homogeneity
    if s is None:
        return 0.0
    power = source.homogeneity
    if power is not None:
        # D is a power of t on the half line: the density part is the hierarchy's closed form
        at_one = power > s >= 1 and (spread, offset) == (1.0, 0.0)
        return float(hierarchy_constant(power, s)) if at_one else 0.0
    if spread == math.inf:
        found = variation_constant(source, s).lower if order == s else 0.0
        return found if math.isfinite(found) else 0.0
    found = density_part(source, s, spread, offset).lower
    return _ratio(found, source, order, spread, offset) if math.isfinite(found) else 0.0


@functools.lru_cache(maxsize=512)
def _most_promising(source: Activation, s: int, order: int) -> tuple[float, float, float]:
    """The density part over the weight by the midpoint rule, nearly at its largest: where to look.

    A coarse grid of (w, b), then steps that shrink.
    """
    step = 1 / 64
    t = (np.arange(-24 * 64, 24 * 64) + 0.5) * step
    mass = np.abs(np.nan_to_num(evaluate_program(source.derivative(s + 1).program, t))) * step
    kinks = [k for k in source.kinks if s < len(k.jumps)]
    places = np.array([*t, *(k.location for k in kinks)])
    masses = np.array([*mass, *(abs(k.jumps[s]) for k in kinks)]) / math.factorial(s)

    def promise(w: float, b: float) -> tuple[float, float, float]:
        distance = np.abs(places - b)
        # a midpoint whose cell overlaps an end of the interval counts in part
        share = np.clip((w - distance) / step + 0.5, 0, 1)
        share[len(t) :] = distance[len(t) :] < w
        part = float(np.sum(share * masses * (w + distance) ** s))
        return part / (1 + w + abs(b)) ** order, w, b

    best = max(promise(w, b) for b in _OFFSETS for w in _SPREADS)
    for size in 0.25 * 0.5 ** np.arange(9):
        _, w, b = best
        steps = (-float(size), 0.0, float(size))
        near = [(w * 2**x, b + y) for x in steps for y in steps]
        best = max(best, *(promise(*place) for place in near))
    return best


def _value_places(
    source: Activation, target: Activation, order: int
) -> Iterator[tuple[float, float]]:
    if source.homogeneity is not None:
        yield 1.0, 0.0
        return
    z = np.array(_POINTS)
    values = np.abs(np.nan_to_num(evaluate_program(source.program, z))) / (1 + np.abs(z)) ** order
    yield 0.0, float(z[int(np.argmax(values))])


def _value(
    source: Activation, target: Activation, order: int, spread: float, offset: float
) -> float:
    """The value at r = 1, over the bound of tau's values by its weight."""
    bound = _value_bound(target, order)
    if not 0 < bound < math.inf:
        return 0.0
    with working_precision(_BITS):
        place = flint.arb(spread) + flint.arb(offset)
        value = taylor_coefficients(source.program, place, 1, _BITS)[0]
        weight = _weight(source, order, spread, offset)
        return lower_float(value / (weight * flint.arb(bound))) if weight > 0 else 0.0


@functools.lru_cache(maxsize=512)
def _value_bound(target: Activation, order: int) -> float:
    """B with ``|tau(w x + b)| <= B V_tau(w, b)`` (Theorem Value witness)."""
    if target.homogeneity is not None:
        return 1.0
    slope = derivative_bound(target, 1, continuous=False)
    if not math.isfinite(slope):
        return modulus_bound(target)
    at_zero = taylor_coefficients(target.program, 0, 1, _BITS)[0]
    with working_precision(_BITS):
        from_slope = max(float(abs(at_zero).upper()) * (1 + 2.0**-50), slope)
    return min(from_slope, modulus_bound(target))


def _limit_place(
    source: Activation, target: Activation, order: int
) -> Iterator[tuple[float, float]]:
    if order == 1 and (source.homogeneity in (None, 1)) and source != target:
        yield math.inf, 0.0


def _slope(
    source: Activation, target: Activation, order: int, spread: float, offset: float
) -> float:
    """The supremum of the slope against that of tau."""
    if order != 1 or spread != math.inf or source.homogeneity not in (None, 1):
        return 0.0
    bound = 1.0 if target.homogeneity == 1 else 0.0
    if target.homogeneity is None:
        bound = derivative_bound(target, 1, continuous=False)
    if not 0 < bound < math.inf:
        return 0.0
    with working_precision(_BITS):
        return lower_float(flint.arb(_steepest(source)) / flint.arb(bound))


@functools.lru_cache(maxsize=512)
def _steepest(source: Activation) -> float:
    """A lower bound of the supremum of ``|sigma'|`` (0 where sigma jumps)."""
    if any(kink.jumps[0] for kink in source.kinks):
        return 0.0
    best = 0.0
    with working_precision(_BITS, 4):
        for z in _POINTS:
            ball = flint.arb(z)
            found = local_series(source.program, flint.arb_series([ball, 1], prec=2), ball)
            if found.smooth and not found.open_ends:
                best = max(best, lower_float(found.coefficients[1]))
        for line in (tail_line(source, -1), tail_line(source, 1)):
            if line is not None:
                best = max(best, lower_float(line[1]))
    return best


def _variation(
    source: Activation, target: Activation, order: int, spread: float, offset: float
) -> float:
    """The variation of the slope against that of tau's."""
    if order != 1 or spread != math.inf or source.homogeneity not in (None, 1):
        return 0.0
    if target.homogeneity is not None or any(kink.jumps[0] for kink in target.kinks):
        return 0.0
    if derivative_bound(target, 1, continuous=False) == math.inf:
        return 0.0
    of_tau = variation_constant(target, 1).upper
    of_sigma = 1.0 if source.homogeneity == 1 else variation_constant(source, 1).lower
    if not (0 < of_tau < math.inf and math.isfinite(of_sigma)):
        return 0.0
    with working_precision(_BITS):
        return lower_float(flint.arb(of_sigma) / flint.arb(of_tau))


def _jump(
    source: Activation, target: Activation, order: int, spread: float, offset: float
) -> float:
    """The largest jump of the slope against that of tau's."""
    if order != 1 or spread != math.inf or source.homogeneity not in (None, 1):
        return 0.0
    of_tau, of_sigma = _largest_jump(target), _largest_jump(source)
    if of_tau is None or of_sigma is None or not float(of_tau.upper()) > 0:
        return 0.0
    with working_precision(_BITS):
        return lower_float(abs(of_sigma) / of_tau)


@functools.lru_cache(maxsize=512)
def _largest_jump(sigma: Activation) -> Any | None:
    """A ball of the largest jump of the slope in modulus; None where sigma itself may jump."""
    if sigma.homogeneity is not None:
        return flint.arb(1) if sigma.homogeneity == 1 else None
    if derivative_bound(sigma, 1, continuous=False) == math.inf:
        return None
    with working_precision(_BITS):
        found = [jump(sigma.program, place, 1) for place, j in jump_orders(sigma) if j == 1]
        if any(x is None for x in found):
            return None
        return functools.reduce(lambda a, b: a.max(abs(b)), found, flint.arb(0))


def _moments_place(
    source: Activation, target: Activation, order: int
) -> Iterator[tuple[float, float]]:
    entry = sharp_entry(source, target, order)
    if entry is not None and entry.evidence is not None and entry.evidence.dual.moments:
        yield entry.reach, 0.0


def _moments(
    source: Activation, target: Activation, order: int, spread: float, offset: float
) -> float:
    """Theorem Dual moments, with the moments of the table of sharp constants."""
    entry = sharp_entry(source, target, order)
    if entry is None or entry.evidence is None or (spread, offset) != (entry.reach, 0.0):
        return 0.0
    return lower_of_dual(source, entry.s, order, entry.evidence.dual)


FUNCTIONALS: dict[str, _Functional] = {
    "density part": _Functional(_density_places, _density),
    "moments": _Functional(_moments_place, _moments),
    "variation of the slope": _Functional(_limit_place, _variation),
    "jump of the slope": _Functional(_limit_place, _jump),
    "slope": _Functional(_limit_place, _slope),
    "value": _Functional(_value_places, _value),
}
