"""Rigorous suprema of piecewise analytic functions: branch and bound with Taylor models.

On a tile of midpoint m and radius r, Taylor's formula with ball coefficients splits the function
into a polynomial with known coefficients and a small remainder (THEORY.md, Theorem Taylor model).
The polynomial's maximum follows from its values at Chebyshev points, to a known factor (Theorem
Chebyshev grid).  Tiles that may still hold the supremum are halved, worst first, until the bracket
is as narrow as asked (Theorem Branch and bound).

Tiles are dyadic with a power of two as radius, so that a kink or a knot at a float is met exactly
at a tile's end, where one-sided Taylor models are still valid.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flint
import numpy as np

from jaxbarron.balls.series import LocalSeries, local_series, working_precision
from jaxbarron.errors import DomainError, ToleranceError
from jaxbarron.programs import Program

__all__ = ["Enclosure", "Piece", "lower_float", "supremum", "supremum_of_program", "upper_float"]

_BITS = 128
_ORDER = 10  # coefficients of the polynomial part; the remainder is of this order
_SMALLEST = -70  # tiles are not halved below 2**_SMALLEST times the scale of their piece


@dataclass(frozen=True)
class Enclosure:
    """``lower <= sup |g| <= upper``; ``where`` is a point near which ``lower`` was found."""

    lower: float
    upper: float
    where: float


@dataclass(frozen=True, eq=False)
class Piece:
    """A function on ``[start, end]`` (exact rationals).

    ``model(ball, length)`` encloses its first ``length`` Taylor coefficients at every point of
    the ball.  Tiles may overhang the ends of the piece by less than 2**-100 of its scale when
    these are no dyadic numbers; the model continues there, and only upper bounds look at it.
    """

    start: Any
    end: Any
    model: Callable[[Any, int], LocalSeries]


def supremum_of_program(
    program: Program,
    start: float,
    end: float,
    *,
    rel: float = 1e-3,
    splits: Sequence[float] = (),
    max_evaluations: int = 20_000,
) -> Enclosure:
    """``sup |f|`` over ``[start, end]``, rigorously (Theorem Branch and bound).

    Args:
        program: the function f.
        start: finite, below ``end``.
        end: finite.
        rel: stop once ``upper <= lower * (1 + rel)``.
        splits: known kinks of f.  They need not be given; the search is quicker with them.
        max_evaluations: stop after so many tiles; the bracket is then wider, and still true.

    Raises:
        DomainError: the interval is empty or not finite.
        ToleranceError: ``rel`` is not in [1e-6, 1].

    Example:
        >>> from jaxbarron.programs import trace
        >>> found = supremum_of_program(trace(lambda z: z * (1 - z)), 0.0, 1.0)
        >>> found.lower <= 0.25 <= found.upper
        True
    """
    if not (math.isfinite(start) and math.isfinite(end) and start < end):
        raise DomainError(
            f"given: the interval [{start}, {end}]; expected: two finite ends in order; "
            "do: pass a bounded interval"
        )

    def model(ball: Any, length: int) -> LocalSeries:
        return local_series(program, flint.arb_series([ball, 1], prec=length), ball)

    ends = [start, *sorted(t for t in set(splits) if start < t < end), end]
    exact = [flint.fmpq(*float(t).as_integer_ratio()) for t in ends]
    pieces = [Piece(a, b, model) for a, b in itertools.pairwise(exact)]
    return supremum(pieces, rel=rel, max_evaluations=max_evaluations)


def supremum(
    pieces: Sequence[Piece],
    *,
    rel: float = 1e-3,
    floor: float = 1e-28,
    known: float = 0.0,
    max_evaluations: int = 20_000,
) -> Enclosure:
    """The supremum of ``|g|`` over all pieces together (Theorem Branch and bound).

    Args:
        pieces: where g is given, and by what model.
        rel: stop once ``upper <= lower * (1 + rel)``.
        floor: also stop once ``upper <= floor``: an error that is exactly zero has no ratio.
        known: a lower bound of the supremum sought that the caller has already; pieces on which
            ``|g| <= known`` are passed over quickly.  ``upper`` is never below ``known``.
        max_evaluations: stop after so many tiles.

    Returns:
        The enclosure; ``upper`` is inf where g could not be bounded (``where`` says near what).
    """
    if not 1e-6 <= rel <= 1:
        raise ToleranceError(
            f"given: rel={rel}; expected: a relative width from 1e-6 to 1; do: e.g. rel=1e-3"
        )
    with working_precision(_BITS, _ORDER + 8):
        search = _Search(rel, known)
        for piece in pieces:
            for tile in _cover(piece):
                search.visit(tile)
        while search.heap and search.evaluations < max_evaluations:
            if -search.heap[0][0] <= max(search.best * (1 + rel), search.settled, floor):
                break
            search.split_the_worst()
        return search.enclosure()


@dataclass(frozen=True, eq=False)
class _Tile:
    piece: Piece
    middle: Any  # exact dyadic fmpq
    exponent: int  # radius 2**exponent
    smallest: int  # not halved at this exponent or below


class _Search:
    """The heap of open tiles, the best value proved so far, and what is settled for good."""

    def __init__(self, rel: float, known: float) -> None:
        self.rel = rel
        self.best = known
        self.where = math.nan
        self.settled = known  # largest bound of a tile that is too small to be halved
        self.evaluations = 0
        self.heap: list[tuple[float, int, _Tile]] = []

    def visit(self, tile: _Tile) -> None:
        self.evaluations += 1
        upper, lower, where = _bracket_on_tile(tile, self.rel, self.best)
        if lower > self.best or (math.isnan(self.where) and self.best == 0.0):
            self.best, self.where = lower, where
        if tile.exponent <= tile.smallest:
            if upper > self.settled:
                self.settled = upper
                self.where = self.where if math.isfinite(upper) else where
        else:
            heapq.heappush(self.heap, (-upper, self.evaluations, tile))

    def split_the_worst(self) -> None:
        tile = heapq.heappop(self.heap)[2]
        half = _power_of_two(tile.exponent - 1)
        for middle in (tile.middle - half, tile.middle + half):
            self.visit(_Tile(tile.piece, middle, tile.exponent - 1, tile.smallest))

    def enclosure(self) -> Enclosure:
        open_upper = -self.heap[0][0] if self.heap else 0.0
        return Enclosure(self.best, max(self.settled, open_upper, self.best), self.where)


def _power_of_two(exponent: int) -> Any:
    return flint.fmpq(1 << exponent) if exponent >= 0 else flint.fmpq(1, 1 << -exponent)


def _cover(piece: Piece) -> list[_Tile]:
    """One or two tiles of the largest power of two that fits, flush with the piece's ends."""
    scale = max(abs(piece.start), abs(piece.end), piece.end - piece.start)
    grain = _power_of_two(_floor_log2(scale) - 110)
    start = (piece.start / grain).floor() * grain
    end = (piece.end / grain).ceil() * grain
    exponent = _floor_log2(end - start) - 1
    radius = _power_of_two(exponent)
    smallest = _floor_log2(scale) + _SMALLEST
    left = _Tile(piece, start + radius, exponent, smallest)
    if end - start == 2 * radius:
        return [left]
    return [left, _Tile(piece, end - radius, exponent, smallest)]


