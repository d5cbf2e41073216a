"""Both bounds of the norm on an interval by ball arithmetic, from any moments and any shares."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flint

from jaxbarron.activations import Activation
from jaxbarron.balls.series import taylor_coefficients, working_precision
from jaxbarron.balls.suprema import lower_float, upper_float
from jaxbarron.bounds.density import BITS, SERIES, jumps_of, rational
from jaxbarron.bounds.gauge_body import GaugeBody, rigorous_gauge
from jaxbarron.bounds.interval_cells import Cell, Cells, Rough, cells_of

__all__ = ["Enclosed", "Evidence", "rigorous_bounds"]


@dataclass(frozen=True)
class Evidence:
    """What an optimiser found; the bounds are true whatever these numbers are.

    Attributes:
        moments: M, one number for each moment that the body keeps.
        edges: ascending numbers in (-1, 1).
        shares: v in [-1/2, 1/2] on each of the edges' ``len(edges) + 1`` stretches: the part
            1/2 + v sgn(D) of D/s! goes to right particles.
        atoms: v for the kinks inside, in their order along y.
        nodes: x in [-1, 1] of the particles (alpha y + beta)^s, alpha = 1 - |x|, beta = x.
        particles: their weights.
    """

    moments: tuple[float, ...]
    edges: tuple[float, ...]
    shares: tuple[float, ...]
    atoms: tuple[float, ...]
    nodes: tuple[float, ...]
    particles: tuple[float, ...]


@dataclass(frozen=True)
class Enclosed:
    """``lower <= ||f|| <= upper``; ``reason`` says why the upper bound is infinite."""

    lower: float
    upper: float
    reason: str = ""


def rigorous_bounds(
    sigma: Activation, body: GaugeBody, spread: float, offset: float, evidence: Evidence
) -> Enclosed:
    """Outward-rounded bounds of the norm of ``sigma(spread y + offset)``, spread >= 0.

    Theorem Bounds at every iterate.  Nothing is taken from the optimiser but the numbers in the
    evidence, read as exact rationals; the kinks are those of the activation.

    Example:
        >>> from jaxbarron.activations import activation
        >>> nothing = Evidence((0.0, 0.0), (), (0.5,), (), (), ())
        >>> found = rigorous_bounds(activation("softplus"), GaugeBody(1), 30.0, -30.0, nothing)
        >>> 0 < found.lower <= found.upper
        True
    """
    if spread == 0:
        return _constant(sigma, body, offset)
    with working_precision(BITS, SERIES):
        cells = cells_of(sigma.program, jumps_of(sigma), body.s, spread, offset)
        if isinstance(cells, Rough):
            return Enclosed(math.inf if cells.proved else 0.0, math.inf, cells.reason)
        density = _density(body, cells)
        lower = density[0] + _excess(body, cells, evidence.moments)
        upper = density[1] + _remaining(body, cells, evidence)
        if not (lower.is_finite() and upper.is_finite()):
            reason = "a value or a derivative could not be bounded on the interval"
            return Enclosed(0.0, math.inf, reason)
        return Enclosed(max(lower_float(lower), 0.0), upper_float(upper))


def _constant(sigma: Activation, body: GaugeBody, offset: float) -> Enclosed:
    """The constant sigma(offset) is one particle of the cost of (0, 1)."""
    if body.weight == "bias_free" and body.s:
        return Enclosed(0.0, 0.0)
    value = abs(taylor_coefficients(sigma.program, flint.arb(offset), 1, BITS)[0])
    if not value.is_finite():
        return Enclosed(0.0, math.inf, f"could not be bounded at z = {offset:.6g}")
    return Enclosed(max(lower_float(value), 0.0), upper_float(value))


def _density(body: GaugeBody, cells: Cells) -> tuple[Any, Any]:
    s, lower, upper = body.s, flint.arb(0), flint.arb(0)
    quadrature = body.weight == "l2" and s % 2 == 1
    for cell in cells.at([flint.fmpq(0)]):
        if quadrature and cell.sign is not None:
            signed = abs(cells.hypotenuse_integral(cell))
            doubt = 2 * cell.doubt * flint.arb(2) ** flint.fmpq(s, 2)
            more = (signed.lower() - doubt).max(0), signed.abs_upper() + doubt
        elif quadrature:
            more = flint.arb(0), cell.mass.abs_upper() * flint.arb(2) ** flint.fmpq(s, 2)
        else:
            more = cell.integral(_price_polynomial(body, cell))
        lower, upper = lower + more[0], upper + more[1]
    return lower, upper


def _price_polynomial(body: GaugeBody, cell: Cell) -> list[Any]:
    """V(t) on a cell that 0 does not cut, as s + 1 coefficients."""
    s = body.s
    if body.weight == "bias_free":
        powers = [1]
    elif body.weight == "l2":
        powers = [0 if k % 2 else math.comb(s // 2, k // 2) for k in range(s + 1)]
    else:
        side = -1 if cell.start + cell.end < 0 else 1
        powers = [math.comb(s, k) * side**k for k in range(s + 1)]
    return [flint.fmpq(p) for p in powers] + [flint.fmpq(0)] * (s + 1 - len(powers))


def _excess(body: GaugeBody, cells: Cells, moments: Sequence[float]) -> Any:
    """At most ``max(0, <B, M> - int |Q_M| d|D| / (2 s!))`` for M scaled into the body."""
    s, gauge = body.s, rigorous_gauge(body, moments)
    if not gauge > 0:
        return flint.arb(0)
    exact = dict(zip(body.kept, map(rational, moments), strict=True))
    ends = cells.taylor(-1), cells.taylor(1)
    value: Any = flint.arb(0)
    for k, m in exact.items():
        value += m * (ends[0][k] + ends[1][k]) / 2
    polynomial = [flint.fmpq(0)] * (s + 1)
    for k, m in exact.items():
        polynomial[s - k] = math.comb(s, k) * (-1) ** (s - k) * m
    gaps = _roots(polynomial)
    for cell in cells.at(t for gap in gaps for t in gap if -1 < t < 1):
        if any(low <= cell.start <= cell.end <= high for low, high in gaps):
            most = (cell.mass + 2 * cell.doubt) * cell.largest(polynomial)
        else:
            most = cell.integral(polynomial)[1]
        value -= most.abs_upper() / 2
    return (value / gauge).lower().max(0)


def _roots(polynomial: list[Any]) -> list[tuple[Any, Any]]:
    """Rational enclosures of all real roots."""
    p = flint.fmpq_poly(polynomial)
    roots: Any = p.complex_roots() if p.degree() > 0 else []
    real = (root.real for root, _ in roots if root.imag.contains(0))
    return [(r.lower().fmpq(), r.upper().fmpq()) for r in real]


def _remaining(body: GaugeBody, cells: Cells, evidence: Evidence) -> Any:
    """The particles and the polynomial that the shares and the particles leave, what they cost."""
    s, edges = body.s, [rational(t) for t in evidence.edges]
    rest = cells.taylor(-1)
    atoms = iter(evidence.atoms)
    for cell in sorted(cells.at(edges), key=lambda c: c.start):
        if cell.start == cell.end:
            share = next(atoms, 0.0)
        else:
            share = evidence.shares[bisect.bisect_right(edges, (cell.start + cell.end) / 2)]
        left = flint.fmpq(1, 2) - (cell.sign or 0) * rational(min(max(share, -0.5), 0.5))
        for k in range(s + 1):
            rest[k] += math.comb(s, k) * (-1) ** (s - k) * left * cell.moments[s - k]
    total = flint.arb(0)
    for x, c in zip(map(rational, evidence.nodes), map(rational, evidence.particles), strict=True):
        for k, value in enumerate(_power(s, x)):
            rest[k] -= c * value
        total += abs(c) * _price(body, x)
    points = [rational(x) for x in body.basis[0]]
    rows = [[_power(s, x)[k] for k in body.kept] for x in points]
    inverse = flint.fmpq_mat(rows).inv()
    for j, x in enumerate(points):
        weight = sum((rest[k] * inverse[i, j] for i, k in enumerate(body.kept)), flint.arb(0))
        total += abs(weight) * _price(body, x)
    return total.abs_upper()


def _power(s: int, x: Any) -> list[Any]:
    """The coefficients in y of ``((1 - |x|) y + x)^s``."""
    alpha = 1 - abs(x)
    return [math.comb(s, k) * alpha**k * x ** (s - k) for k in range(s + 1)]


def _price(body: GaugeBody, x: Any) -> Any:
    """What that power costs, as a ball; at least, for |x| > 1 too."""
    s, alpha, beta = body.s, abs(1 - abs(x)), abs(x)
    factor = 2 if beta < alpha and s > 0 else 1
    if body.weight == "bias_free":
        return factor * flint.arb(alpha) ** s
    if body.weight == "l2":
        return factor * flint.arb(alpha * alpha + beta * beta) ** flint.fmpq(s, 2)
    return factor * flint.arb(alpha + beta) ** s
