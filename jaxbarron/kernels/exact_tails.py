"""Round a spline to dyadic numbers so that its right tail is a line exactly.

A claim on all of R speaks about the exact function of the stored floats, so the conditions on the
tail must hold in exact arithmetic (THEORY.md, Theorem Exact tails).  With knots
``t_k = tau_k 2^-a`` and coefficients ``c_k = n_k 2^-b``, tau and n integers, they are

    sum n_k tau_k^j = 0                                          for j < s - 1,
    sum n_k tau_k^(s-1) = (-1)^(s-1) (rise / s) 2^(b + a(s-1)),

``rise`` the right slope minus the left one.  The integers n that satisfy them are a translate of
a lattice; the one closest to the optimal coefficients, in the metric of the function's values, is
found by LLL reduction and Babai's nearest plane.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import flint
import numpy as np

from jaxbarron.kernels.spline_space import Array
from jaxbarron.measures import ParticleMeasure

__all__ = [
    "DyadicSpline",
    "kernel_of_spline",
    "line_particles",
    "nearest_dyadic",
    "nearest_reachable_moment",
]


@dataclass(frozen=True)
class DyadicSpline:
    """``constant + slope z + sum_k n_k 2^-b (z - tau_k 2^-a)_+^s`` with integers n_k, tau_k.

    ``slope`` and ``constant`` are those of the left tail.  For s = 3 the slope that particles can
    hold is six times a double (:attr:`left_slope`).
    """

    s: int
    n: tuple[int, ...]
    b: int
    tau: tuple[int, ...]
    a: int
    slope: float = 0.0
    constant: float = 0.0

    @property
    def left_slope(self) -> Fraction:
        """The exact slope of the left tail, as the particles of the kernel make it."""
        return 6 * Fraction(self.slope / 6) if self.s == 3 else Fraction(self.slope)

    @property
    def knots(self) -> Array:
        """The knots, exact in double precision."""
        return np.array([math.ldexp(t, -self.a) for t in self.tau])

    @property
    def jumps(self) -> Array:
        """The coefficients c_k, exact in double precision."""
        return np.array([math.ldexp(n, -self.b) for n in self.n])

    def moment(self, j: int) -> Fraction:
        """``sum_k c_k t_k^j``, exact."""
        total = sum(n * t**j for n, t in zip(self.n, self.tau, strict=True))
        return Fraction(total, 1) / Fraction(2) ** (self.b + j * self.a)

    def right_tail(self) -> tuple[Fraction, ...]:
        """The exact coefficients of 1, z, ..., z^s to the right of all knots."""
        s = self.s
        powers = [math.comb(s, j) * (-1) ** (s - j) * self.moment(s - j) for j in range(s + 1)]
        powers[0] += Fraction(self.constant)
        powers[1] += self.left_slope
        return tuple(powers)

    def pieces(self) -> list[list[Fraction]]:
        """The exact Taylor coefficients of each piece at its left knot, (K, s + 1)."""
        s, scale = self.s, Fraction(1, 2**self.b) if self.b >= 0 else Fraction(2**-self.b)
        here = Fraction(self.tau[0]) / 2**self.a
        current = [Fraction(self.constant) + self.left_slope * here, self.left_slope]
        current += [Fraction(0)] * (s - 1)
        result: list[list[Fraction]] = []
        for index, n in enumerate(self.n):
            if index:
                step = Fraction(self.tau[index] - self.tau[index - 1]) / 2**self.a
                current = [
                    sum(
                        (math.comb(i, j) * current[i] * step ** (i - j) for i in range(j, s + 1)),
                        Fraction(0),
                    )
                    for j in range(s + 1)
                ]
            current[s] += n * scale
            result.append(list(current))
        return result

    def value(self, z: Array) -> Array:
        """The spline at ``z``, computed piece by piece without cancellation."""
        knots = self.knots
        table = np.array([[float(x) for x in piece] for piece in self.pieces()])
        index = np.searchsorted(knots, z, side="right") - 1
        inside = np.maximum(index, 0)
        u, result = z - knots[inside], np.zeros_like(z)
        for power in range(self.s, -1, -1):
            result = result * u + table[inside, power]
        return np.where(index >= 0, result, self.constant + self.slope * z)


def kernel_of_spline(spline: DyadicSpline) -> ParticleMeasure:
    """The spline as particles of RePU_s: its knots, then the line of its left tail."""
    knots = [(c, 1.0, -t) for c, t in zip(spline.jumps, spline.knots, strict=True)]
    triples = np.array([*knots, *line_particles(spline.s, spline.slope, spline.constant)])
    return ParticleMeasure(triples[:, :1], triples[:, 1:2], triples[:, 2])


def line_particles(s: int, slope: float, constant: float) -> list[tuple[float, float, float]]:
    """``slope * z + constant`` as (weight, direction, offset) of RePU_s particles, s = 1, 2, 3.

    ``z = z_+ - (-z)_+``, ``4 z = (z + 1)^2 - (z - 1)^2`` and
    ``6 z = (z + 1)^3 - 2 z^3 + (z - 1)^3``, each power ``y^s = y_+^s + (-1)^s (-y)_+^s``.
    """
    powers = {1: [(1, 0)], 2: [(1, 1), (-1, -1)], 3: [(1, 1), (-2, 0), (1, -1)]}[s]
    unit = slope / (1, 4, 6)[s - 1]
    particles: list[tuple[float, float, float]] = []
    for weight, offset in powers if slope else []:
        particles.append((weight * unit, 1.0, float(offset)))
        particles.append(((-1) ** s * weight * unit, -1.0, -float(offset)))
    return particles + ([(constant, 0.0, 1.0)] if constant else [])


def nearest_dyadic(
    jumps: Array, tau: Sequence[int], a: int, b: int, s: int, rise: Fraction | None, points: Array
) -> tuple[int, ...]:
    """The integers n, nearest to ``jumps * 2^b``, that satisfy the tail conditions exactly.

    Args:
        jumps: the optimal coefficients c_k, shape (K,).
        tau: the knots are ``tau_k 2^-a``.
        a: see ``tau``.
        b: the coefficients become ``n_k 2^-b``.
        s: the degree.
        rise: the right slope minus the left one; None asks for no condition (a kernel on a reach).
            If no n reaches it, the nearest reachable slope takes its place.
        points: where a change of the function's values is measured.
    """
    wanted = [round(x) for x in np.ldexp(jumps, b)]
    orders = range(s if rise is not None else 0)
    moments = [[t**j for j in orders] for t in tau]
    # Distances are those of the function's values at points of the knots' grid: exact integers,
    # since truncated powers far from their knots would drown the small differences in doubles.
    where = [round(math.ldexp(z, a)) for z in points]
    values = np.array([[max(z - t, 0) ** s for t in tau] for z in where], dtype=object)
    # The weight makes any vector with a moment longer than any without: LLL then puts a reduced
    # basis of the lattice {moments = 0} first and one vector for each condition last.
    rows = [
        [*column, *(x << 300 for x in row)]
        for column, row in zip(values.T.tolist(), moments, strict=True)
    ]
    _, change = cast(Any, flint.fmpz_mat(rows)).lll(transform=True)
    basis = np.array([[int(x) for x in row] for row in change.tolist()], dtype=object)
    kept = len(tau) - len(orders)
    chosen = np.array(wanted, dtype=object)
    if rise is not None:
        exact = np.array(moments, dtype=object)
        image = flint.fmpq_mat(flint.fmpz_mat((basis[kept:] @ exact).tolist()))
        inverse = image.inv()
        goal = nearest_reachable_moment(rise, s, a, b, inverse)
        defect = [(goal if j == s - 1 else 0) - int(m) for j, m in enumerate(chosen @ exact)]
        repair = (flint.fmpq_mat([defect]) * inverse).tolist()[0]
        chosen = chosen + np.array([int(x.p) for x in repair], dtype=object) @ basis[kept:]
    return tuple(int(x) for x in _nearest_plane(chosen, np.ldexp(jumps, b), basis[:kept], values))


def nearest_reachable_moment(rise: Fraction, s: int, a: int, b: int, inverse: Any) -> int:
    """The integer value of ``sum n_k tau_k^(s-1)`` that is nearest to the one for this slope.

    The other moments being zero, the reachable values are the multiples of one integer: the least
    common denominator of the last row of ``inverse``.
    """
    exact = Fraction((-1) ** (s - 1)) * rise / s * Fraction(2) ** (b + a * (s - 1))
    step = math.lcm(*(int(inverse[s - 1, j].q) for j in range(s)))
    return round(exact / step) * step


def _nearest_plane(start: Any, goal: Array, basis: Any, values: Any) -> Any:
    """Babai's algorithm: subtract lattice vectors from ``start`` until it is near ``goal``.

    The first pass may begin far away, where doubles hold the distance only roughly; the next
    passes repeat it from the exact remainder.
    """
    if not len(basis):
        return start
    q, r = np.linalg.qr((values @ basis.T).astype(np.float64))
    diagonal = np.abs(np.diag(r))
    # A direction that no point sees changes nothing that is measured: no step is taken along it.
    seen = diagonal > 1e-12 * diagonal.max()
    for _ in range(4):
        remainder = q.T @ (values.astype(np.float64) @ (start - goal).astype(np.float64))
        steps = np.zeros(len(basis))
        for i in range(len(basis) - 1, -1, -1):
            if seen[i]:
                steps[i] = np.rint((remainder[i] - r[i, i + 1 :] @ steps[i + 1 :]) / r[i, i])
        if not steps.any():
            break
        start = start - np.array([int(x) for x in steps], dtype=object) @ basis
    return start
