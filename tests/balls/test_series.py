"""Ball series against mpmath's values and derivatives at points inside the balls."""

from __future__ import annotations

import math
import random

import flint
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from jaxbarron.activations import registered_activations
from jaxbarron.balls import functions, series
from jaxbarron.balls.series import local_series, taylor_coefficients, working_precision
from jaxbarron.programs import Operation, Program, Register, evaluate_program, trace

LENGTH = 6

# name -> (mpmath's function, interval from which balls are drawn)
UNARY = {
    "neg": (lambda x: -x, (-5, 5)),
    "abs": (abs, (-5, 5)),
    "sign": (mpmath.sign, (-5, 5)),
    "square": (lambda x: x * x, (-5, 5)),
    "sqrt": (mpmath.sqrt, (0.01, 9)),
    "rsqrt": (lambda x: 1 / mpmath.sqrt(x), (0.01, 9)),
    "cbrt": (lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), (-4, 4)),
    "exp": (mpmath.exp, (-40, 40)),
    "exp2": (lambda x: mpmath.mpf(2) ** x, (-40, 40)),
    "expm1": (mpmath.expm1, (-40, 5)),
    "log": (mpmath.log, (0.01, 9)),
    "log1p": (mpmath.log1p, (-0.9, 9)),
    "logistic": (lambda x: 1 / (1 + mpmath.exp(-x)), (-60, 60)),
    "sin": (mpmath.sin, (-9, 9)),
    "cos": (mpmath.cos, (-9, 9)),
    "tan": (mpmath.tan, (-1.4, 1.4)),
    "asin": (mpmath.asin, (-0.9, 0.9)),
    "acos": (mpmath.acos, (-0.9, 0.9)),
    "atan": (mpmath.atan, (-60, 60)),
    "sinh": (mpmath.sinh, (-9, 9)),
    "cosh": (mpmath.cosh, (-9, 9)),
    "tanh": (mpmath.tanh, (-60, 60)),
    "asinh": (mpmath.asinh, (-60, 60)),
    "acosh": (mpmath.acosh, (1.1, 60)),
    "atanh": (mpmath.atanh, (-0.9, 0.9)),
    "erf": (mpmath.erf, (-9, 9)),
    "erfc": (mpmath.erfc, (-9, 9)),
}
# Two-operand primitives as functions of z: the operands, and the same in mpmath.
Z = Register(0)
COMPOSED = {
    "add": ((Z, 0.7), lambda x: x + 0.7, (-5, 5)),
    "sub": ((0.7, Z), lambda x: mpmath.mpf(0.7) - x, (-5, 5)),
    "mul": ((Z, Z), lambda x: x * x, (-5, 5)),
    "div": ((0.7, Z), lambda x: mpmath.mpf(0.7) / x, (0.1, 5)),
    "max": ((Z, 0.7), lambda x: max(x, mpmath.mpf(0.7)), (-5, 5)),
    "min": ((Z, 0.7), lambda x: min(x, mpmath.mpf(0.7)), (-5, 5)),
    "pow": ((Z, 2.5), lambda x: x ** mpmath.mpf(2.5), (0.1, 5)),
    "logaddexp": ((Z, 0.7), lambda x: mpmath.log(mpmath.exp(x) + mpmath.exp(0.7)), (-60, 60)),
    "integer_pow": ((Z, -3.0), lambda x: x**-3, (0.1, 5)),
    "clamp": ((-1.0, Z, 2.0), lambda x: min(max(x, -1), 2), (-5, 5)),
}
LOGIC = {"gt", "ge", "lt", "le", "eq", "ne", "and", "or", "xor", "not", "is_finite", "select_n"}


def _program(name: str) -> tuple[Program, object, tuple[float, float]]:
    if name in UNARY:
        oracle, interval = UNARY[name]
        return Program((Operation(name, (Z,)),), Register(1)), oracle, interval
    operands, oracle, interval = COMPOSED[name]
    return Program((Operation(name, operands),), Register(1)), oracle, interval


def _contains(ball: object, value: mpmath.mpf) -> bool:
    """Whether a number computed by mpmath to 40 digits lies in the ball, up to its rounding."""
    slack = mpmath.mpf(10) ** -25 * (1 + abs(value))
    nearby = flint.arb(mpmath.nstr(value, 40)) + flint.arb(0, float(slack))
    return bool(ball.overlaps(nearby))


def test_every_primitive_is_covered():
    known = set(functions.FUNCTIONS) | set(series.BRANCHES)
    assert set(UNARY) | set(COMPOSED) | LOGIC == known


