"""The pieces of a kernel into RePU_s: where they meet, and their polynomials, exact.

Between two knots ``sum_k c_k (alpha_k z + beta_k)_+^s`` is one polynomial.  As a sum it loses its
digits far from the knots, where large powers cancel; expanded about a point of the piece it does
not (THEORY.md, Theorem Local form).  Here the numbers of the kernel are known and the expansions
are rational arithmetic; :mod:`jaxbarron.kernels.traced_pieces` does it under jit.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from jaxbarron.measures import ParticleMeasure

__all__ = ["Pieces", "exact_pieces"]

Polynomial = list[Fraction]  # coefficients of 1, z, ..., z^s


@dataclass(frozen=True, eq=False)
class Pieces:
    """``sum_j coefficients[p][j] (z - centres[p])^j`` where ``bounds[p-1] < z <= bounds[p]``.

    P pieces have P - 1 bounds, ascending; the first begins at -infinity and the last ends at
    +infinity.  All are scalars of one dtype, known or traced.
    """

    bounds: tuple[Any, ...]
    centres: tuple[Any, ...]
    coefficients: tuple[tuple[Any, ...], ...]


def exact_pieces(kernel: ParticleMeasure, s: int, dtype: Any) -> Pieces:
    """The pieces of ``z -> sum_k c_k (alpha_k z + beta_k)_+^s`` in a floating dtype, s >= 1.

    For every number of the dtype the bounds decide as the exact knots do, and each coefficient is
    the exact one about its centre, rounded.  Knots at which nothing changes are left out, and so
    are pieces that hold no number of the dtype.

    Example:
        >>> relu = ParticleMeasure(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1))
        >>> made = exact_pieces(relu, 1, np.float32)
        >>> [[float(x) for x in row] for row in made.coefficients]
        [[0.0, 0.0], [0.0, 1.0]]
    """
    current, jumps = _left_piece_and_jumps(kernel, s)
    bounds: list[float] = []
    pieces = [current]
    for knot in sorted(knot for knot, jump in jumps.items() if any(jump)):
        current = [x + y for x, y in zip(current, jumps[knot], strict=True)]
        bound = _below(knot, dtype)
        if bounds and bounds[-1] == bound:
            pieces[-1] = current
        else:
            bounds.append(bound)
            pieces.append(current)
    centres = _centres(bounds, dtype)
    return Pieces(
        tuple(dtype(x) for x in bounds),
        tuple(dtype(x) for x in centres),
        tuple(
            tuple(_rounded(x, dtype) for x in _expanded(piece, Fraction(centre)))
            for piece, centre in zip(pieces, centres, strict=True)
        ),
    )


def _left_piece_and_jumps(
    kernel: ParticleMeasure, s: int
) -> tuple[Polynomial, dict[Fraction, Polynomial]]:
    """The polynomial left of all knots, and what each knot adds to it from left to right."""
    left = [Fraction(0)] * (s + 1)
    jumps: dict[Fraction, Polynomial] = {}
    arrays = (kernel.weights, kernel.directions, kernel.offsets)
    columns = (np.asarray(x, np.float64).reshape(-1).tolist() for x in arrays)
    for c, alpha, beta in zip(*(map(Fraction, x) for x in columns), strict=True):
        power = [math.comb(s, j) * c * alpha**j * beta ** (s - j) for j in range(s + 1)]
        if alpha < 0 or (alpha == 0 and beta > 0):
            left = [x + y for x, y in zip(left, power, strict=True)]
        if alpha != 0:
            sign = 1 if alpha > 0 else -1
            before = jumps.setdefault(-beta / alpha, [Fraction(0)] * (s + 1))
            jumps[-beta / alpha] = [x + sign * y for x, y in zip(before, power, strict=True)]
    return left, jumps


def _expanded(polynomial: Polynomial, centre: Fraction) -> Polynomial:
    """The coefficients in powers of ``z - centre``."""
    s = len(polynomial) - 1
    return [
        sum(
            (math.comb(i, j) * polynomial[i] * centre ** (i - j) for i in range(j, s + 1)),
            Fraction(0),
        )
        for j in range(s + 1)
    ]


def _below(x: Fraction, dtype: Any) -> float:
    """The largest number of the dtype that is at most x."""
    largest = float(np.finfo(dtype).max)
    if x >= Fraction(largest):
        return largest
    if x < -Fraction(largest):
        return -math.inf
    near = dtype(float(x))
    return float(near if Fraction(float(near)) <= x else np.nextafter(near, dtype(-math.inf)))


def _centres(bounds: list[float], dtype: Any) -> list[float]:
    """A point for each piece: its middle, and the bound of a tail."""
    if not bounds:
        return [0.0]
    finite = [max(x, -float(np.finfo(dtype).max)) for x in bounds]
    middles = [x / 2 + y / 2 for x, y in itertools.pairwise(finite)]
    return [float(dtype(x)) for x in (finite[0], *middles, finite[-1])]


def _rounded(x: Fraction, dtype: Any) -> Any:
    try:
        return dtype(float(x))
    except OverflowError:
        return dtype(math.copysign(math.inf, x))
