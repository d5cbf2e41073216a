"""Exponentials that grow: lines, bounds and derivatives against mpmath; faults are seen."""

from __future__ import annotations

import functools
import math
import random
import time
from typing import Any

import flint
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.special
from mpmath import mp, mpf

import jaxbarron as jb
from jaxbarron.balls import growth, tails
from jaxbarron.balls.envelopes import NO_ENVELOPE, Envelope, HalfLine, Unknown
from jaxbarron.balls.growth import GrowingCalculus, GrowingHalfLine, Scaled
from jaxbarron.balls.series import working_precision
from jaxbarron.balls.tails import Line, asymptote
from jaxbarron.programs import trace

START = 20.0
ORDERS = 5
EXP, LOG, TANH = mpmath.exp, mpmath.log, mpmath.tanh

# name -> (in JAX, in mpmath, slope and intercept at -infinity, at +infinity); None: no line there
FUNCTIONS: dict[str, tuple[Any, Any, Any, Any]] = {
    "swish": (
        lambda z: z / (1 + jnp.exp(-z)),
        lambda z: z / (1 + EXP(-z)),
        (0, 0),
        (1, 0),
    ),
    "sigmoid": (
        lambda z: jnp.exp(z) / (1 + jnp.exp(z)),
        lambda z: EXP(z) / (1 + EXP(z)),
        (0, 0),
        (0, 1),
    ),
    "softplus": (
        lambda z: jnp.log(1 + jnp.exp(z)),
        lambda z: mpmath.log1p(EXP(z)),
        (0, 0),
        (1, 0),
    ),
    "swish, numerator": (
        lambda z: z * jnp.exp(z) / (1 + jnp.exp(z)),
        lambda z: z * EXP(z) / (1 + EXP(z)),
        (0, 0),
        (1, 0),
    ),
    "tanh": (
        lambda z: (jnp.exp(z) - jnp.exp(-z)) / (jnp.exp(z) + jnp.exp(-z)),
        TANH,
        (0, -1),
        (0, 1),
    ),
    "mish": (
        lambda z: z * jnp.tanh(jnp.log(1 + jnp.exp(z))),
        lambda z: z * TANH(mpmath.log1p(EXP(z))),
        (0, 0),
        (1, 0),
    ),
    "log cosh": (
        lambda z: jnp.log(jnp.cosh(z)),
        lambda z: LOG(mpmath.cosh(z)),
        (-1, -math.log(2)),
        (1, -math.log(2)),
    ),
    "log sigmoid": (
        lambda z: jnp.log(jax.nn.sigmoid(2 * z + 1)),
        lambda z: -mpmath.log1p(EXP(-2 * z - 1)),
        (2, 1),
        (0, 0),
    ),
    "tanhexp": (
        lambda z: z * jnp.tanh(jnp.exp(z)),
        lambda z: z * TANH(EXP(z)),
        (0, 0),
        (1, 0),
    ),
    "shifted and thirds": (
        lambda z: z * jnp.exp(z / 3 + 1) / (2 + jnp.exp(z / 3 + 1)),
        lambda z: z / (1 + 2 * EXP(-z / 3 - 1)),
        (0, 0),
        (1, 0),
    ),
    "three exponentials": (
        lambda z: jnp.log(jnp.exp(z) + 3 * jnp.exp(2 * z) + jnp.exp(-z)),
        lambda z: LOG(EXP(z) + 3 * EXP(2 * z) + EXP(-z)),
        (-1, 0),
        (2, math.log(3)),
    ),
    "root of exponentials": (
        lambda z: jnp.sqrt(4 * jnp.exp(2 * z) + 1) / (jnp.exp(z) + 1),
        lambda z: mpmath.sqrt(4 * EXP(2 * z) + 1) / (EXP(z) + 1),
        (0, 1),
        (0, 2),
    ),
    "gudermannian": (
        lambda z: jnp.arctan(jnp.sinh(z)),
        lambda z: mpmath.atan(mpmath.sinh(z)),
        (0, -math.pi / 2),
        (0, math.pi / 2),
    ),
    "serf": (
        lambda z: z * jax.scipy.special.erf(jnp.log1p(jnp.exp(z))),
        lambda z: z * mpmath.erf(mpmath.log1p(EXP(z))),
        (0, 0),
        (1, 0),
    ),
    "powers": (
        lambda z: jnp.log((1 + jnp.exp(3 * z)) ** 0.25) + 1 / jnp.cosh(z) ** 2,
        lambda z: mpmath.log1p(EXP(3 * z)) / 4 + mpmath.sech(z) ** 2,
        (0, 0),
        (0.75, 0),
    ),
    "growing square": (
        lambda z: jnp.log1p(jnp.exp(z * z)) / (1 + jnp.abs(z)),
        lambda z: mpmath.log1p(EXP(z * z)) / (1 + abs(z)),
        (-1, -1),
        (1, -1),
    ),
    "branches": (
        lambda z: jnp.where(jnp.exp(z) > 5, jnp.minimum(z, jnp.exp(z)), jnp.expm1(z)),
        lambda z: z if z > LOG(5) else mpmath.expm1(z),
        (0, -1),
        (1, 0),
    ),
    "cotangent of z + 1": (
        lambda z: jnp.cosh(z + 1) / jnp.sinh(z + 1),
        lambda z: mpmath.coth(z + 1),
        (0, -1),
        (0, 1),
    ),
    "cancellation": (
        lambda z: (jnp.exp(z) + 1) / jnp.exp(z) - jnp.exp(z) / (jnp.exp(z) + 1),
        lambda z: 1 + EXP(-z) - 1 / (1 + EXP(-z)),
        None,
        (0, 0),
    ),
    "exponential": (jnp.expm1, mpmath.expm1, (0, -1), None),
    "double exponential": (
        lambda z: jnp.exp(-jnp.exp(z)),
        lambda z: EXP(-EXP(z)),
        (0, 1),
        (0, 0),
    ),
    "powers of two": (
        lambda z: z * jnp.exp2(z) / (1 + jnp.exp2(z)),
        lambda z: z / (1 + mpf(2) ** -z),
        (0, 0),
        None,  # the exponent z log(2) is no rational polynomial: refused, not guessed
    ),
}