@pytest.mark.parametrize("name", [*UNARY, *COMPOSED])
def test_primitive_encloses_mpmath(name):
    program, oracle, (low, high) = _program(name)
    rng = random.Random(name)
    with mpmath.workdps(40):
        for _ in range(12):
            radius = (high - low) * 2.0 ** -rng.randint(2, 20)
            centre = rng.uniform(low + radius, high - radius)
            ball = flint.arb(centre, radius)
            with working_precision(128, LENGTH):
                found = local_series(program, flint.arb_series([ball, 1], prec=LENGTH), ball)
            for _ in range(4):
                x = mpmath.mpf(centre + radius * rng.uniform(-0.999, 0.999))
                assert _contains(found.coefficients[0], oracle(x))
                if any(abs(x - kink) < 1e-6 for kink in (0, 0.7, -1, 2)):
                    continue
                for k, value in enumerate(mpmath.taylor(oracle, x, LENGTH - 1)):
                    assert _contains(found.coefficients[k], value), (name, centre, radius, k)


@pytest.mark.parametrize("name", [*UNARY, *COMPOSED])
def test_primitive_is_tight_on_small_balls(name):
    program, _, (low, high) = _program(name)
    rng = random.Random(name)
    for _ in range(10):
        centre = rng.uniform(low + 0.05, high - 0.05)
        if min(abs(centre - kink) for kink in (0, 0.7, -1, 2)) < 1e-2:
            continue
        point = taylor_coefficients(program, centre, LENGTH)
        around = taylor_coefficients(program, flint.arb(centre, 2.0**-26), LENGTH)
        for k, (p, a) in enumerate(zip(point, around, strict=True)):
            scale = 1 + max(float(c.abs_upper()) for c in point)
            assert float(p.rad()) <= 1e-25 * scale * 2 ** (8 * k)
            assert float(a.rad()) <= 1e-4 * scale * 8**k


@pytest.mark.parametrize("name", ["exp", "tanh", "logistic", "erf", "atan", "log1p", "expm1"])
def test_monotone_functions_give_their_range_on_wide_balls(name):
    program, oracle, _ = _program(name)
    value = taylor_coefficients(program, flint.arb(1.5, 2.25), 1)[0]
    low, high = (float(oracle(mpmath.mpf(x))) for x in (-0.75, 3.75))
    assert float(value.lower()) == pytest.approx(low, rel=1e-6, abs=1e-7 * (high - low))
    assert float(value.upper()) == pytest.approx(high, rel=1e-6)


def test_even_powers_of_straddling_balls_are_not_negative():
    for fn in (lambda z: z * z, lambda z: z**4, jnp.square):
        value = taylor_coefficients(trace(fn), flint.arb(0, 2), 1)[0]
        assert value.lower() >= -1e-7


def test_tails_keep_their_relative_accuracy():
    # 1 - tanh(30) is about 1e-26: all derivatives are tiny there, and none is lost in rounding.
    for fn in (jnp.tanh, jax.nn.sigmoid, jax.scipy.special.erf):
        for centre in (-30.0, 30.0):
            for c in taylor_coefficients(trace(fn), flint.arb(centre, 1e-4), 4)[1:]:
                assert 0 < c.abs_upper() < 1e-12
                assert c.rad() <= 0.05 * c.abs_upper()


def test_program_agrees_with_jax_derivatives():
    rng = np.random.default_rng(0)
    for sigma in registered_activations():
        fn = sigma.fn
        derivatives = [fn, jax.grad(fn), jax.grad(jax.grad(fn))]
        with jax.enable_x64(True):
            for z in rng.uniform(-4, 4, 3):
                found = taylor_coefficients(sigma.program, float(z), 3)
                for k, derivative in enumerate(derivatives):
                    value = float(derivative(jnp.float64(z))) / math.factorial(k)
                    assert float(found[k].mid()) == pytest.approx(value, rel=1e-9, abs=1e-11)


def _run(fn, ball):
    with working_precision(128, 4):
        return local_series(trace(fn), flint.arb_series([ball, 1], prec=4), ball)


def test_undecided_branches_give_the_hull_and_say_so():
    found = _run(jax.nn.relu, flint.arb(0, 1))
    assert not found.smooth
    assert found.coefficients[0].contains(0)
    assert found.coefficients[0].contains(1)
    assert found.coefficients[1].contains(0)
    assert found.coefficients[1].contains(1)
    assert not taylor_coefficients(trace(jax.nn.relu), flint.arb(0, 1), 2)[1].is_finite()


