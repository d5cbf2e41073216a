"""What a monomial costs in RePU_s particles on [-1, 1], as an exact rational upper bound."""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from math import comb

from jaxbarron.errors import UsageError

__all__ = ["monomial_particles", "polynomial_cost"]

# Directions a of the particles 1 - a +- a y, every other one for even and for odd powers, near the
# optimum of the linear program over all of them.  Any distinct ones give a true bound; these give a
# good one.
_DIRECTIONS = {
    3: ("0", "149/500", "1/2", "1"),
    4: ("0", "77/400", "241/500", "1549/2000", "1"),
    5: ("0", "759/5000", "347/1000", "1/2", "4141/5000", "1"),
}


@functools.cache
def polynomial_cost(k: int, s: int) -> Fraction:
    """A cost at which RePU_s particles represent ``y**k`` on [-1, 1] (Theorem Monomial cost).

    ``sum |c| (|alpha| + |beta|)**s`` over :func:`monomial_particles`, which is exact.

    Args:
        k: from 0 to s.
        s: the power of RePU_s; the result is the least cost for s up to 2, within 1e-5 of it up to
            5, within 6 per cent up to 16.

    Raises:
        UsageError: k or s out of range.

    Example:
        >>> [str(polynomial_cost(k, 2)) for k in range(3)], str(polynomial_cost(2, 3))
        (['1', '2', '2'], '3')
    """
    particles = monomial_particles(k, s)
    return sum((abs(c) * (abs(a) + abs(b)) ** s for c, a, b in particles), Fraction(0))


def monomial_particles(k: int, s: int) -> tuple[tuple[Fraction, Fraction, Fraction], ...]:
    """Triples (c, alpha, beta) with ``sum c (alpha y + beta)_+^s = y^k`` on [-1, 1], exactly.

    Theorem Monomial cost.

    Args:
        k: from 0 to s.
        s: the power of RePU_s.

    Raises:
        UsageError: k or s out of range.

    Example:
        >>> [tuple(map(str, p)) for p in monomial_particles(1, 2)]
        [('1', '1/2', '1/2'), ('-1', '-1/2', '1/2')]
    """
    if not 0 <= k <= s:
        raise UsageError(f"given: k={k}, s={s}; expected: 0 <= k <= s; do: raise s or lower k")
    one = Fraction(1)
    if k == 0:
        return ((one, 0 * one, one),)
    if k == s:
        return ((one, one, 0 * one), ((-one) ** s, -one, 0 * one))
    powers = range(k % 2, s + 1, 2)
    directions = _directions(s)[k % 2 :: 2]
    # (1 - a + a y)^s + (-1)^k (1 - a - a y)^s = 2 sum over j = k mod 2 of (s over j) ... y^j
    rows = [[2 * comb(s, j) * (1 - a) ** (s - j) * a**j for a in directions] for j in powers]
    found: list[tuple[Fraction, Fraction, Fraction]] = []
    for a, c in zip(
        directions, _solved(rows, [Fraction(int(j == k)) for j in powers]), strict=True
    ):
        for slope, share in ((a, c), (-a, (-1) ** k * c)):
            found.append((share, slope, 1 - a))
            if a > Fraction(1, 2):  # the kink lies inside: the power itself is two particles
                found.append(((-1) ** s * share, -slope, a - 1))
    return tuple(found)


def _directions(s: int) -> list[Fraction]:
    if s in _DIRECTIONS:
        return [Fraction(a) for a in _DIRECTIONS[s]]
    # Between equal steps and Chebyshev's; beyond 1/2 a direction costs twice as much.
    grid = [(i / s + math.sin(math.pi * i / (2 * s)) ** 2) / 2 for i in range(s + 1)]
    found = [Fraction(round(1000 * a), 1000) for a in grid]
    if s % 2:
        found[(s + 1) // 2] = Fraction(1, 2)
    return found


def _solved(rows: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    """The solution of a regular system, by elimination."""
    table = [[*row, value] for row, value in zip(rows, right, strict=True)]
    for i in range(len(table)):
        pivot = next(k for k in range(i, len(table)) if table[k][i] != 0)
        table[i], table[pivot] = table[pivot], table[i]
        table[i] = [x / table[i][i] for x in table[i]]
        for k in range(len(table)):
            if k != i:
                factor = table[k][i]
                table[k] = [x - factor * y for x, y in zip(table[k], table[i], strict=True)]
    return [row[-1] for row in table]