DIGITS = 400


@functools.cache
def _derivatives(name: str, z: float) -> list[Any]:
    """f, f', ... at z by central differences of step 1e-60: errors of 1e-120 f^(k+2)."""
    with mp.workdps(DIGITS):
        function, h = FUNCTIONS[name][1], mpf(10) ** -60
        a, b, c, d, e = (function(mpf(z) + j * h) for j in range(-2, 3))
        return [
            c,
            (d - b) / (2 * h),
            (d - 2 * c + b) / h**2,
            (e - 2 * d + 2 * b - a) / (2 * h**3),
            (e - 4 * d + 6 * c - 4 * b + a) / h**4,
        ]


def _mp(exact: Any) -> Any:
    mantissa, exponent = exact.man_exp()
    return mpf(int(mantissa)) * mpf(2) ** int(exponent)


def _violations(name: str, side: str, line: Line, order: int) -> list[float]:
    """The points where ``|f^(k) - line| <= bound`` fails, by more than 1e-100 of it and 1e-150."""
    sign, found = 1 if side == "right" else -1, []
    for z in (START, START * 1.001, START * 1.05, 1.3 * START, 2 * START, 3.7 * START):
        value = _derivatives(name, sign * z)[order]
        with mp.workdps(DIGITS):
            gap = abs(value - _mp(line.slope.mid()) * sign * z - _mp(line.intercept.mid()))
            bound = _mp(line.bound.upper()) + _mp(line.intercept.rad())
            if gap > bound * (1 + mpf(10) ** -100) + mpf(10) ** -150:
                found.append(sign * z)
    return found


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_lines_of_functions_and_derivatives(name, side):
    stated = FUNCTIONS[name][2 if side == "left" else 3]
    program = trace(FUNCTIONS[name][0])
    for order in range(ORDERS):
        line = asymptote(program, side, START, order)
        if stated is None:
            assert isinstance(line, Unknown)
            continue
        assert isinstance(line, Line), (order, line)
        slope, intercept = (*stated, 0, 0, 0, 0)[order : order + 2] if order < 2 else (0, 0)
        if order == 1:
            slope, intercept = 0, stated[0]
        # exact: kernels on all of R need slopes that agree to the last bit
        assert line.slope.is_exact()
        assert line.slope == flint.arb(slope)
        assert float(line.intercept.mid()) == pytest.approx(intercept, abs=1e-15)
        assert not _violations(name, side, line, order)
        assert line.bound < 0.06


