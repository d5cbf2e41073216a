"""Scalar functions as piecewise quadratics with a proved remainder: what vectorised bounds look up.

Ball arithmetic expands a function on dyadic cells once (THEORY.md, Theorem Ball series); each cell
is cut into pieces on which a quadratic is enough (Theorem Linear relaxation).  Cells on which no
expansion holds are halved, and at last give the range of the values alone.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import flint
import numpy as np

from jaxbarron.balls.dyadic import exact
from jaxbarron.balls.series import LocalSeries, local_series, working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.bounds.replacements import Replacement, Spline
from jaxbarron.programs import ARITY, Program

__all__ = ["FARTHEST", "Cells", "Pair", "Table"]

_BITS = 128
_DEGREE = 7  # of the expansions
_CELL = -4  # exponent of a cell's length up to 2**_NEAR
_NEAR = 3
_OCTAVE = 4  # beyond, an octave has 2**4 cells; all are halved where that is too coarse
_PIECES = 8  # a cell is cut into so many pieces of equal length
_DEEPEST = 12  # a cell is halved so often at most
_SHARP = 2.0**-44
FARTHEST = 2.0**34  # no table beyond


@dataclass(frozen=True, eq=False)
class Table:
    """``|g(z) - (value + slope t + bend t^2)| <= rest``, t = z - middle, between two edges."""

    edges: Any  # (pieces + 1,)
    middle: Any
    value: Any
    slope: Any
    bend: Any
    rest: Any


@dataclass(frozen=True, eq=False)
class Pair:
    """An activation and what replaces it; ``kernel`` is None where nothing does."""

    source: Program
    kernel: Replacement | None = None


@dataclass(frozen=True, eq=False)
class _Expansion:
    """A function on ``[start, end]`` about a cell's middle, with the bound of its remainder."""

    start: float
    end: float
    middle: float
    radius: float  # half the cell's length: the expansion holds so far from the middle
    coefficients: list[float]
    rest: float
    smooth: bool = True  # else only the range of the values is known
    open_ends: bool = False  # nothing is known of the value at the very ends
    size: float = 0.0  # of the number at the middle; inf where no double holds it


