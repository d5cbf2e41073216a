"""Integrals of p |g| against mpmath's quadrature, split at numerically found roots."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import flint
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxbarron.balls import integrals
from jaxbarron.balls.envelopes import Envelope, HalfLine, Unknown
from jaxbarron.balls.infinity import expansion_at_infinity
from jaxbarron.balls.integrals import Combination, absolute_integral
from jaxbarron.balls.remainders import Decaying, Settled, remainder
from jaxbarron.balls.roots import Stretch
from jaxbarron.balls.series import working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.balls.weights import Weight, distance_weight, evaluate, reach_weight, unit_weight
from jaxbarron.programs import trace


def fmpq(value) -> flint.fmpq:
    value = Fraction(value)
    return flint.fmpq(value.numerator, value.denominator)


def combination(fn, **terms):
    """``combination(f, d2=1)`` is f''."""
    pairs = sorted((int(k[1:]), fmpq(a)) for k, a in terms.items())
    return Combination(trace(fn), tuple(pairs))


# Derivatives in closed form, for numpy floats and for mpmath numbers alike.


def tanh_derivative(n, z, m):
    """A polynomial in t = tanh: t' = 1 - t^2; far out from u = 1 - t^2 = 1/cosh^2."""
    t, u = m.tanh(z), 1 / m.cosh(z) ** 2
    if n == 0:
        return t
    row = {(0, 1): 1}  # t^i u^j
    for _ in range(n - 1):
        after = {}
        for (i, j), c in row.items():
            # (t^i u^j)' = i t^(i-1) u^(j+1) - 2 j t^(i+1) u^j
            for place, factor in (((i - 1, j + 1), i), ((i + 1, j), -2 * j)):
                if factor:
                    after[place] = after.get(place, 0) + c * factor
        row = after
    return sum(c * t**i * u**j for (i, j), c in row.items())


def gauss_derivative(n, z, m):
    """``(-1)^n H_n(z) exp(-z^2)``."""
    low, high = 0 * z, 0 * z + 1
    for k in range(n):
        low, high = high, 2 * z * high - 2 * k * low
    return (-1) ** n * high * m.exp(-z * z)


def quadrature(g, start, end, digits=20):
    """int |g| from start to end: sign changes on a fine grid, polished, then mpmath.quad."""
    grid = np.linspace(start, end, 6001)
    values = np.asarray(g(grid, np), dtype=float)
    cuts = [mpmath.mpf(start)]
    with mpmath.workdps(digits):
        for k in np.nonzero(values[1:] * values[:-1] < 0)[0]:
            ends = mpmath.mpf(grid[k]), mpmath.mpf(grid[k + 1])
            cuts.append(mpmath.findroot(lambda z: g(z, mpmath), ends, solver="anderson"))
        cuts.append(mpmath.mpf(end))
        total = mpmath.mpf(0)
        for a, b in itertools.pairwise(cuts):
            count = max(1, math.ceil((b - a) / 2))
            points = [a + (b - a) * k / count for k in range(count + 1)]
            total += abs(mpmath.quad(lambda z: g(z, mpmath), points))
        return total


def agrees(found, exact, rel=1e-11):
    """The enclosure holds the value, found numerically to 1e-13 of it, and is narrow."""
    slack = 1e-13 * float(exact)
    inside = found.lower - slack <= float(exact) <= found.upper + slack
    return inside and found.upper - found.lower <= rel * found.upper


def of_tanh_and_gauss(a, b, c, d, e):
    """``a tanh(b z + c) + d exp(-(z - e)^2)`` in JAX, and its derivatives."""

    def fn(z):
        return a * jnp.tanh(b * z + c) + d * jnp.exp(-((z - e) ** 2))

    def derivative(n, z, m):
        inner = tanh_derivative(n, b * z + c, m)
        return a * b**n * inner + d * gauss_derivative(n, z - e, m)

    return fn, derivative


