"""Stretches of one sign: against exact signs of polynomials with known roots, and mpmath."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import flint
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxbarron.balls import roots
from jaxbarron.balls.roots import inner_ball, signed_stretches
from jaxbarron.balls.series import LocalSeries, local_series, working_precision
from jaxbarron.balls.suprema import Piece
from jaxbarron.programs import trace

BITS = 192


@pytest.fixture(autouse=True)
def _fine_comparisons():
    with flint.ctx.workprec(2000):
        yield


def fmpq(value) -> flint.fmpq:
    value = Fraction(value)
    return flint.fmpq(value.numerator, value.denominator)


def pieces_of(fn, cuts):
    program = trace(fn)

    def model(ball, length):
        series = flint.arb_series([ball, 1], prec=max(length, 2))
        found = local_series(program, series, ball)
        return LocalSeries(found.coefficients[:length], found.smooth, found.open_ends)

    return [Piece(fmpq(a), fmpq(b), model) for a, b in itertools.pairwise(cuts)]


def stretches_of(fn, *cuts, known=0.0, weight=lambda a, b: 1.0):
    with working_precision(BITS, 32):
        found = signed_stretches(pieces_of(fn, cuts), weight=weight, known=known)
        check_cover(found, cuts)
    return found


def check_cover(found, cuts):
    """No gap: a stretch begins at the ball where the one before it ends."""
    assert found[0].start == flint.arb(fmpq(cuts[0]))
    assert found[-1].end == flint.arb(fmpq(cuts[-1]))
    for a, b in itertools.pairwise(found):
        assert a.end.mid() == b.start.mid()
        assert a.end.rad() == b.start.rad()


def check_signs(found, exact_value, points):
    """The sign stated at every point, or the bound, holds; points inside balls of roots apart."""
    checked = 0
    for point in points:
        here = flint.arb(fmpq(point))
        value = exact_value(Fraction(point))
        for stretch in found:
            if stretch.start.upper() <= here <= stretch.end.lower():
                if stretch.sign is None:
                    assert flint.arb(fmpq(abs(value))) <= stretch.bound
                elif stretch.sign == 0:
                    assert value == 0
                else:
                    assert flint.arb(fmpq(stretch.sign * value)) >= -stretch.slack
                checked += 1
    return checked


def product(factors):
    def jax_form(z):
        total = 1.0
        for r in factors:
            total = total * (z - float(r))
        return total

    def exact(z):
        return math.prod(z - Fraction(r) for r in factors)

    return jax_form, exact


GRID = [Fraction(k, 37) for k in range(-4 * 37, 4 * 37 + 1)]


@pytest.mark.parametrize(
    "factors",
    [
        (0.5, -1.25, 3.0),
        (0.0,),  # a root at the middle of the piece
        (0.0, 1.0, 2.0, -2.0),  # roots at joints of tiles
        (-4.0, 4.0),  # roots at the ends
        (0.1, 0.1000001),  # a close pair
        (0.1, 0.1, 0.7),  # a double root
        (0.0, 0.0, 1.0),  # a double root at a joint
        (1.0, 1.0, 1.0, -0.3),  # a triple one
        (0.3, 0.3, 0.3, 0.3),
        tuple(k / 5 for k in range(-9, 10)),
    ],
)
def test_known_roots(factors):
    fn, exact = product(factors)
    found = stretches_of(fn, -4, 4)
    near = [Fraction(r) + side * Fraction(1, 10**k) for r in factors for k in (3, 9, 14)
            for side in (-1, 1) if abs(r) < 4]  # fmt: skip
    assert check_signs(found, exact, GRID + near) >= len(GRID)
    undecided = sum(
        float((s.bound * (s.end - s.start)).abs_upper()) for s in found if s.sign is None
    )
    assert undecided < 1e-14
    slack = max(float(s.slack) for s in found)
    assert slack < 1e-30


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-4096, 4096).map(lambda n: n / 1024), min_size=1, max_size=6),
    st.integers(-2, 3),
)
def test_random_roots_are_all_found(factors, shift):
    fn, exact = product(factors)
    start, end = -4 + shift, 4.5 + shift
    found = stretches_of(fn, start, end)
    grid = [Fraction(start) + Fraction(k * 17, 2000) for k in range(1000)]
    check_signs(found, exact, grid)
    simple = [r for r in factors if factors.count(r) == 1 and start < r < end]
    ends = [s.end for s in found[:-1]]
    for r in simple:
        alone = min((abs(r - q) for q in factors if q != r), default=1.0)
        if alone > 1e-3:
            assert any(abs(e - r) < flint.arb(2) ** -80 for e in ends)


def test_roots_are_sharp_and_true():
    with mpmath.workdps(50):
        known = sorted(mpmath.findroot(mpmath.cos, x) for x in (1.5, 4.7, 7.8, 11.0))
    found = stretches_of(jnp.cos, 0, 12)
    balls = [s.end for s in found[:-1]]
    assert [s.sign for s in found] == [1, -1, 1, -1, 1]
    for ball, root in zip(balls, known, strict=True):
        assert ball.rad() < flint.arb(2) ** -90
        assert abs(ball - flint.arb(mpmath.nstr(root, 45))) < flint.arb(2) ** -88


def test_zero_on_a_piece_and_kinks_at_the_ends_of_pieces():
    found = stretches_of(lambda z: jnp.where(z > 0.5, z - 2.0, 0.0), -1, 0.5, 3)
    assert [s.sign for s in found] == [0, -1, 1]
    assert found[0].end == flint.arb("0.5")
    assert found[1].end.contains(2)


def test_a_root_at_a_kink_needs_slack_only():
    # On either side of 0 the function is a line through 0.
    found = stretches_of(lambda z: jnp.where(z > 0, z, -3 * z), -1, 0, 1)
    assert {s.sign for s in found} == {1}
    assert all(s.slack < flint.arb(2) ** -100 for s in found)


@pytest.mark.parametrize("place", [0.3, 0.0, 0.5, -1.0, 1 / 3, 3.999999])
@pytest.mark.parametrize("shape", ["abs", "where", "max", "step", "sqrt", "pole"])
def test_a_kink_that_nobody_declared_is_named(place, shape):
    shapes = {
        "abs": lambda z: jnp.abs(z - place),
        "where": lambda z: jnp.where(z > place, z - place, 2 * (z - place)),
        "max": lambda z: jnp.maximum(z, place),
        "step": lambda z: jnp.where(z >= place, 1.0, 0.5),
        "sqrt": lambda z: jnp.sqrt(jnp.abs(z - place)),
        "pole": lambda z: 1 / (z - place),
    }
    found = stretches_of(shapes[shape], -4, 4)
    rough = [s for s in found if s.sign is None and not s.bound.is_finite()]
    assert rough
    assert any(f"near z = {place:.6g};" in s.reason for s in rough)
    # Wherever a sign is stated none the less, the place lies outside.
    for s in found:
        if s.sign is not None:
            assert not (s.start < flint.arb(place) < s.end)


def test_what_is_negligible_stays_undecided_with_a_bound():
    fn = lambda z: jnp.exp(-z * z) * (z - 1.0) ** 2  # noqa: E731
    plain, told = stretches_of(fn, -3, 3), stretches_of(fn, -3, 3, known=1e30)
    assert max(s.end - s.start for s in plain if s.sign is None) < 1e-3
    undecided = [s for s in told if s.sign is None]
    assert max(s.end - s.start for s in undecided) >= flint.arb("0.5")
    for s in undecided:
        assert s.bound.is_finite()
        middle = float(((s.start + s.end) / 2).mid())
        assert flint.arb(float(fn(middle))) <= s.bound * (1 + flint.arb(2) ** -20)


def test_a_function_that_is_zero_but_for_rounding_ends(monkeypatch):
    monkeypatch.setattr(roots, "_TILES", 300)
    found = stretches_of(lambda z: jnp.tanh(z) - (1 - 2 / (1 + jnp.exp(2 * z))), -1, 1)
    assert all(s.sign in (None, 1, -1) for s in found)
    assert all(s.bound.is_finite() for s in found)


@pytest.mark.parametrize("scale", [1e-40, 1e-9, 1.0, 1e9, 1e40])
def test_every_scale(scale):
    fn = lambda z: (z / scale) ** 2 - 0.5  # noqa: E731
    found = stretches_of(fn, -scale, scale)
    assert [s.sign for s in found] == [1, -1, 1]
    root = found[1].end / flint.arb(scale)
    assert abs(root**2 - 0.5) < flint.arb(2) ** -50


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("point", [0, 3, -3, 0.1, 6.0, 1e6 + 1 / 3, -(2.0**-30)])
@pytest.mark.parametrize("bits", [128, 192, 768])
def test_inner_balls_end_exactly_at_their_point(point, side, bits):
    with working_precision(bits, 8):
        ball = inner_ball(fmpq(point), side)
        with flint.ctx.workprec(4 * bits):
            assert ball.mid() - side * ball.rad() == flint.arb(fmpq(point))
            assert ball.rad() > 0
        # a program with its kink there takes one branch
        found = pieces_of(lambda z: jnp.abs(z - point), (0, 1))[0].model(ball, 2)
        assert found.smooth
        assert found.coefficients[1] == side


def test_a_planted_fault_is_caught():
    """A model whose derivative lies hides a root, and the check of signs sees it."""
    fn, exact = product((0.5, -1.25, 3.0))
    piece = pieces_of(fn, (-4, 4))[0]

    def lying(ball, length):
        found = piece.model(ball, length)
        shifted = [found.coefficients[0] + flint.arb(1) / 100, *found.coefficients[1:]]
        return LocalSeries(shifted, found.smooth, found.open_ends)

    with working_precision(BITS, 32):
        false = signed_stretches(
            [Piece(piece.start, piece.end, lying)], weight=lambda a, b: 1.0, known=0.0
        )
    near = [Fraction(1, 2) + Fraction(side, 4000) for side in (-1, 1)]
    with pytest.raises(AssertionError):
        check_signs(false, exact, GRID + near)


def test_samples_of_an_oscillation():
    fn = lambda z: jnp.exp(-z * z) * jnp.sin(17 * z + 0.3)  # noqa: E731
    found = stretches_of(fn, -3, 3)
    z = np.linspace(-3, 3, 4001)[1:-1]
    signs = np.sign(np.sin(17 * z + 0.3))
    starts = np.array([float(s.start.mid()) for s in found])
    stated = np.array([s.sign or 0 for s in found])[np.searchsorted(starts, z, "right") - 1]
    assert (stated == signs).mean() == 1.0
