"""Integrals of ``|g|`` from above, by tiles: for the few densities that have no antiderivative.

On a tile of midpoint m and radius r, ``|g(z)| <= |g(m)| + |z - m| sup |g'|`` (THEORY.md, Theorem
Certified regularity), so ``int |g| <= 2 r |g(m)| + r^2 sup |g'|``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import flint

__all__ = ["grid", "integrals_of_modulus"]


def grid(start: Any, end: Any, count: int, *, inner: Sequence[Any] = ()) -> list[Any]:
    """``count`` equal steps from start to end, exact rationals, with the inner points among them.

    Example:
        >>> [str(t) for t in grid(flint.fmpq(0), flint.fmpq(1), 2, inner=[flint.fmpq(1, 3)])]
        ['0', '1/3', '1/2', '1']
    """
    points = {start + (end - start) * flint.fmpq(i, count) for i in range(count + 1)}
    return sorted(points | set(inner))


def integrals_of_modulus(
    jet: Callable[[Any], tuple[Any, Any]], points: Sequence[Any]
) -> tuple[Any, Any]:
    """Balls whose upper ends are at least ``int |g|`` and ``int u |g|`` over [first, last].

    Args:
        jet: g and g' on a ball inside one of the tiles (one-sided at the ends of tiles).
        points: the ends of the tiles, ascending rationals >= 0.

    Example:
        >>> line = lambda u: (u, flint.arb(1))
        >>> mass, moment = integrals_of_modulus(line, grid(flint.fmpq(0), flint.fmpq(1), 64))
        >>> 0.5 <= mass.upper() < 0.51, 1 / 3 <= moment.upper() < 0.35
        (True, True)
    """
    mass, moment = flint.arb(0), flint.arb(0)
    for a, b in itertools.pairwise(points):
        middle, radius = flint.arb((a + b) / 2), flint.arb((b - a) / 2)
        value, _ = jet(middle)
        _, slope = jet(flint.arb(middle, radius.upper()))
        part = 2 * radius * abs(value) + radius**2 * abs(slope)
        mass += part
        moment += flint.arb(b) * part
    return mass, moment