CASES = [
    tuple(np.round(np.random.default_rng(seed).uniform(-1.6, 1.6, 5) * 64) / 64)
    for seed in range(8)
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("order", [1, 2, 4])
def test_on_an_interval(case, order):
    fn, derivative = of_tanh_and_gauss(*case)
    found = absolute_integral(
        combination(fn, **{f"d{order}": 1}), distance_weight(fmpq(1), order - 1, fmpq(0.25)),
        fmpq(-2.5), fmpq(3.25),
    )  # fmt: skip
    exact = sum(
        quadrature(lambda z, m: derivative(order, z, m) * (1 + abs(z - 0.25)) ** (order - 1), *ends)
        for ends in ((-2.5, 0.25), (0.25, 3.25))
    )
    assert agrees(found, exact)


@pytest.mark.parametrize("case", CASES[:5])
def test_on_the_line(case):
    fn, derivative = of_tanh_and_gauss(case[0], 1.0 + abs(case[1]), *case[2:])
    found = absolute_integral(combination(fn, d3=1), reach_weight(2))
    total = sum(
        quadrature(lambda z, m, power=power: derivative(3, z, m) * z**power, *ends)
        for ends, power in (((-45, -1), 2), ((-1, 1), 0), ((1, 45), 2))
    )
    assert agrees(found, total)


def test_combinations_of_derivatives():
    fn, derivative = of_tanh_and_gauss(*CASES[3])
    found = absolute_integral(
        combination(fn, d2=-0.75, d3=1, d5=0.125), distance_weight(fmpq(1), 1, fmpq(0))
    )

    def g(z, m):
        return sum(a * derivative(k, z, m) for k, a in ((2, -0.75), (3, 1), (5, 0.125)))

    exact = sum(quadrature(lambda z, m: g(z, m) * (1 + abs(z)), *e) for e in ((-45, 0), (0, 45)))
    assert agrees(found, exact)


@settings(max_examples=15, deadline=None)
@given(st.floats(-3, 3), st.floats(0.01, 4), st.integers(0, 3), st.floats(0, 2))
def test_intervals_that_hypothesis_picks(start, width, power, base):
    end = start + width
    found = absolute_integral(
        combination(jnp.tanh, **{f"d{power + 1}": 1}),
        distance_weight(fmpq(base), power, fmpq(0.5)), fmpq(start), fmpq(end),
    )  # fmt: skip
    ends = [start, *([0.5] if start < 0.5 < end else []), end]
    exact = sum(
        quadrature(
            lambda z, m: tanh_derivative(power + 1, z, m) * (base + abs(z - 0.5)) ** power, *e
        )
        for e in itertools.pairwise(ends)
    )
    assert agrees(found, exact, rel=1e-9)


@pytest.mark.parametrize(
    ("fn", "order", "weight", "exact"),
    [
        (jnp.arctan, 1, unit_weight(), math.pi),
        (jnp.arctan, 2, unit_weight(), 2.0),
        (jnp.arctan, 2, reach_weight(1), 2 + math.pi / 2),
        (lambda z: 1 / (1 + z * z), 1, unit_weight(), 2.0),
        (lambda z: z / jnp.sqrt(1 + z * z), 1, unit_weight(), 2.0),
        (lambda z: jnp.sqrt(1 + z * z), 2, unit_weight(), 2.0),
        (lambda z: z * jnp.arctan(z), 2, unit_weight(), math.pi),
        (lambda z: 1 / (1 + z**4), 1, unit_weight(), 2.0),
        (lambda z: jnp.sin(1 / (1 + z * z)), 1, unit_weight(), 2 * math.sin(1.0)),
        (lambda z: jnp.cbrt(1 + z**6), 3, unit_weight(), None),
    ],
)
def test_algebraic_tails_are_settled_exactly(fn, order, weight, exact):
    found = absolute_integral(combination(fn, **{f"d{order}": 1}), weight)
    assert found.upper - found.lower <= 1e-13 * found.upper
    if exact is not None:
        assert found.lower - 1e-15 * exact <= exact <= found.upper + 1e-15 * exact


def test_roots_at_breaks_of_the_weight():
    # g = tanh'' vanishes at 0, where the weight has its break
    found = absolute_integral(combination(jnp.tanh, d2=1), distance_weight(fmpq(1), 1, fmpq(0)))
    assert found.lower <= 4.0 <= found.upper <= 4.0 + 1e-13
    # and just beside it: the polynomial changes inside, or beside, the ball of the root
    for shift in (2.0**-40, 2.0**-97, 2.0**-150, -(2.0**-97)):
        beside = distance_weight(fmpq(1), 1, fmpq(shift))
        found = absolute_integral(combination(jnp.tanh, d2=1), beside)
        assert found.lower <= 4.0 + 1e-11
        assert found.upper >= 4.0 - 1e-11
        assert found.upper - found.lower < 1e-12


def test_kinks_are_left_out():
    fn = lambda z: jnp.abs(z - 0.5) + z * jnp.abs(z)  # noqa: E731
    found = absolute_integral(
        combination(fn, d2=1), unit_weight(), fmpq(-1), fmpq(2), kinks=[fmpq(0.5), fmpq(0)]
    )
    # (z |z|)'' = 2 sign z
    assert found.lower <= 6.0 <= found.upper <= 6.0 + 1e-14


PLACES = (0.3, 0.0, 0.5, 1.0, 8.0, 16.0, 33.0)


@pytest.mark.parametrize(
    ("place", "ends"),
    [(place, (-1, end)) for place in PLACES for end in (1, None) if place <= (end or place)]
    + [(place, (None, None)) for place in PLACES],
)
def test_a_kink_that_is_not_declared_is_never_a_finite_number(place, ends):
    start, end = (None if e is None else fmpq(e) for e in ends)
    for fn in (
        lambda z: jnp.abs(z - place) * jnp.exp(-z * z),
        lambda z: jax.nn.relu(z - place) - jax.nn.relu(z - place - 0.25),
        lambda z: jnp.where(z >= place, 1.0, 0.0),
    ):
        found = absolute_integral(combination(fn, d1=1), unit_weight(), start, end)
        assert found.upper == math.inf
        assert found.reason


def test_infinite_integrals_say_so():
    for fn, order in ((lambda z: z**3, 2), (jax.nn.softplus, 1), (jnp.sqrt, 1)):
        found = absolute_integral(combination(fn, **{f"d{order}": 1}), unit_weight())
        assert found.upper == math.inf
        assert found.reason
    assert absolute_integral(combination(lambda z: z**3, d2=1), unit_weight()).lower == math.inf


def test_a_dropped_root_is_caught(monkeypatch):
    """The planted fault: two neighbouring stretches taken for one."""
    honest = integrals.signed_stretches
    fn, derivative = of_tanh_and_gauss(*CASES[1])
    g = combination(fn, d2=1)
    exact = quadrature(lambda z, m: derivative(2, z, m), -2.5, 3.25)
    assert agrees(absolute_integral(g, unit_weight(), fmpq(-2.5), fmpq(3.25)), exact)

    def dropping(*args, **kwargs):
        first, second, *rest = honest(*args, **kwargs)
        zero = flint.arb(0)
        return [Stretch(first.start, second.end, first.sign, zero, zero), *rest]

    monkeypatch.setattr(integrals, "signed_stretches", dropping)
    assert not agrees(absolute_integral(g, unit_weight(), fmpq(-2.5), fmpq(3.25)), exact)


def test_a_wrong_antiderivative_is_caught(monkeypatch):
    honest = Combination.antiderivative
    fn, derivative = of_tanh_and_gauss(*CASES[1])
    g, weight = combination(fn, d2=1), distance_weight(fmpq(1), 1, fmpq(-4))
    exact = quadrature(lambda z, m: derivative(2, z, m) * (1 + abs(z + 4)), -2.5, 3.25)
    assert agrees(absolute_integral(g, weight, fmpq(-2.5), fmpq(3.25)), exact)
    # p f' without the - p' f that belongs to it
    monkeypatch.setattr(Combination, "antiderivative", lambda self, p, ball: (
        evaluate(p, ball) * honest(self, [fmpq(1)], ball)
    ))  # fmt: skip
    assert not agrees(absolute_integral(g, weight, fmpq(-2.5), fmpq(3.25)), exact)


# ------------------------------------------------------------------------- weights


@given(st.integers(0, 5), st.fractions(-4, 4, max_denominator=64))
@settings(max_examples=60, deadline=None)
def test_weights(s, t):
    t = Fraction(round(t * 64), 64)
    for weight, value in (
        (unit_weight(), Fraction(1)),
        (reach_weight(s), max(Fraction(1), abs(t)) ** s),
        (
            distance_weight(fmpq(0.75), s, fmpq(0.5)),
            (Fraction(3, 4) + abs(t - Fraction(1, 2))) ** s,
        ),
    ):
        assert weight.value(fmpq(t)).contains(flint.arb(fmpq(value)))
        top = weight.largest(fmpq(t) - 1, fmpq(t) + 2)
        assert value <= Fraction(top)


def test_the_reach_weight_is_a_supremum():
    for t in (0.0, 0.5, 1.0, 3.0):
        rho = np.geomspace(1e-9, 1e9, 4001)
        for s in (1, 2, 3):
            seen = (((rho + t) / (1 + rho)) ** s).max()
            top = upper_float(reach_weight(s).value(fmpq(t)))
            assert seen <= top * (1 + 1e-12)
            assert seen >= top * (1 - 1e-6)


# ------------------------------------------------------------------------ remainders


@pytest.mark.parametrize(
    ("power", "rate", "degree"),
    [(-3, 0, 0), (-3, 0, 1), (-6, 0, 3)]
    + [(p, r, d) for p, r in ((0, 1), (2, Fraction(3, 2)), (-2, 1), (5, 2)) for d in (0, 1, 3)],
)
def test_the_bound_of_a_decaying_tail(power, rate, degree):
    tail = Decaying(fmpq(4), Envelope(flint.arb(3), power, fmpq(rate)), flint.arb(2), degree)
    for at in (4, 7, 19):
        exact = 6 * mpmath.quad(
            lambda x: x ** (power + degree) * mpmath.exp(-float(rate) * (x - 4)),
            [at, 40, mpmath.inf],
        )
        bound = upper_float(tail.bound(fmpq(at)))
        assert bound >= exact * (1 - 1e-9)
        assert bound <= exact * 3


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(
    ("fn", "exact"),
    [
        (jnp.arctan, mpmath.atan),
        (lambda z: z / (1 + jnp.abs(z)), lambda z: z / (1 + abs(z))),
        (lambda z: (z + jnp.sqrt(z * z + 4)) / 2, lambda z: (z + mpmath.sqrt(z * z + 4)) / 2),
        (lambda z: z**3 / (1 + z * z) + jnp.maximum(z, 1 / z), None),
        (lambda z: jnp.exp(1 / z) * jnp.cbrt(z**3), lambda z: mpmath.exp(1 / z) * z),
        (lambda z: jax.lax.rsqrt(1 + z * z) * jnp.sign(z), None),
        (
            lambda z: jnp.logaddexp(1 / z, 2.0) + jnp.clip(1 / z, -0.5, 3.0) + (z * z) ** 1.5,
            None,
        ),
        (lambda z: jnp.where(z > 1, z**2, jnp.minimum(z, 0.0) ** 3), None),
    ],
)
def test_expansions_at_infinity(fn, exact, side):
    """Values and derivatives of f(side x) against mpmath, or the library's own at far points."""
    count = 8
    with working_precision(192, 32):
        found = expansion_at_infinity(trace(fn), fmpq(8), side, count)
        assert not isinstance(found, Unknown)
        for x in (8, 11, 100, 12345):
            for k in range(4):
                value = found.combined([(k, 0, fmpq(1))])
                stated = sum((c * flint.arb(x) ** m for m, c in value.balls.items()), flint.arb(0))
                spread = sum((c * flint.arb(x) ** m for m, c in value.errors.items()), flint.arb(0))
                if exact is None:
                    point = flint.arb(side * x)
                    model = Combination(trace(fn), ((k, fmpq(1)),)).model(point, 1)
                    true = side**k * model.coefficients[0]
                else:
                    with mpmath.workdps(60):
                        true = flint.arb(mpmath.nstr(
                            mpmath.diff(lambda t: exact(side * t), mpmath.mpf(x), k), 40
                        ))  # fmt: skip
                gap = abs(stated - true).lower()
                assert gap <= spread + flint.arb(10) ** -25
                assert x < 100 or spread < flint.arb(x) ** (found.power - k - 2)


def test_signs_and_limits_at_infinity():
    with working_precision(192, 32):
        found = expansion_at_infinity(trace(jnp.arctan), fmpq(8), 1, 12)
        assert not isinstance(found, Unknown)
        assert found.combined([(1, 0, fmpq(1))]).sign == 1
        assert found.combined([(2, 0, fmpq(1))]).sign == -1
        assert found.combined([(0, 0, fmpq(1))]).limit.contains(flint.arb.pi() / 2)
        assert found.combined([(1, 2, fmpq(1))]).limit.contains(1)
        # x f - x f cancels although the coefficient pi / 2 is a ball
        assert found.combined([(0, 1, fmpq(1)), (0, 1, fmpq(-1))]).limit == 0
        assert found.combined([(0, 1, fmpq(1))]).limit is None
        assert found.combined([(0, 0, fmpq(0))]).sign == 0
        for fn in (
            jnp.exp,
            jnp.log,
            jnp.sin,
            jnp.tanh,
            lambda z: jnp.sqrt(z),
            lambda z: z / (z - z),
        ):
            assert isinstance(expansion_at_infinity(trace(fn), fmpq(8), 1, 6), Unknown)
        # a kink beyond the start: not one branch
        late = expansion_at_infinity(trace(lambda z: jnp.abs(z - 100)), fmpq(8), 1, 6)
        assert isinstance(late, Unknown)


def test_the_kinds_of_remainder():
    with working_precision(192, 32):
        one = [fmpq(1)]
        assert isinstance(remainder(trace(jnp.arctan), [(1, fmpq(1))], one, 1, fmpq(1)), Settled)
        tail = remainder(trace(jnp.tanh), [(2, fmpq(1))], one, -1, fmpq(1))
        assert isinstance(tail, Decaying)
        true = tanh_derivative(1, mpmath.mpf(int(tail.start)), mpmath)
        assert upper_float(tail.bound(tail.start)) >= true
        flat = remainder(trace(lambda z: 3 * z), [(2, fmpq(1))], one, 1, fmpq(1))
        assert isinstance(flat, Decaying)
        assert flat.bound(flat.start) == 0
        assert HalfLine(flat.start).bound(flat.envelope) == 0


def test_a_weight_is_found_by_its_point():
    weight = Weight((fmpq(0), fmpq(1)), ((fmpq(1),), (fmpq(2),), (fmpq(3),)))
    found = [weight.polynomial_at(fmpq(t))[0] for t in (-1, 0, 0.5, 1, 2)]
    assert found == [1, 2, 2, 3, 3]
