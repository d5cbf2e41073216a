"""Where a piecewise analytic function is positive, negative or zero, rigorously.

Pieces are cut into tiles until each has a sign, by a Taylor model; or is monotone, and then has one
simple root or none; or no longer matters for the integral (THEORY.md, Theorem Sign stretches).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flint

from jaxbarron.balls.dyadic import exact, floor_log2, power_of_two
from jaxbarron.balls.series import LocalSeries
from jaxbarron.balls.suprema import Piece, lower_float, upper_float

__all__ = ["Stretch", "inner_ball", "signed_stretches"]

_ORDER = 10  # coefficients of the Taylor polynomial on a tile
_NEGLIGIBLE = 2.0**-60  # of the whole: what a tile without a sign may hold
_SMALLEST = -64  # tiles are not halved below 2**_SMALLEST times their scale
_TILES = 4000  # no more are halved once so many were looked at
_WIDEST = 128  # a piece is cut into so many tiles, or tiles of width 1, before a look at any
_OVERHANG = 64  # an inner tile is looked at with this part of its width added on either side
_NEWTON = 40


@dataclass(frozen=True, eq=False)
class Stretch:
    """An interval on which g has a sign, or is small.

    Attributes:
        start: an exact ball, or one that holds a root of g.
        end: likewise.
        sign: 1 or -1; 0 where g is identically zero; None where nothing is decided.
        bound: ``|g| <= bound`` on the stretch if the sign is None; may be inf.
        slack: ``sign * g >= -slack`` on the stretch; zero where the sign is proved.
        reason: why the bound is not finite.
    """

    start: Any
    end: Any
    sign: int | None
    bound: Any
    slack: Any
    reason: str = ""


def inner_ball(point: Any, side: int) -> Any:
    """A tiny ball that ends exactly at a dyadic point: [point, point + 2r], or [point - 2r, point].

    A program with a kink at the point takes one branch on it.  The radius leaves the middle short
    enough to be exact at flint's present precision, also after a shift of the argument.
    """
    scale = max(floor_log2(abs(point)), 0) if point != 0 else 0
    exponent = scale - flint.ctx.prec * 3 // 4
    return _ball(point + side * power_of_two(exponent), power_of_two(exponent))


def signed_stretches(
    pieces: Sequence[Piece], *, weight: Callable[[Any, Any], float], known: float
) -> list[Stretch]:
    """Stretches that cover the pieces, in order (Theorem Sign stretches).

    Args:
        pieces: where g is given, with dyadic ends, in order.  Kinks lie at their ends only.
        weight: at least the largest weight between two dyadic rationals.
        known: a lower bound of the integral of weight * ``|g|`` that the caller has already:
            tiles that hold a negligible part of it stay undecided, with a bound.

    Returns:
        The stretches.  One that could not be bounded, for want of smoothness, has the bound inf
        and a reason; the search ends with the first of these.

    Example:
        >>> from jaxbarron.balls.series import local_series
        >>> from jaxbarron.programs import trace
        >>> program = trace(lambda z: z * z - 2)
        >>> def model(ball, length):
        ...     return local_series(program, flint.arb_series([ball, 1], prec=length), ball)
        >>> piece = Piece(flint.fmpq(0), flint.fmpq(2), model)
        >>> found = signed_stretches([piece], weight=lambda a, b: 1.0, known=0.0)
        >>> [s.sign for s in found], bool(found[0].end.contains(flint.arb(2).sqrt()))
        ([-1, 1], True)
    """
    search = _Search(weight, known)
    for number, piece in enumerate(pieces):
        for start, end in _cover(piece):
            search.visit(_Tile(number, piece, start, end))
    search.run()
    return _merged(search.settled)


@dataclass(frozen=True, eq=False)
class _Tile:
    number: int  # of the piece
    piece: Piece
    start: Any  # dyadic fmpq
    end: Any

    def ball(self) -> Any:
        """The tile, flush with the ends of the piece and else a little more on both sides."""
        middle, radius = (self.start + self.end) / 2, (self.end - self.start) / 2
        if self.start > self.piece.start and self.end < self.piece.end:
            radius = radius + 2 * radius / _OVERHANG
        return _ball(middle, radius)

    def halves(self) -> list[_Tile]:
        middle = (self.start + self.end) / 2
        return [
            _Tile(self.number, self.piece, self.start, middle),
            _Tile(self.number, self.piece, middle, self.end),
        ]

    def smallest(self) -> bool:
        scale = max(flint.fmpq(1), abs(self.start), abs(self.end))
        scale = min(scale, self.piece.end - self.piece.start)
        return self.end - self.start <= scale * power_of_two(_SMALLEST)

    def signed(self, sign: int, slack: Any = None) -> Stretch:
        zero = flint.arb(0)
        return Stretch(
            exact(self.start), exact(self.end), sign, zero, zero if slack is None else slack
        )

    def undecided(self, bound: Any) -> Stretch:
        reason = ""
        if not bound.is_finite():
            bound = flint.arb("inf")
            place = float(min(self.start, self.end, key=lambda t: int(t.q)))
            reason = (
                f"may have a kink, a pole or the end of its domain near z = {place:.6g}; "
                "declare it if it is a kink"
            )
        return Stretch(exact(self.start), exact(self.end), None, bound, flint.arb(0), reason)


@dataclass(frozen=True, eq=False)
class _Found:
    """What was found on a tile.

    ``least`` is about the least modulus of g there, for an estimate of the integral; ``final`` says
    that halving the tile would tell no more at this precision.
    """

    stretches: tuple[Stretch, ...]
    least: float = 0.0
    final: bool = True


class _Search:
    """The heap of tiles that may matter, and the stretches that are settled."""

    def __init__(self, weight: Callable[[Any, Any], float], known: float) -> None:
        self.weight = weight
        self.known = known
        self.summed = 0.0  # about the integral over the tiles with a sign
        self.looks = 0
        self.hopeless = False
        self.heap: list[tuple[float, int, _Tile, _Found]] = []
        self.settled: list[tuple[_Tile, _Found]] = []

    def visit(self, tile: _Tile) -> None:
        self.looks += 1
        found = _examined(tile)
        size = float(tile.end - tile.start) * self.weight(tile.start, tile.end)
        self.summed += found.least * size
        share = 0.0 if found.final else upper_float(found.stretches[0].bound) * size
        if tile.smallest() or self.negligible(share):
            self.settled.append((tile, found))
            self.hopeless = self.hopeless or not math.isfinite(share)
        else:
            # the last first among those without a bound: straight down to the kink
            heapq.heappush(self.heap, (-share, -self.looks, tile, found))

    def negligible(self, share: float) -> bool:
        return share <= _NEGLIGIBLE * max(self.known, self.summed)

    def run(self) -> None:
        while self.heap and not self.hopeless and self.looks < _TILES:
            if self.negligible(-self.heap[0][0]):
                break
            for half in heapq.heappop(self.heap)[2].halves():
                self.visit(half)
        self.settled.extend((tile, found) for *_, tile, found in self.heap)


def _cover(piece: Piece) -> list[tuple[Any, Any]]:
    """Tiles of the piece; the first and the last of power-of-two width, never one beside the other.

    So their balls end exactly at the ends of the piece, and all other tiles may overhang.
    """
    length = piece.end - piece.start
    width = power_of_two(floor_log2(length))
    if width == length:
        width = width / 2
    half = width / 2
    middle = (piece.start + half, piece.end - half)
    tiles = [(piece.start, piece.start + half), middle, (piece.end - half, piece.end)]
    widest = max(flint.fmpq(1), length / _WIDEST)
    while any(b - a > widest for a, b in tiles):
        tiles = [t for a, b in tiles for t in _pair(a, b, widest)]
    return tiles


def _pair(start: Any, end: Any, widest: Any) -> list[tuple[Any, Any]]:
    if end - start <= widest:
        return [(start, end)]
    middle = (start + end) / 2
    return [(start, middle), (middle, end)]


# --------------------------------------------------------------------- one tile


def _examined(tile: _Tile) -> _Found:
    ball = tile.ball()
    around = tile.piece.model(ball, _ORDER + 1)
    value, slope = around.coefficients[0], around.coefficients[1]
    if not (around.smooth and value.is_finite()):
        return _Found((tile.undecided(flint.arb("inf")),), final=False)
    sign = 0 if value.is_zero() else _sign(value)
    if sign is not None:
        return _Found((tile.signed(sign),), lower_float(value))
    rising = _sign(slope)
    return _monotone(tile, rising) if rising else _by_taylor(tile, ball, around)


def _by_taylor(tile: _Tile, ball: Any, around: LocalSeries) -> _Found:
    """Theorem Sign stretches: the signs of g and of g' from the sizes of Taylor's terms."""
    bound = around.coefficients[0].abs_upper()
    centre = tile.piece.model(ball.mid(), _ORDER)
    if not centre.smooth:
        return _Found((tile.undecided(bound),), final=False)
    terms, power = [], flint.arb(1)
    for coefficient in [*centre.coefficients, around.coefficients[_ORDER]]:
        terms.append(coefficient * power)
        power = power * ball.rad()
    sizes = [c.abs_upper() for c in terms]
    rest = sum(sizes[1:], flint.arb(0))
    least = terms[0].abs_lower() - rest
    if least > 0:
        return _Found((tile.signed(_sign(terms[0]) or 0),), lower_float(least))
    if terms[1].abs_lower() > sum((k * x for k, x in enumerate(sizes[2:], 2)), flint.arb(0)):
        return _monotone(tile, _sign(terms[1]) or 0)
    total = (rest + sizes[0]).abs_upper()
    # All that is left is the rounding of the middle value: only a higher precision would help.
    final = bool(terms[0].contains(0) and rest <= 4 * terms[0].rad())
    return _Found((tile.undecided(total if total < bound else bound),), final=final)


def _monotone(tile: _Tile, rising: int) -> _Found:
    """A tile on which g' has the sign ``rising``: one simple root, or none, or one at an end."""
    piece = tile.piece
    left = inner_ball(tile.start, 1) if tile.start == piece.start else exact(tile.start)
    right = inner_ball(tile.end, -1) if tile.end == piece.end else exact(tile.end)
    low, high = (rising * piece.model(end, 2).coefficients[0] for end in (left, right))
    if not (low.is_finite() and high.is_finite()):
        return _Found((tile.undecided(flint.arb("inf")),), final=False)
    if low > 0:
        return _Found((tile.signed(rising),), lower_float(low))
    if high < 0:
        return _Found((tile.signed(-rising),), lower_float(high))
    least = max(lower_float(low), lower_float(high)) / 2
    if low < 0 and high > 0:
        root, zero = _root(tile, rising), flint.arb(0)
        before = Stretch(exact(tile.start), root, -rising, zero, zero)
        return _Found((before, Stretch(root, exact(tile.end), rising, zero, zero)), least)
    # A root at an end, or all but there: beyond it g is no more than the value at that end.
    if high > 0:
        return _Found((tile.signed(rising, low.abs_upper()),), least)
    if low < 0:
        return _Found((tile.signed(-rising, high.abs_upper()),), least)
    return _Found((tile.undecided(low.abs_upper().max(high.abs_upper())),))


