"""Scalar functions that nobody registered: every enclosure holds mpmath's value, or is refused."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import flint
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax import lax
from mpmath import mp, mpf

import jaxbarron as jb
from jaxbarron.balls import series
from jaxbarron.balls.functions import FUNCTIONS
from jaxbarron.balls.series import local_series, working_precision
from jaxbarron.balls.suprema import Enclosure, supremum_of_program
from jaxbarron.balls.tails import Line, asymptote
from jaxbarron.bounds.constants import taylor_constant
from jaxbarron.bounds.kernel_error import kernel_error
from jaxbarron.errors import UnsupportedPrimitiveError
from jaxbarron.programs import trace

# All oracles are written again with mpmath, branch by branch.
EXP, LOG, SQRT, COS, SIN, TANH = (
    mpmath.exp,
    mpmath.log,
    mpmath.sqrt,
    mpmath.cos,
    mpmath.sin,
    mpmath.tanh,
)


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + EXP(-z))


def _silu(z: Any) -> Any:
    return z * _sigmoid(z)


def _gelu(z: Any) -> Any:
    return z * mpmath.erfc(-z / SQRT(mpf(2))) / 2


def _erf(z: Any) -> Any:
    return jax.scipy.special.erf(z)


# name -> (in JAX, in mpmath, points where it is not analytic)
Case = tuple[Callable[[Any], Any], Callable[[Any], Any], tuple[float, ...]]
CASES: dict[str, Case] = {
    "damped sine": (
        lambda z: z * jnp.sin(3 * z) * jnp.exp(-z * z / 4),
        lambda z: z * SIN(3 * z) * EXP(-z * z / 4),
        (),
    ),
    "two tanh": (
        lambda z: jnp.tanh(2 * z + 1) - 0.5 * jnp.tanh(z - 0.5),
        lambda z: TANH(2 * z + 1) - TANH(z - mpf(0.5)) / 2,
        (),
    ),
    "root and reciprocal": (
        lambda z: jnp.sqrt(1 + z * z) - jnp.reciprocal(1 + z * z),
        lambda z: SQRT(1 + z * z) - 1 / (1 + z * z),
        (),
    ),
    "jump": (
        lambda z: jnp.where(z < 0.375, z**3, jnp.tanh(z)),
        lambda z: z**3 if z < 0.375 else TANH(z),
        (0.375,),
    ),
    "clipped": (
        lambda z: jnp.clip(2 * z - 1, -1.5, 0.75) * z,
        lambda z: min(max(2 * z - 1, mpf(-1.5)), mpf(0.75)) * z,
        (-0.25, 0.875),
    ),
    "minimum of smooth ones": (
        lambda z: jnp.minimum(jnp.sin(z) + z, 1 + jnp.exp(-z)),
        lambda z: min(SIN(z) + z, 1 + EXP(-z)),
        (0.9133717025,),
    ),
    "logaddexp": (
        lambda z: jnp.logaddexp(2 * z, -z) - jnp.logaddexp(z, 0.0),
        lambda z: LOG(EXP(2 * z) + EXP(-z)) - LOG(EXP(z) + 1),
        (),
    ),
    "select": (
        lambda z: lax.select(z > 0.25, jax.nn.softplus(z), jax.nn.silu(z)),
        lambda z: mpmath.log1p(EXP(z)) if z > 0.25 else _silu(z),
        (0.25,),
    ),
    "reciprocal of a wave": (
        lambda z: 1 / (2 + jnp.cos(2 * z)),
        lambda z: 1 / (2 + COS(2 * z)),
        (),
    ),
    "fifth power": (
        lambda z: lax.integer_pow(jnp.tanh(z), 5) + z**2 * jax.nn.sigmoid(-z),
        lambda z: TANH(z) ** 5 + z**2 * _sigmoid(-z),
        (),
    ),
    "gelu of silu": (
        lambda z: jax.nn.gelu(jax.nn.silu(2 * z), approximate=False),
        lambda z: _gelu(_silu(2 * z)),
        (),
    ),
    "rectified wave": (
        lambda z: jnp.abs(jnp.sin(3 * z)) * jnp.exp(-jnp.abs(z)),
        lambda z: abs(SIN(3 * z)) * EXP(-abs(z)),
        (0.0, math.pi / 3, -math.pi / 3, 2 * math.pi / 3, -2 * math.pi / 3),
    ),
    "hat squared": (
        lambda z: jnp.maximum(0.0, 1 - jnp.abs(z)) ** 2,
        lambda z: max(mpf(0), 1 - abs(z)) ** 2,
        (-1.0, 0.0, 1.0),
    ),
    "erf times atan": (
        lambda z: _erf(z / 2) * jnp.arctan(z),
        lambda z: mpmath.erf(z / 2) * mpmath.atan(z),
        (),
    ),
    "quarter power": (
        lambda z: (1 + z * z) ** 0.25 * jnp.tanh(z),
        lambda z: (1 + z * z) ** mpf(0.25) * TANH(z),
        (),
    ),
    "power of two": (
        lambda z: jnp.exp2(-z * z) * (1 + z) - jnp.expm1(-z * z),
        lambda z: mpf(2) ** (-z * z) * (1 + z) - mpmath.expm1(-z * z),
        (),
    ),
    "cube root": (
        lambda z: jnp.cbrt(1 + z * z) - jnp.cbrt(z - 5),
        lambda z: (1 + z * z) ** (mpf(1) / 3) + (5 - z) ** (mpf(1) / 3),
        (),
    ),
    "hyperbolic": (
        lambda z: jnp.sinh(z) / jnp.cosh(z) ** 2,
        lambda z: mpmath.sinh(z) / mpmath.cosh(z) ** 2,
        (),
    ),
    "log1p": (
        lambda z: jnp.log1p(z * z) / (1 + z * z),
        lambda z: mpmath.log1p(z * z) / (1 + z * z),
        (),
    ),
    "elu and relu": (
        lambda z: jax.nn.elu(z) + jax.nn.relu(z - 0.75) ** 2,
        lambda z: (z if z > 0 else mpmath.expm1(z)) + max(z - mpf(0.75), mpf(0)) ** 2,
        (0.0, 0.75),
    ),
    "signed logarithm": (
        lambda z: jnp.sign(z) * jnp.log1p(jnp.abs(z)),
        lambda z: mpmath.sign(z) * mpmath.log1p(abs(z)),
        (0.0,),
    ),
    "inverse functions": (
        lambda z: jnp.arcsinh(3 * z) + jnp.arccos(jnp.tanh(z) / 2) - jnp.arctanh(0.9 * jnp.sin(z)),
        lambda z: mpmath.asinh(3 * z) + mpmath.acos(TANH(z) / 2) - mpmath.atanh(mpf(0.9) * SIN(z)),
        (),
    ),
    "tangent and arcsine": (
        lambda z: jnp.tan(z / 4) * jnp.arcsin(z / (4 + z * z)) + jnp.arccosh(2 + z * z),
        lambda z: mpmath.tan(z / 4) * mpmath.asin(z / (4 + z * z)) + mpmath.acosh(2 + z * z),
        (),
    ),
    "hard tanh times softplus": (
        lambda z: jax.nn.hard_tanh(z) * jax.nn.softplus(-2 * z),
        lambda z: min(max(z, mpf(-1)), mpf(1)) * mpmath.log1p(EXP(-2 * z)),
        (-1.0, 1.0),
    ),
    "reciprocal root of exp": (
        lambda z: z * lax.rsqrt(1 + jnp.exp(-2 * z)),
        lambda z: z / SQRT(1 + EXP(-2 * z)),
        (),
    ),
    "huber by nested where": (
        lambda z: jnp.where(z > 1, z, jnp.where(z < -1, -z, (1 + z * z) / 2)),
        lambda z: abs(z) if abs(z) > 1 else (1 + z * z) / 2,
        (-1.0, 1.0),
    ),
    "logic": (
        lambda z: jnp.where((z > -0.5) & ~(z > 1.25), jnp.cos(z), z / 2),
        lambda z: COS(z) if -0.5 < z <= 1.25 else z / 2,
        (-0.5, 1.25),
    ),
    "rational": (
        lambda z: (z**4 - 3 * z**2 + z) / (z**4 + 1),
        lambda z: (z**4 - 3 * z**2 + z) / (z**4 + 1),
        (),
    ),
    "gumbel": (lambda z: jnp.exp(-jnp.exp(-z)), lambda z: EXP(-EXP(-z)), ()),
    "variable exponent": (
        lambda z: (2 + jnp.sin(z)) ** z,
        lambda z: (2 + SIN(z)) ** z,
        (),
    ),
    "heaviside": (
        lambda z: jnp.heaviside(z - 0.125, 0.5) - jax.nn.sigmoid(4 * z),
        lambda z: (mpmath.sign(z - mpf(0.125)) + 1) / 2 - _sigmoid(4 * z),
        (0.125,),
    ),
    "cancelling": (
        lambda z: (jnp.cosh(z) ** 2 - jnp.sinh(z) ** 2) * z + jnp.log(jnp.exp(z)) - z,
        lambda z: z,
        (),
    ),
}
DIGITS = 60
HIGHEST = 3


@functools.cache
def _program(name: str) -> Any:
    return trace(CASES[name][0])


def _derivatives(name: str, x: Any) -> list[Any]:
    """f, f'/1!, f''/2!, f'''/3! by central differences with digits to spare."""
    function, h = CASES[name][1], mpf(10) ** -30
    with mp.workdps(160):
        a, b, c, d, e = (function(x + j * h) for j in range(-2, 3))
        return [
            c,
            (d - b) / (2 * h),
            (d - 2 * c + b) / h**2 / 2,
            (e - 2 * d + 2 * b - a) / (2 * h**3) / 6,
        ]


def _mp(exact: Any) -> Any:
    mantissa, exponent = exact.man_exp()
    return mpf(int(mantissa)) * mpf(2) ** int(exponent)


def _ball_of(value: Any, slack: float) -> Any:
    mantissa, exponent = abs(mpf(value)).man_exp
    with flint.ctx.workprec(256):
        exact = flint.arb((int(mantissa), int(exponent))) * (-1 if value < 0 else 1)
        return exact * flint.arb(1, slack) + flint.arb(0, slack)


@pytest.mark.parametrize("name", CASES)
def test_ball_series_hold_values_and_derivatives(name):
    kinks = CASES[name][2]
    rng, seen = random.Random(name), 0
    with working_precision(128, HIGHEST + 1), mp.workdps(DIGITS):
        for _ in range(150):
            centre, exponent = rng.uniform(-4, 4), rng.randint(-40, 0)
            if kinks and rng.random() < 0.4:
                centre = rng.choice(kinks) + rng.choice((-1, 0, 1)) * 2.0**exponent
            ball = flint.arb(centre, 2.0**exponent)
            argument = flint.arb_series([ball, 1], prec=HIGHEST + 1)
            found = local_series(_program(name), argument, ball).coefficients
            for _ in range(2):
                x = mpf(centre) + mpf(2) ** (exponent - 20) * rng.randint(1 - 2**20, 2**20 - 1)
                if any(abs(x - t) < 1e-9 for t in kinks):
                    continue
                for k, value in enumerate(_derivatives(name, x)):
                    if found[k].is_finite():
                        seen += 1
                        # differences of step 1e-30 err by 1e-60 f^(k+2), those of 160 digits by
                        # 1e-70 of what cancels
                        assert found[k].overlaps(_ball_of(value, 1e-45)), (centre, exponent, x, k)
    assert seen > 500


def _samples(name: str, start: float, end: float, count: int = 240) -> tuple[Any, list[Any]]:
    z = np.linspace(start, end, count)
    return z, [abs(CASES[name][1](mpf(float(x)))) for x in z]


@pytest.mark.parametrize("name", CASES)
def test_suprema_hold_dense_samples(name):
    rng = random.Random(name)
    for _ in range(3):
        start = rng.uniform(-5, 3)
        end = start + rng.uniform(0.1, 4)
        found = supremum_of_program(_program(name), start, end, rel=1e-4, max_evaluations=3000)
        _, seen = _samples(name, start, end)
        assert max(seen) <= found.upper
        # the lower bound is attained near ``where``
        _, close = _samples(name, max(start, found.where - 1e-4), min(end, found.where + 1e-4), 41)
        assert found.lower <= max(*seen, *close) * (1 + 1e-6)
        assert found.upper <= found.lower * (1 + 1e-3) + 1e-25


@pytest.mark.parametrize("name", CASES)
def test_lines_hold_far_out(name):
    for side, sign in (("left", -1), ("right", 1)):
        for order in (0, 1, 2):
            line = asymptote(_program(name), side, 16.0, order)
            if not isinstance(line, Line):
                continue
            with mp.workdps(DIGITS):
                slope, intercept = _mp(line.slope.mid()), _mp(line.intercept.mid())
                bound = _mp(line.bound.upper()) + _mp(line.intercept.rad())
                for z in (16.0, 16.3, 19.0, 40.0, 250.0):
                    value = _derivatives(name, mpf(sign * z))[order] * math.factorial(order)
                    gap = abs(value - slope * sign * z - intercept)
                    # the differences err by 1e-60 f^(k+2) and 1e-90 of what cancels
                    assert gap <= bound * (1 + mpf(10) ** -20) + mpf(10) ** -50


WITH_LINES = {
    "two tanh": ((0, -0.5), (0, 0.5)),
    "root and reciprocal": ((-1, 0), (1, 0)),
    "logaddexp": ((-1, 0), (1, 0)),
    "gelu of silu": ((0, 0), (2, 0)),
    "erf times atan": ((0, math.pi / 2), (0, math.pi / 2)),
    "hyperbolic": ((0, 0), (0, 0)),
    "reciprocal root of exp": ((0, 0), (1, 0)),
    "huber by nested where": ((-1, 0), (1, 0)),
    "rational": ((0, 1), (0, 1)),
    "gumbel": ((0, 0), (0, 1)),
    "heaviside": ((0, 0), (0, 0)),
    "hat squared": ((0, 0), (0, 0)),
}


@pytest.mark.parametrize("name", WITH_LINES)
def test_the_lines_that_there_are_are_found(name):
    for side, expected in zip(("left", "right"), WITH_LINES[name], strict=True):
        line = asymptote(_program(name), side, 256.0)
        assert isinstance(line, Line)
        assert line.slope == flint.arb(expected[0])
        assert float(line.intercept.mid()) == pytest.approx(expected[1], abs=1e-14)
        assert line.bound < 0.02


@pytest.mark.parametrize("name", CASES)
def test_kernel_errors_hold_dense_samples(name):
    # any kernel will do: the error is a fact about the stored floats
    rng = random.Random(name)
    weights, directions, offsets = ([rng.uniform(-2, 2) for _ in range(3)] for _ in range(3))
    kinks = [-b / a for a, b in zip(directions, offsets, strict=True)]
    relu = trace(jax.nn.relu)
    found = kernel_error(
        _program(name), relu, weights, directions, offsets, reach=3.0, target_homogeneity=1
    )

    def gap(z: float) -> Any:
        parts = zip(weights, directions, offsets, strict=True)
        total = sum((mpf(c) * max(mpf(a) * mpf(z) + mpf(b), mpf(0)) for c, a, b in parts), mpf(0))
        return abs(CASES[name][1](mpf(z)) - total)

    points = [*np.linspace(-3, 3, 400).tolist(), *(t for t in kinks if abs(t) < 3)]
    near = np.clip(np.linspace(found.where - 1e-3, found.where + 1e-3, 41), -3, 3).tolist()
    seen = max(gap(z) for z in points)
    assert seen <= found.upper
    assert found.lower <= max(seen, *(gap(z) for z in near)) * (1 + 1e-5)
    assert found.upper <= found.lower * 1.01


@pytest.mark.parametrize("name", [n for n in CASES if not CASES[n][2] and n != "cancelling"])
def test_taylor_constants_hold_the_quadrature(name):
    found = taylor_constant(CASES[name][0], 1, reach=2.0)
    function = CASES[name][1]
    with mp.workdps(30):
        # |f''| by the midpoint rule: its error shrinks like 1/n**2 also across sign changes
        n, h = 2000, mpf(10) ** -8
        total = mpf(0)
        for i in range(n):
            t = -2 + mpf(4) * (2 * i + 1) / (2 * n)
            second = (function(t + h) - 2 * function(t) + function(t - h)) / h**2
            total += (2 + abs(t)) * abs(second) * 4 / n
    assert found.upper <= found.lower * (1 + 1e-9) + 1e-25
    assert float(total) == pytest.approx(found.upper, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n][2]])
def test_an_undeclared_kink_has_no_finite_constant(name):
    assert math.isinf(taylor_constant(CASES[name][0], 1, reach=2.0).upper)


@pytest.mark.parametrize(
    "name", ["two tanh", "gumbel", "gelu of silu", "reciprocal root of exp", "hyperbolic"]
)
def test_certified_kernels_on_all_of_r(name):
    kernel, certificate = jb.certified_kernel(CASES[name][0], "relu", tol=1e-2)
    z = np.linspace(-40, 40, 2001)
    with jax.enable_x64(True):
        kappa = np.asarray(jb.evaluate(kernel, "relu", jnp.asarray(z)[:, None])[:, 0])
    gap = max(abs(CASES[name][1](mpf(x)) - y) for x, y in zip(z, kappa.tolist(), strict=True))
    assert 0.5 * certificate.upper <= gap <= certificate.upper + 1e-12
    assert certificate.upper <= 1e-2


@pytest.mark.parametrize("name", ["damped sine", "log1p", "inverse functions", "quarter power"])
def test_certified_kernels_on_a_reach(name):
    kernel, certificate = jb.certified_kernel(CASES[name][0], "relu", tol=2e-2, reach=2.0)
    z = np.linspace(-2, 2, 1001)
    with jax.enable_x64(True):
        kappa = np.asarray(jb.evaluate(kernel, "relu", jnp.asarray(z)[:, None])[:, 0])
    gap = max(abs(CASES[name][1](mpf(x)) - y) for x, y in zip(z, kappa.tolist(), strict=True))
    assert gap <= certificate.upper + 1e-12
    assert certificate.upper <= 2e-2


# ------------------------------------------------------------------ poles and domains


@pytest.mark.parametrize(
    "fn",
    [
        lambda z: 1 / z,
        lambda z: jnp.sin(z) / z,  # bounded, and not defined at 0: nothing finite is said
        lambda z: jnp.log(z + 1),
        lambda z: jnp.tan(z),
        lambda z: (z - 0.5) ** -2,
        lambda z: jnp.arctanh(z),
        lambda z: z / jnp.sqrt(z * z),
        lambda z: jnp.sqrt(z),
        lambda z: z**0.5,
        lambda z: jnp.arccosh(z + 1.5),
    ],
)
def test_poles_and_ends_of_domains_are_never_bounded(fn):
    found = supremum_of_program(trace(fn), -2.0, 2.0, max_evaluations=400)
    assert found.upper == math.inf


@pytest.mark.parametrize(
    ("fn", "reason"),
    [
        (jnp.floor, "primitive 'floor'"),
        (jnp.round, "primitive 'round'"),
        (lambda z: z % 1.0, "primitive 'rem'"),
        (lambda z: jnp.arctan2(z, 1.0), "primitive 'atan2'"),
        (lambda z: jax.scipy.special.gammaln(1 + z * z), "primitive 'lgamma'"),
        (lambda z: lax.erf_inv(z / 2), "primitive 'erf_inv'"),
        (lambda z: lax.while_loop(lambda x: x > 1, lambda x: x / 2, z), "primitive 'while'"),
        (lambda z: lax.cond(z > 0, jnp.sin, jnp.cos, z), "primitive 'cond'"),
        (lambda z: lax.fori_loop(0, 3, lambda i, x: jnp.sin(x), z), "primitive '(scan|while)'"),
        (lambda z: jnp.sum(jnp.sin(jnp.arange(3.0) * z)), "primitive 'iota'|array of shape"),
        (lambda z: jnp.polyval(jnp.array([1.0, 2.0, 3.0]), z), r"array of shape \(3,\)"),
        (lambda z: z.astype(jnp.int32).astype(jnp.float64), "float64 to int32"),
        (lambda z: jnp.exp(1j * z).real, "float64 to complex128"),
    ],
)
def test_what_is_not_known_is_refused_by_name(fn, reason):
    with pytest.raises(UnsupportedPrimitiveError, match=reason):
        trace(fn)


# -------------------------------------------------------------------- planted faults


def _altered(rule: Any, k: int) -> Any:
    def faulty(run: Any, *operands: Any) -> Any:
        result = rule(run, *operands)
        coefficients = [result[i] for i in range(run.length)]
        if k < run.length:
            coefficients[k] = coefficients[k] * flint.arb(1 + 2.0**-20)
        return flint.arb_series(coefficients, prec=run.length)

    return faulty


@pytest.mark.parametrize("k", [0, 1, 3])
def test_a_fault_in_a_rule_is_seen(monkeypatch, k):
    monkeypatch.setattr(series, "_compiled", series._compiled.__wrapped__)
    monkeypatch.setitem(series._RULES, "tanh", _altered(FUNCTIONS["tanh"], k))
    with pytest.raises(AssertionError):
        test_ball_series_hold_values_and_derivatives("two tanh")


def test_a_supremum_that_is_too_small_is_seen(monkeypatch):
    original = supremum_of_program

    def too_small(*args: Any, **options: Any) -> Enclosure:
        found = original(*args, **options)
        return replace(found, lower=found.lower * 0.99, upper=found.upper * 0.995)

    monkeypatch.setitem(globals(), "supremum_of_program", too_small)
    with pytest.raises(AssertionError):
        test_suprema_hold_dense_samples("damped sine")