def test_a_kink_at_an_end_of_the_ball_is_no_obstacle():
    right = flint.arb((1, 0), (1, 0))  # exactly [0, 2]
    found = _run(jax.nn.relu, right)
    assert found.smooth
    assert found.coefficients[1] == 1
    step = _run(lambda z: jnp.where(z > 0, 1.0, 0.0), right)
    assert step.smooth
    assert step.open_ends  # the value at z = 0 is another one
    assert step.coefficients[0] == 1


def test_a_touching_comparison_is_not_decided_when_it_may_touch_inside():
    # z**2 * (z - 1)**2 >= 0 vanishes at two points of [0, 2]: not at the ends alone.
    fn = lambda z: jnp.where(z * z * (z - 1) * (z - 1) > 0, 1.0, 0.0)  # noqa: E731
    found = _run(fn, flint.arb((1, 0), (1, 0)))
    assert found.coefficients[0].contains(0)
    assert found.coefficients[0].contains(1)


def test_outside_the_domain_nothing_is_claimed():
    for fn in (jnp.log, jnp.sqrt, lambda z: 1 / z, lambda z: z**0.3, jnp.arctanh):
        ball = flint.arb(0, 0.5) if fn is not jnp.arctanh else flint.arb(1, 0.5)
        assert not taylor_coefficients(trace(fn), ball, 2)[0].is_finite()


def test_three_valued_logic():
    fn = lambda z: jnp.where((z > -3) & ~(z > 3) | (z > 5), z, 0.0)  # noqa: E731
    for centre, expected in ((0.5, 0.5), (4.0, 0.0), (6.0, 6.0), (-4.0, 0.0)):
        assert float(taylor_coefficients(trace(fn), centre, 1)[0].mid()) == expected
    assert taylor_coefficients(trace(fn), flint.arb(3, 0.5), 1)[0].contains(0)
    exclusive = trace(lambda z: jnp.where((z > 0) ^ (z > 1), 1.0, 0.0))
    assert taylor_coefficients(exclusive, 0.5, 1)[0] == 1
    assert taylor_coefficients(exclusive, 1.5, 1)[0] == 0


def test_random_programs_enclose_their_float_values():
    rng = random.Random(3)
    pool = ["tanh", "logistic", "sin", "erf", "atan", "neg", "abs", "square"]
    for _ in range(40):
        operations: list[Operation] = []
        for position in range(6):
            pick = lambda top=position: Register(rng.randint(0, top))  # noqa: E731
            if rng.random() < 0.5:
                operations.append(Operation(rng.choice(pool), (pick(),)))
            else:
                name = rng.choice(["add", "sub", "mul", "max", "min", "logaddexp"])
                other = pick() if rng.random() < 0.6 else rng.uniform(-2, 2)
                operations.append(Operation(name, (pick(), other)))
        program = Program(tuple(operations), Register(6))
        centre, radius = rng.uniform(-3, 3), 2.0 ** -rng.randint(0, 8)
        value = taylor_coefficients(program, flint.arb(centre, radius), 1)[0]
        points = np.array([centre + radius * rng.uniform(-1, 1) for _ in range(50)])
        for seen in evaluate_program(program, points):
            assert value.overlaps(flint.arb(seen, 1e-12 * (1 + abs(seen))))


def test_a_planted_wrong_rule_is_caught_by_the_point_test(monkeypatch):
    """The comparison with mpmath has teeth: a rule with a wrong constant does not pass it."""
    rule = functions.FUNCTIONS["sin"]
    wrong = lambda run, u: rule(run, u * flint.arb(1 + 2.0**-40))  # noqa: E731
    monkeypatch.setitem(series._RULES, "sin", wrong)
    series._compiled.cache_clear()
    try:
        with pytest.raises(AssertionError):
            test_primitive_is_exact_at_points("sin")
    finally:
        monkeypatch.undo()
        series._compiled.cache_clear()
    test_primitive_is_exact_at_points("sin")


@pytest.mark.parametrize("name", [*UNARY, *COMPOSED])
def test_primitive_is_exact_at_points(name):
    program, oracle, (low, high) = _program(name)
    with mpmath.workdps(40):
        for fraction in (0.2345, 0.62, 0.87):
            x = low + fraction * (high - low)
            value = taylor_coefficients(program, x, 1)[0]
            assert _contains(value, oracle(mpmath.mpf(x)))
            assert value.rad() < 1e-20 * (1 + value.abs_upper())


def test_flint_settings_are_put_back():
    before = flint.ctx.prec, flint.ctx.cap
    taylor_coefficients(trace(jnp.tanh), 0.5, 14, bits=200)
    assert (flint.ctx.prec, flint.ctx.cap) == before
