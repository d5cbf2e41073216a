"""More functions that nobody registered: JAX's own, transformed ones, casts, guards; and refusals.

The oracles are written in mpmath with the constants that the programs hold: a program is about the
real function of its stored floats, so pi in jnp.sinc is the double next to pi.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import flint
import jax
import jax.numpy as jnp
import mpmath
import pytest
from jax import lax
from mpmath import mp, mpf

from jaxbarron.balls.series import local_series, working_precision
from jaxbarron.errors import UnsupportedPrimitiveError
from jaxbarron.programs import trace

EXP, LOG, TANH, SIN, COS = mpmath.exp, mpmath.log, mpmath.tanh, mpmath.sin, mpmath.cos
special = jax.scipy.special


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + EXP(-z))


def _single(x: float) -> Any:
    return mpf(float(jnp.float32(x)))


@jax.custom_jvp
def _own_rule(z: Any) -> Any:
    return z * jnp.tanh(z)


@_own_rule.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (z,), (t,) = primals, tangents
    return _own_rule(z), t * (jnp.tanh(z) + z / jnp.cosh(z) ** 2)


def _entropy(z: Any) -> Any:
    s = _sigmoid(z)
    return -s * LOG(s)


def _logit(z: Any) -> Any:
    p = mpf(0.25) + _sigmoid(z) / 2
    return LOG(p / (1 - p))


def _sinc(z: Any) -> Any:
    """Written out: the program of `jnp.sinc` differs between versions of JAX."""
    x = math.pi * z
    guarded = jnp.where(x == 0, 1.0, x)
    return jnp.where(x == 0, 1.0, jnp.sin(guarded) / guarded)


# name -> (in JAX, in mpmath)
CASES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sinc": (
        lambda z: _sinc(z) + _sinc(z - 9),
        lambda z: sum(
            (SIN(mpf(math.pi) * y) / (mpf(math.pi) * y) if y else mpf(1)) for y in (z, z - 9)
        ),
    ),
    "sign times wave": (
        lambda z: jnp.sign(z - 0.25) * jnp.cos(z),
        lambda z: mpmath.sign(z - mpf(0.25)) * COS(z),
    ),
    "a rule of its own": (_own_rule, lambda z: z * TANH(z)),
    "nested jit": (
        jax.jit(lambda z: jax.jit(jnp.tanh)(z) + jax.jit(lambda y: y**3)(z)),
        lambda z: TANH(z) + z**3,
    ),
    "checkpoint": (
        jax.checkpoint(lambda z: jnp.sin(z) * jnp.exp(z)),  # pyright: ignore[reportPrivateImportUsage]
        lambda z: SIN(z) * EXP(z),
    ),
    "gradient": (
        jax.grad(lambda z: jnp.sin(z) * z**2),
        lambda z: COS(z) * z**2 + 2 * z * SIN(z),
    ),
    "single precision constants": (
        lambda z: z * jnp.float32(0.1) + jnp.float32(1 / 3),
        lambda z: z * _single(0.1) + _single(1 / 3),
    ),
    "a condition as a number": (
        lambda z: (z > 0).astype(z.dtype) * z + 1,
        lambda z: max(z, mpf(0)) + 1,
    ),
    "exclusive or": (
        lambda z: jnp.where((z > 0) ^ (z > 1), z, -z),
        lambda z: z if 0 < z <= 1 else -z,
    ),
    "power 1.75": (
        lambda z: jnp.power(1 + z * z, 1.75) * jnp.sin(z),
        lambda z: (1 + z * z) ** mpf(1.75) * SIN(z),
    ),
    "modulus to 1.5": (lambda z: jnp.abs(z) ** 1.5, lambda z: abs(z) ** mpf(1.5)),
    "negative power": (lambda z: (2 + z * z) ** -3, lambda z: (2 + z * z) ** -3),
    "guarded root": (
        lambda z: jnp.where(z > 0, jnp.sqrt(jnp.where(z > 0, z, 1.0)), 0.0),
        lambda z: mpmath.sqrt(z) if z > 0 else mpf(0),
    ),
    "unguarded logarithm": (
        lambda z: jnp.where(z > 0, jnp.log(z), z),
        lambda z: LOG(z) if z > 0 else z,
    ),
    "guard against nan": (lambda z: jnp.where(jnp.isnan(z), 0.0, jnp.tanh(z)), TANH),
    "x log y": (
        lambda z: special.xlogy(jnp.abs(z) + 0.125, 1 + z * z),
        lambda z: (abs(z) + mpf(0.125)) * LOG(1 + z * z),
    ),
    "entropy": (lambda z: special.entr(jax.nn.sigmoid(z)), _entropy),
    "logit": (lambda z: special.logit(0.25 + 0.5 * jax.nn.sigmoid(z)), _logit),
    "erfc": (
        lambda z: special.erfc(z) * jnp.exp(z),
        lambda z: mpmath.erfc(z) * EXP(z),
    ),
    "hypotenuse": (lambda z: jnp.hypot(z, 1.0), lambda z: mpmath.sqrt(z * z + 1)),
    "clamp between functions": (
        lambda z: lax.clamp(-0.5, jnp.sin(2 * z), z + 1.0),
        lambda z: min(max(SIN(2 * z), mpf(-0.5)), z + 1),
    ),
    "cubic softsign": (
        lambda z: z / jnp.cbrt(1 + jnp.abs(z) ** 3),
        lambda z: z / (1 + abs(z) ** 3) ** (mpf(1) / 3),
    ),
    "sparse plus": (
        jax.nn.sparse_plus,
        lambda z: mpf(0) if z <= -1 else z if z >= 1 else (z + 1) ** 2 / 4,
    ),
    "sparse sigmoid": (
        jax.nn.sparse_sigmoid,
        lambda z: min(max((z + 1) / 2, mpf(0)), mpf(1)),
    ),
    "log sigmoid": (jax.nn.log_sigmoid, lambda z: -mpmath.log1p(EXP(-z))),
    "tanh shrink": (lambda z: z - jnp.tanh(z), lambda z: z - TANH(z)),
    "stopped gradient": (lambda z: lax.stop_gradient(z) * z, lambda z: z * z),
    "odd powers": (
        lambda z: jnp.square(z) * jnp.positive(z) - jnp.float_power(z, 2),
        lambda z: z**3 - z**2,
    ),
    "inverse root": (lambda z: z * lax.rsqrt(1 + z * z), lambda z: z / mpmath.sqrt(1 + z * z)),
    "reciprocal cube": (lambda z: z * (1 + z**2) ** -3, lambda z: z / (1 + z * z) ** 3),
    "largest of three": (
        lambda z: jnp.maximum(jnp.maximum(jnp.tanh(z), 0.5 * z - 1), -0.25),
        lambda z: max(TANH(z), z / 2 - 1, mpf(-0.25)),
    ),
    "exponentials of both sides": (
        lambda z: jnp.where(z < 0, jnp.expm1(z), jnp.log1p(jnp.abs(z))),
        lambda z: mpmath.expm1(z) if z < 0 else mpmath.log1p(z),
    ),
    "wave over cosh": (
        lambda z: jnp.cos(5 * z) / jnp.cosh(z),
        lambda z: mpmath.cos(5 * z) / mpmath.cosh(z),
    ),
    "difference of erf": (
        lambda z: lax.erf(z + 1) - lax.erf(z - 1),
        lambda z: mpmath.erf(z + 1) - mpmath.erf(z - 1),
    ),
    "narrow bump": (
        lambda z: jnp.exp(-1000 * (z - 0.25) ** 2),
        lambda z: EXP(-1000 * (z - mpf(0.25)) ** 2),
    ),
    "lesser of modulus and root": (
        lambda z: jnp.minimum(jnp.abs(z), jnp.sqrt(jnp.abs(z) + 0.25)),
        lambda z: min(abs(z), mpmath.sqrt(abs(z) + mpf(0.25))),
    ),
}
PLACES = (-1.0, 0.0, 0.25, 0.5, 1.0, 2.0, 9.0)


def _ball(value: Any) -> Any:
    mantissa, exponent = abs(mpf(value)).man_exp
    exact = flint.arb((int(mantissa), int(exponent))) * (-1 if value < 0 else 1)
    return exact * flint.arb(1, 1e-35) + flint.arb(0, 1e-35)


@pytest.mark.parametrize("name", CASES)
def test_values_at_forty_digits(name: str) -> None:
    fn, oracle = CASES[name]
    program, rng, seen = trace(fn), random.Random(name), 0
    with working_precision(192, 3), mp.workdps(40):
        for turn in range(80):
            centre = PLACES[turn % len(PLACES)] if turn < 21 else rng.uniform(-3, 3)
            radius = 0.0 if turn % 7 == 3 else 2.0 ** rng.randint(-60, 1)
            ball = flint.arb(centre, radius)
            found = local_series(program, flint.arb_series([ball, 1], prec=3), ball)
            if not found.coefficients[0].is_finite():
                continue
            for share in (0.0, -0.999999, rng.uniform(-1, 1)):
                x = mpf(centre) + mpf(radius) * mpf(share)
                seen += 1
                assert found.coefficients[0].overlaps(_ball(oracle(x))), (centre, radius, x)
    assert seen > 120


@pytest.mark.parametrize(
    ("fn", "named"),
    [
        (lambda z: special.erfinv(jnp.tanh(z) / 2), "erf_inv"),
        (lambda z: jnp.round(z) * z, "round"),
        (lambda z: jnp.floor(z) + z, "floor"),
        (lambda z: jnp.ceil(z), "ceil"),
        (lambda z: lax.cond(z > 0.5, jnp.sin, jnp.cos, z), "cond"),
        (lambda z: lax.fori_loop(0, 3, lambda _, y: jnp.sin(y), z), "scan"),
        (lambda z: lax.while_loop(lambda y: y > 1, lambda y: y / 2, z), "while"),
        (lambda z: special.gammaln(2 + z * z), "lgamma"),
        (lambda z: jnp.mod(z, 0.75), "rem"),
        (lambda z: jnp.arctan2(z, 1 + z * z), "atan2"),
        (lambda z: jnp.nextafter(z, 2.0), "nextafter"),
        (lambda z: jnp.real(jnp.exp(1j * z)), "complex128"),
        (lambda z: z.astype(jnp.int32) * z, "int32"),
        (lambda z: jnp.polyval(jnp.array([1.0, -2.0]), z), "shape (2,)"),
    ],
)
def test_what_is_refused_names_the_primitive(fn: Any, named: str) -> None:
    with pytest.raises(UnsupportedPrimitiveError) as caught:
        trace(fn)
    message = str(caught.value)
    assert named in message
    assert all(part in message for part in ("given:", "expected:", "do:"))
    assert "\n" not in message