def _sign(ball: Any) -> int | None:
    return 1 if ball > 0 else -1 if ball < 0 else None


def _root(tile: _Tile, rising: int) -> Any:
    """A ball that holds the root of a tile: g changes sign from one of its ends to the other."""
    low, high = tile.start, tile.end
    wanted = floor_log2(high - low) - flint.ctx.prec // 2
    at = (low + high) / 2
    for _ in range(_NEWTON):
        value, slope = (c.mid() for c in tile.piece.model(exact(at), 2).coefficients)
        low, high = (low, at) if rising * value > 0 else (at, high)
        step = (value / slope).mid()
        if not step.is_finite():
            break
        after = at - _rounded(step.fmpq(), wanted - 8)
        if low < after < high:
            at = after
        elif abs(step) > flint.arb(power_of_two(wanted)):
            at = _rounded((low + high) / 2, wanted - 8)
        if abs(step) <= flint.arb(power_of_two(wanted - 4)):
            break
    # What was done in midpoints only is proved here, on the smallest ball that allows it.
    for exponent in range(wanted, floor_log2(tile.end - tile.start), 4):
        radius = power_of_two(exponent)
        ends = at - radius, at + radius
        if not tile.start < ends[0] < ends[1] < tile.end:
            break
        before, after = (rising * tile.piece.model(exact(t), 2).coefficients[0] for t in ends)
        if before < 0 and after > 0:
            return _ball(at, radius)
    return _ball((tile.start + tile.end) / 2, (tile.end - tile.start) / 2)


def _rounded(value: Any, exponent: int) -> Any:
    grain = power_of_two(exponent)
    return (value / grain).floor() * grain


# ----------------------------------------------------------------- together again


def _merged(settled: Sequence[tuple[_Tile, _Found]]) -> list[Stretch]:
    """In order; neighbours of one piece and one sign as one stretch."""
    result: list[Stretch] = []
    number = -1
    for tile, found in sorted(settled, key=lambda pair: (pair[0].number, pair[0].start)):
        for stretch in found.stretches:
            last = result[-1] if tile.number == number else None
            if last is not None and last.sign is not None and last.sign == stretch.sign:
                slack = last.slack.max(stretch.slack)
                joined = Stretch(last.start, stretch.end, last.sign, flint.arb(0), slack)
                result[-1] = joined
            else:
                result.append(stretch)
            number = tile.number
    return result


def _ball(middle: Any, radius: Any) -> Any:
    return flint.arb(_parts(middle), _parts(radius))


def _parts(dyadic: Any) -> tuple[Any, int]:
    return dyadic.p, 1 - int(dyadic.q).bit_length()