# ------------------------------------------------------- the ring, on random expressions


def _random_pair(rng: random.Random, depth: int, half: GrowingHalfLine) -> tuple[Any, Any]:
    """A random expression as an element, and as a function of mpmath numbers."""
    kind = rng.randrange(3) if depth == 0 else rng.randrange(3, 7)
    if kind == 0:
        c = flint.fmpq(rng.randint(-9, 9), rng.randint(1, 9))
        return half.constant(c), lambda z: mpf(int(c.p)) / int(c.q)
    if kind == 1:
        return half.polynomial([flint.fmpq(0), flint.fmpq(1)]), lambda z: z
    if kind == 2:
        a, b = flint.fmpq(rng.randint(-6, 6), 3), flint.fmpq(rng.randint(-4, 4), 2)
        one = half.constant(flint.fmpq(1))
        return half.join((b, a), one), lambda z: EXP(
            mpf(int(a.p)) / int(a.q) * z + mpf(int(b.p)) / int(b.q)
        )
    (a, f), (b, g) = (_random_pair(rng, depth - 1, half) for _ in range(2))
    if kind == 3:
        return half.add(a, b), lambda z: f(z) + g(z)
    if kind == 4:
        return half.subtract(a, b), lambda z: f(z) - g(z)
    if kind == 5:
        return half.multiply(a, b), lambda z: f(z) * g(z)
    quotient = half.divide(a, b)
    return (a, f) if isinstance(quotient, Unknown) else (quotient, lambda z: f(z) / g(z))


def _holds(half: GrowingHalfLine, element: Any, value: Any, z: Any) -> bool:
    """``value`` lies in ``exp(g) (P +- C z**q exp(-rate (z - T)))``."""
    at, rest = flint.arb(flint.fmpq(*z.as_integer_ratio())), element.envelope
    error = rest.constant * at**rest.power * (-flint.arb(rest.rate) * (at - half.ball)).exp()
    total = sum((flint.arb(c) * at**k for k, c in enumerate(element.coefficients)), flint.arb(0))
    if not error.is_finite():
        return True
    total += flint.arb(0, 1) * error
    if isinstance(element, Scaled):
        total *= sum(flint.arb(c) * at**k for k, c in enumerate(element.exponent)).exp()
    mantissa, exponent = abs(value).man_exp
    exact = flint.arb((int(mantissa), int(exponent))) * (-1 if value < 0 else 1)
    return bool(total.overlaps(exact * flint.arb(1, 1e-150)))


def _right(half: GrowingHalfLine, element: Any, function: Any, z: float) -> bool:
    try:
        value = function(mpf(z))
    except ZeroDivisionError:
        return False  # no quotient by what vanishes may have been taken
    return _holds(half, element, value, z)


def _failures(seed: int, count: int = 300) -> tuple[int, int]:
    """Of random expressions: how many hold information, and how many are wrong somewhere."""
    rng, told, wrong = random.Random(seed), 0, 0
    with working_precision(192), mp.workdps(200):
        half = GrowingHalfLine(flint.fmpq(12))
        for _ in range(count):
            element, function = _random_pair(rng, rng.randint(1, 3), half)
            told += bool(element.envelope.constant.is_finite())
            points = (12.0, 12.5, 15.0, 31.0, 90.0)
            wrong += not all(_right(half, element, function, z) for z in points)
    return told, wrong


def test_random_expressions_are_enclosed():
    told, wrong = _failures(1)
    assert wrong == 0
    assert told > 200