def _floor_log2(value: Any) -> int:
    guess = int(value.p).bit_length() - int(value.q).bit_length()
    return guess if _power_of_two(guess) <= value else guess - 1


# --------------------------------------------------------------------- one tile


def _bracket_on_tile(tile: _Tile, rel: float, best: float) -> tuple[float, float, float]:
    """(upper bound of |g| on the tile, |g| somewhere on it at least, where)."""
    middle, radius = _exact_ball(tile.middle), flint.arb((1, tile.exponent))
    ball = flint.arb(_mantissa_and_exponent(tile.middle), (1, tile.exponent))
    point = float(middle)
    around = tile.piece.model(ball, _ORDER + 1)
    ends = 0.0
    if around.open_ends:
        half = _power_of_two(tile.exponent)
        for end in (tile.middle - half, tile.middle + half):
            ends = max(ends, upper_float(tile.piece.model(_exact_ball(end), 2).coefficients[0]))
    plain = max(upper_float(around.coefficients[0]), ends)
    if plain <= best:
        return plain, 0.0, point
    centre = tile.piece.model(middle, _ORDER)
    # A tile this small may overhang its piece by more than the distance of its inner points.
    trusted = tile.exponent > tile.smallest - _SMALLEST - 60
    value = lower_float(centre.coefficients[0]) if trusted else 0.0
    if not (around.smooth and centre.smooth):
        return plain, value, point
    scaled, power = [], flint.arb(1)
    for coefficient in centre.coefficients:
        scaled.append(coefficient * power)
        power = power * radius
    remainder = upper_float(around.coefficients[_ORDER] * power)
    middles = np.array([float(c.mid()) for c in scaled])
    if all(c.is_zero() for c in scaled) and remainder == 0.0:
        return ends, 0.0, point
    total = float(np.sum(np.abs(middles)))
    # Remainder, radii, and the rounding of the midpoints to floats (below 2**-52 of each, or of
    # the smallest normal number); the last factor covers the rounding of this very sum.
    spread = sum(upper_float(c.rad()) for c in scaled)
    slack = (remainder + spread + total * 2.0**-51 + 1e-300) * (1 + 2.0**-40)
    if not math.isfinite(slack):
        return plain, value, point
    top, inner, place = _largest_on_grid(middles, total, rel)
    lower = math.nextafter(inner - slack, -math.inf)
    if trusted and lower > value:
        value, point = lower, float(middle + radius * place)
    return min(plain, max(_up(top + slack), ends)), value, point