class Cells:
    """The tables of sigma, sigma' and e = sigma - kappa; built where they are asked for, and kept.

    Args:
        pair: sigma and kappa.

    Attributes:
        jumps: an upper bound on the sum of the jumps of sigma, and of e, within the tables: tiny
            where nothing but rounding separates two branches, inf where continuity is not proved.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._found: dict[float, list[tuple[_Expansion, _Expansion, list[_Expansion]]]] = {}
        self._tables: tuple[Table, Table, Table | None] | None = None
        self.jumps = 0.0

    def tables(self, lower: float, upper: float) -> tuple[Table, Table, Table | None]:
        """Tables of the values, the derivative and the error (None without a kernel).

        They hold on ``[lower, upper]`` at least, which must lie within ``[-FARTHEST, FARTHEST]``.
        """
        if self._tables is not None:
            edges = self._tables[0].edges
            if edges[0] <= lower and upper <= edges[-1]:
                return self._tables
            lower, upper = min(lower, edges[0]), max(upper, edges[-1])
        cells: list[tuple[_Expansion, _Expansion, list[_Expansion]]] = []
        for start, end in _grid(lower, upper):
            if start not in self._found:
                with working_precision(_BITS, _DEGREE + 3):
                    self._found[start] = list(self._expand(start, end, 0))
            cells.extend(self._found[start])
        values, slopes = [x for x, _, _ in cells], [x for _, x, _ in cells]
        errors = [x for _, _, xs in cells for x in xs]
        proved = _is_continuous(self.pair.source)
        self.jumps = _jumps(values, 0.0 if proved else math.inf)
        if isinstance(self.pair.kernel, Spline):
            self.jumps += math.inf if self.pair.kernel.s == 0 else 0.0
        elif self.pair.kernel is not None:
            self.jumps += _jumps(errors)
        with working_precision(_BITS, _DEGREE + 3):
            self.jumps += _isolated(values, self._model)
            if self.pair.kernel is not None and not isinstance(self.pair.kernel, Spline):
                self.jumps += _isolated(errors, _difference(self._model, self.pair.kernel, 0))
        self._tables = (
            _tabulated(values),
            _tabulated(slopes),
            None if self.pair.kernel is None else _tabulated(errors),
        )
        return self._tables

    def _model(self, ball: Any, length: int) -> LocalSeries:
        return local_series(self.pair.source, flint.arb_series([ball, 1], prec=length), ball)

    def _expand(
        self, start: float, end: float, depth: int
    ) -> Iterator[tuple[_Expansion, _Expansion, list[_Expansion]]]:
        value = _expansion(start, end, self._model, 0)
        slope = _expansion(start, end, self._model, 1)
        errors = self._errors(start, end, self._model)
        sharp = all(x.rest <= _SHARP * max(1.0, abs(x.coefficients[0]))
                    for x in (value, slope, *errors))  # fmt: skip
        if sharp or depth == _DEEPEST or not math.isfinite(value.size):
            yield value, slope, errors
            return
        middle = (start + end) / 2
        yield from self._expand(start, middle, depth + 1)
        yield from self._expand(middle, end, depth + 1)

    def _errors(
        self, start: float, end: float, source: Callable[[Any, int], LocalSeries]
    ) -> list[_Expansion]:
        kernel = self.pair.kernel
        if kernel is None:
            return []
        found: list[_Expansion] = []
        cuts = _cuts(start, end, kernel.knots if isinstance(kernel, Spline) else ())
        for a, b in itertools.pairwise(cuts):
            first, last = _pieces_between(kernel, a, b)
            parts = [
                _expansion(start, end, _difference(source, kernel, piece), 0)
                for piece in range(first, last + 1)
            ]
            # More than one polynomial: a knot that is no double lies between two neighbours.
            found.append(_within(parts, a, b))
        return found


def _difference(
    source: Callable[[Any, int], LocalSeries], kernel: Replacement, piece: int
) -> Callable[[Any, int], LocalSeries]:
    def model(ball: Any, length: int) -> LocalSeries:
        ours, theirs = source(ball, length), kernel.series(piece, ball, length)
        return LocalSeries(
            [a - b for a, b in zip(ours.coefficients, theirs.coefficients, strict=True)],
            ours.smooth and theirs.smooth,
            ours.open_ends or theirs.open_ends,
        )

    return model


def _pieces_between(kernel: Replacement, a: float, b: float) -> tuple[int, int]:
    """The pieces of the kernel that meet the open interval (a, b)."""
    if not isinstance(kernel, Spline):
        return 0, 0
    low, high = _rational(a), _rational(b)
    return bisect.bisect_right(kernel.knots, low), bisect.bisect_left(kernel.knots, high)


def _cuts(start: float, end: float, knots: Sequence[Any]) -> list[float]:
    """Ends of the pieces: doubles around each knot between."""
    inner: set[float] = set()
    for knot in knots[bisect.bisect_right(knots, _rational(start)) :]:
        near = float(flint.arb(knot).mid())
        below = near if _rational(near) <= knot else math.nextafter(near, -math.inf)
        above = below if _rational(below) == knot else math.nextafter(below, math.inf)
        if below >= end:
            break
        inner.update(t for t in (below, above) if start < t < end)
    return [start, *sorted(inner), end]


def _within(parts: Sequence[_Expansion], a: float, b: float) -> _Expansion:
    if len(parts) == 1:
        x = parts[0]
        return replace(x, start=a, end=b)
    lows, highs = zip(*(_range(x, a, b) for x in parts), strict=True)
    low, high = min(lows), max(highs)
    middle = (low + high) / 2
    rest = (high - low) * (0.5 + 2.0**-40) + abs(middle) * 2.0**-50
    centre, radius = parts[0].middle, parts[0].radius
    return _Expansion(a, b, centre, radius, [middle, *[0.0] * _DEGREE], rest)


def _range(x: _Expansion, a: float, b: float) -> tuple[float, float]:
    """Bounds of the values on [a, b]: the polynomial over a ball, and its remainder."""
    t = flint.arb(a).union(flint.arb(b)) - flint.arb(x.middle)
    value = flint.arb(0)
    for c in reversed(x.coefficients):
        value = value * t + flint.arb(c)
    value += flint.arb(0, x.rest)
    low, high = float(value.lower()), float(value.upper())
    return math.nextafter(low, -math.inf), math.nextafter(high, math.inf)


def _expansion(
    start: float, end: float, model: Callable[[Any, int], LocalSeries], order: int
) -> _Expansion:
    """The derivative of this order about the middle of a dyadic cell."""
    middle, length = (start + end) / 2, end - start
    exponent = math.frexp(length)[1] - 2  # length = 2 * 2**exponent
    centre = exact(_rational(middle))
    ball = flint.arb((_mantissa(centre)), (1, exponent))
    radius = math.ldexp(1.0, exponent)
    count = _DEGREE + 1
    around, at = model(ball, count + 1 + order), model(centre, count + order)
    open_ends = around.open_ends
    scale = [math.perm(k + order, order) for k in range(count + 1)]
    wide = [c * s for c, s in zip(around.coefficients[order:], scale, strict=True)]
    if around.smooth and at.smooth and all(c.is_finite() for c in wide):
        sharp = [c * s for c, s in zip(at.coefficients[order:], scale, strict=False)]
        numbers = [float(c.mid()) for c in sharp]
        rest, power = flint.arb(0), flint.arb(1)
        for number, c in zip(numbers, sharp, strict=True):
            rest += abs(c - flint.arb(number)) * power
            power *= flint.arb(radius)
        rest += abs(wide[count]) * power
        if all(math.isfinite(x) for x in numbers):
            return _Expansion(
                start, end, middle, radius, numbers, upper_float(rest), True, open_ends
            )
        none = [0.0] * (_DEGREE + 1)
        return _Expansion(start, end, middle, radius, none, math.inf, False, open_ends, math.inf)
    # The range of the values is all that is known; with open ends it is that of the inside, which
    # is enough for continuous functions and for derivatives almost everywhere.
    hull = wide[0] if wide[0].is_finite() else flint.arb(0, math.inf)
    number = float(hull.mid()) if abs(hull.mid()) < 1e300 else 0.0
    rest = upper_float(hull - flint.arb(number))
    coefficients = [number, *[0.0] * _DEGREE]
    return _Expansion(start, end, middle, radius, coefficients, rest, False, open_ends)


# Of continuous operands these are continuous; comparisons and what they select need not be.
_CONTINUOUS = frozenset(ARITY) - {"select_n", "sign", "gt", "ge", "lt", "le", "eq", "ne", "pow"}
_LARGEST_JUMP = 2.0**-30


def _is_continuous(program: Program) -> bool:
    """Whether the program is continuous on its domain by its form alone."""
    return all(operation.name in _CONTINUOUS for operation in program.operations)


def _jumps(expansions: Sequence[_Expansion], unproved: float = math.inf) -> float:
    """The sum of what may be jumps: where two branches meet, and inside cells without expansion.

    Where the ball series is smooth up to the end of a cell the function is continuous there.
    """
    if any(not x.smooth for x in expansions):
        return unproved
    most = 0.0
    for left, right in itertools.pairwise(expansions):
        if left.open_ends or right.open_ends:
            lows, highs = zip(
                _range(left, left.end, left.end), _range(right, left.end, left.end), strict=True
            )
            jump = max(highs) - min(lows)
            most += jump * 1.25 if jump <= _LARGEST_JUMP else math.inf
    return most


def _isolated(expansions: Sequence[_Expansion], model: Callable[[Any, int], LocalSeries]) -> float:
    """Inf if the value at an end of a cell is not the limit there: 0 otherwise.

    Where a comparison is decided inside a cell only, its end may have a branch of its own.
    """
    for x in expansions:
        for place in (x.start, x.end) if x.open_ends and x.smooth else ():
            value = model(exact(_rational(place)), 2).coefficients[0]
            low, high = _range(x, place, place)
            if not (value > low - _LARGEST_JUMP and value < high + _LARGEST_JUMP):
                return math.inf
    return 0.0


def _tabulated(expansions: Sequence[_Expansion]) -> Table:
    """Each expansion cut into pieces, with the quadratic at each piece's middle."""
    start = np.array([x.start for x in expansions])
    end = np.array([x.end for x in expansions])
    # Linear in the fraction, exact at both ends; any doubles in order will do.
    fractions = np.arange(_PIECES + 1) / _PIECES
    edges = start[:, None] + (end - start)[:, None] * fractions
    edges[:, -1] = end
    left, right = edges[:, :-1], edges[:, 1:]
    centre = np.array([x.middle for x in expansions])[:, None]
    radius = np.array([x.radius for x in expansions])[:, None]
    coefficients = np.array([x.coefficients for x in expansions])[:, None, :]
    middle = (left + right) / 2
    t = middle - centre  # exact: both lie on a grid of a cell's last bits, or it is rounded off
    powers = t[..., None] ** np.arange(_DEGREE + 1)
    orders = np.arange(_DEGREE + 1)
    value = np.sum(coefficients * powers, axis=-1)
    slope = np.sum((orders * coefficients)[..., 1:] * powers[..., :-1], axis=-1)
    bend = np.sum((orders * (orders - 1) / 2 * coefficients)[..., 2:] * powers[..., :-2], axis=-1)
    spread = radius[..., None] ** np.arange(_DEGREE + 1)
    third = np.sum((orders * (orders - 1) * (orders - 2) * np.abs(coefficients))[..., 3:]
                   * spread[..., :-3], axis=-1)  # fmt: skip
    half = (right - left) / 2 * (1 + 2.0**-40)
    size = np.sum(np.abs(coefficients) * spread, axis=-1)
    moved = np.sum((orders * np.abs(coefficients))[..., 1:] * spread[..., :-1], axis=-1)
    # Rounding: 64 last bits of every sum of moduli, and middles that are off by their last bits.
    noise = 2.0**-46 * size + 2.0**-50 * np.abs(middle) * moved
    rest = np.array([x.rest for x in expansions])[:, None]
    rest = (rest + third * half**3 / 6 + noise) * (1 + 2.0**-40) + 1e-300
    flat = [
        np.broadcast_to(x, middle.shape).reshape(-1) for x in (middle, value, slope, bend, rest)
    ]
    return Table(np.append(left.reshape(-1), end[-1]), *flat)


def _grid(lower: float, upper: float) -> Iterator[tuple[float, float]]:
    """The dyadic cells that meet ``[lower, upper]``, ascending."""
    z = _left_edge(lower)
    while True:
        length = _length(z)
        yield z, z + length
        z += length
        if z >= upper:
            return


def _length(z: float) -> float:
    """Length of the cell that starts at z."""
    at = z if z >= 0 else -z
    octave = math.frexp(at)[1] - 1 if at else 0
    if z < 0 and at == math.ldexp(1.0, octave):
        octave -= 1  # the cell runs towards 0
    return _length_in(octave)


def _left_edge(z: float) -> float:
    length = _length_in(math.frexp(abs(z))[1] - 1 if z else 0)
    return math.floor(z / length) * length


def _length_in(octave: int) -> float:
    return math.ldexp(1.0, _CELL if octave < _NEAR else octave - _OCTAVE)


def _rational(value: float) -> Any:
    return flint.fmpq(*value.as_integer_ratio())


def _mantissa(ball: Any) -> tuple[Any, int]:
    number = ball.mid().fmpq()
    return number.p, 1 - int(number.q).bit_length()