def _faults() -> dict[str, tuple[type, str, Any]]:
    decay, divide = HalfLine.decay, HalfLine.divide
    lowered = GrowingHalfLine._lowered

    def small_decay(self, a):
        found = decay(self, a)
        return found and Envelope(found.constant / 2, found.power, found.rate)

    def quick_decay(self, a):
        found = decay(self, a)
        return found and Envelope(found.constant, found.power, found.rate * 2)

    def without_growth(self, exponent, tail):
        return lowered(self, exponent, tail) if exponent[-1] < 0 else tail

    def wrong_way(self, a, b):
        return divide(self, b, a)

    return {
        "decay halved": (HalfLine, "decay", small_decay),
        "decay too quick": (HalfLine, "decay", quick_decay),
        "a summand lost": (HalfLine, "decay", lambda self, a: NO_ENVELOPE),
        "growth forgotten": (GrowingHalfLine, "_lowered", without_growth),
        "quotient upside down": (HalfLine, "divide", wrong_way),
    }


@pytest.mark.parametrize("fault", _faults())
def test_a_planted_fault_is_seen(monkeypatch, fault):
    monkeypatch.setattr(*_faults()[fault])
    assert _failures(1)[1] > 0


def test_a_fault_in_a_function_is_seen(monkeypatch):
    # log(exp(g) c) without log(c); tanh with rate 1 in place of 2
    original = GrowingCalculus.logarithm
    monkeypatch.setitem(
        growth._OF_EXPONENTIALS,
        "log",
        lambda c, u: original(c, Scaled((flint.fmpq(1),), u.envelope, u.exponent)),
    )
    line = asymptote(trace(FUNCTIONS["log cosh"][0]), "right", START)
    assert _violations("log cosh", "right", line, 0)


# ------------------------------------------------------------------------ the calculus


def test_the_plain_calculus_is_asked_first(monkeypatch):
    class Refused(GrowingCalculus):
        def base(self, name, u):
            raise AssertionError("the second calculus is for what the first cannot do")

    monkeypatch.setattr(tails, "GrowingCalculus", Refused)
    assert isinstance(asymptote(trace(jax.nn.silu), "left", START), Line)


def test_huge_starts_end_quickly():
    # kernel errors double the start up to 2**80
    for start in (2.0**40, 2.0**80):
        for name in ("swish", "tanhexp", "log cosh", "double exponential"):
            line = asymptote(trace(FUNCTIONS[name][0]), "right", start, 2)
            assert isinstance(line, Line)
            assert line.bound < 1e-300


@pytest.mark.parametrize(
    "fn",
    [
        lambda z: jnp.exp(-jnp.exp(z - 1e10)),
        lambda z: jnp.tanh(jnp.exp(1e-300 * z)),
        lambda z: z / (1 + jnp.exp(-1e300 * z)),
        lambda z: jnp.log(jnp.exp(1e200 * z * z) + jnp.exp(z**8)) ** 0.125,
        lambda z: jnp.exp(jnp.exp(jnp.exp(z))),
        lambda z: jnp.tanh(jnp.exp(jnp.exp(z))),
    ],
)
@pytest.mark.parametrize("start", [8.0, 2.0**80])
def test_hostile_scales_end_quickly(fn, start):
    began = time.process_time()
    for side in ("left", "right"):
        assert isinstance(asymptote(trace(fn), side, start, 1), Line | Unknown)
    assert time.process_time() - began < 2


def test_a_users_own_swish_has_a_kernel_on_all_of_r():
    kernel, certificate = jb.certified_kernel(lambda z: z / (1 + jnp.exp(-z)), "relu", tol=1e-3)
    assert certificate.upper <= 1e-3
    z = np.concatenate([np.linspace(-30, 30, 20_001), [-1e6, -500.0, 500.0, 1e6]])
    with jax.enable_x64(True):
        kappa = jb.evaluate(kernel, "relu", jnp.asarray(z)[:, None])[:, 0]
    gap = np.abs(z * scipy.special.expit(z) - np.asarray(kappa, np.float64))
    assert gap.max() <= certificate.upper + 1e-9
    assert gap.max() > 0.9 * certificate.lower
    assert jb.verify(certificate)


@pytest.mark.parametrize(
    "name",
    [
        "mish",
        "tanhexp",
        "gudermannian",
        "serf",
        "softplus",
        "log cosh",
        "sigmoid",
        "swish, numerator",
    ],
)
def test_other_own_functions_have_kernels_too(name):
    _, certificate = jb.certified_kernel(FUNCTIONS[name][0], "relu", tol=1e-2)
    assert certificate.upper <= 1e-2