def _exact_ball(dyadic: Any) -> Any:
    return flint.arb(_mantissa_and_exponent(dyadic))


def _mantissa_and_exponent(dyadic: Any) -> tuple[Any, int]:
    return dyadic.p, 1 - int(dyadic.q).bit_length()


@functools.lru_cache(maxsize=16)
def _grid(degree: int, rel: float) -> tuple[Any, Any, float]:
    """Powers of the Chebyshev points, the points, and 1 / cos(degree pi / (2 count)).

    The count makes the factor's excess about rel / 4.
    """
    count = math.ceil(degree * math.pi / (2 * math.sqrt(rel / 2)))
    points = np.cos(np.pi * np.arange(count + 1) / count)
    powers = points[:, None] ** np.arange(degree + 1)
    return powers, points, 1 / math.cos(degree * math.pi / (2 * count)) * (1 + 1e-14)


def _largest_on_grid(coefficients: Any, total: float, rel: float) -> tuple[float, float, float]:
    """Theorem Chebyshev grid: an upper bound of max |P| on [-1, 1], a lower one, and its place.

    Floating point is accounted for: a node is right to 2**-49, so its power to 2**-45, and the
    sum of a dozen products to 2**-49 of the sum of moduli.
    """
    powers, points, factor = _grid(len(coefficients) - 1, rel)
    values = np.abs(powers @ coefficients)
    rounding = total * 2.0**-44
    # The end points are left out below: a tile may overhang its piece there.
    inner = int(np.argmax(values[1:-1])) + 1
    top = _up((float(np.max(values)) + rounding) * factor)
    return top, float(values[inner]) - rounding, float(points[inner])


# ------------------------------------------------------------ outward rounding


def _up(value: float) -> float:
    return math.nextafter(value, math.inf)


def upper_float(ball: Any) -> float:
    """A float that is at least ``|x|`` for every x in the ball; inf if there is none."""
    if not ball.is_finite():
        return math.inf
    bound = ball.abs_upper()
    value = float(bound)
    return value if flint.arb(value) >= bound else _up(value)


def lower_float(ball: Any) -> float:
    """A float that is at most ``|x|`` for every x in the ball; 0 if there is no better."""
    if not ball.is_finite():
        return 0.0
    bound = ball.abs_lower()
    value = float(bound)
    return value if flint.arb(value) <= bound else math.nextafter(value, 0.0)
