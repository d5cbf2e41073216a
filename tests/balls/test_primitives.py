"""Every primitive on a thousand balls: the ball series against closed forms at high precision.

The oracle is mpmath at sixty digits: values by its own functions, derivatives in closed form, and
those closed forms against mpmath's numerical differentiation.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import flint
import mpmath
import pytest
from mpmath import mp, mpf

from jaxbarron.balls import series
from jaxbarron.balls.branches import BRANCHES
from jaxbarron.balls.functions import FUNCTIONS
from jaxbarron.balls.series import local_series, working_precision
from jaxbarron.programs import ARITY, Operation, Program, Register

DIGITS = 60
LENGTH = 5
BALLS = 1000
Z = Register(0)
Series = list[Any]

# ------------------------------------------ Taylor coefficients in closed form, orders 0 to 4


def _binomial(x: Any, a: Any) -> Series:
    """x**a; the exact zeros of a whole power as such, for mpmath's 0 * 0**-1 is an error."""
    a, factors = mpf(a), [mpf(1)]
    for k in range(1, LENGTH):
        factors.append(factors[-1] * (a - k + 1) / k)
    return [c and c * x ** (a - k) for k, c in enumerate(factors)]


def _from_derivatives(value: Any, weight: Any, *polynomials: Any) -> Series:
    """Value and ``weight * p_k / k!``."""
    factorials = (1, 2, 6, 24)
    return [value, *(weight * p / n for p, n in zip(polynomials, factorials, strict=True))]


def _sign(x: Any) -> int:
    return (x > 0) - (x < 0)


def _cube_root(x: Any) -> Series:
    return [c * _sign(x) ** (k + 1) for k, c in enumerate(_binomial(abs(x), mpf(1) / 3))]


def _exponential(x: Any) -> Series:
    e = mpmath.exp(x)
    return [e, e, e / 2, e / 6, e / 24]


def _power_of_two(x: Any) -> Series:
    e, log = mpf(2) ** x, mpmath.log(2)
    return [e * log**k / mpmath.factorial(k) for k in range(LENGTH)]


def _logarithm(x: Any) -> Series:
    return [mpmath.log(x), *(-((-1 / x) ** k) / k for k in range(1, LENGTH))]


def _tangent(t: Any, s: Any, sign: int) -> Series:
    """tan and tanh from their value t and the derivative s = 1 + sign t**2."""
    return [
        t,
        s,
        sign * t * s,
        sign * s * (1 + sign * 3 * t * t) / 3,
        t * s * (2 + sign * 3 * t * t) / 3,
    ]


def _tanh(x: Any) -> Series:
    return _tangent(mpmath.tanh(x), mpmath.sech(x) ** 2, -1)


def _logistic(x: Any) -> Series:
    half = _tanh(x / 2)
    return [1 / (1 + mpmath.exp(-x)), *(c / 2 ** (k + 2) for k, c in enumerate(half[1:]))]


def _error_function(value: Any, sign: int, x: Any) -> Series:
    density = sign * 2 / mpmath.sqrt(mp.pi) * mpmath.exp(-x * x)
    return _from_derivatives(value, density, 1, -2 * x, 4 * x * x - 2, 12 * x - 8 * x**3)


def _arc_sine(value: Any, sign: int, x: Any) -> Series:
    w = 1 / mpmath.sqrt((1 - x) * (1 + x))
    p = (1, x * w**2, (1 + 2 * x * x) * w**4, (9 * x + 6 * x**3) * w**6)
    return _from_derivatives(value, sign * w, *p)


def _area_sine(x: Any) -> Series:
    w = 1 / mpmath.sqrt(1 + x * x)
    p = (1, -x * w**2, (2 * x * x - 1) * w**4, (9 * x - 6 * x**3) * w**6)
    return _from_derivatives(mpmath.asinh(x), w, *p)


def _area_cosine(x: Any) -> Series:
    w = 1 / mpmath.sqrt((x - 1) * (x + 1))
    p = (1, -x * w**2, (2 * x * x + 1) * w**4, -(9 * x + 6 * x**3) * w**6)
    return _from_derivatives(mpmath.acosh(x), w, *p)


def _circular(value: Any, derivative: Any) -> Series:
    return [value, derivative, -value / 2, -derivative / 6, value / 24]


def _hyperbolic(value: Any, derivative: Any) -> Series:
    return [value, derivative, value / 2, derivative / 6, value / 24]


def _linear(value: Any, slope: Any = 0) -> Series:
    return [value, mpf(slope), 0, 0, 0]


def _arc_tangent(x: Any) -> Series:
    return [
        mpmath.atan(x),
        *((-((-1 / (x - 1j)) ** k) / k).imag for k in range(1, LENGTH)),
    ]


def _area_tangent(x: Any) -> Series:
    parts = [((1 - x) ** -k - (-1 / (1 + x)) ** k) / (2 * k) for k in range(1, LENGTH)]
    return [mpmath.atanh(x), *parts]


EVERYWHERE = (-math.inf, math.inf)
POSITIVE = (0, math.inf)
# name -> (coefficients at x, domain's interior, largest |centre|)
UNARY: dict[str, tuple[Callable[[Any], Series], tuple[Any, Any], float]] = {
    "neg": (lambda x: _linear(-x, -1), EVERYWHERE, 1e3),
    "abs": (lambda x: _linear(abs(x), _sign(x)), EVERYWHERE, 1e3),
    "sign": (lambda x: _linear(_sign(x)), EVERYWHERE, 1e3),
    "square": (lambda x: [x * x, 2 * x, 1, 0, 0], EVERYWHERE, 1e3),
    "sqrt": (lambda x: _binomial(x, mpf(1) / 2), POSITIVE, 1e3),
    "rsqrt": (lambda x: _binomial(x, -mpf(1) / 2), POSITIVE, 1e3),
    "cbrt": (_cube_root, EVERYWHERE, 1e3),
    "exp": (_exponential, EVERYWHERE, 300),
    "exp2": (_power_of_two, EVERYWHERE, 300),
    "expm1": (lambda x: [mpmath.expm1(x), *_exponential(x)[1:]], EVERYWHERE, 300),
    "log": (_logarithm, POSITIVE, 1e3),
    "log1p": (lambda x: [mpmath.log1p(x), *_logarithm(1 + x)[1:]], (-1, math.inf), 1e3),
    "logistic": (_logistic, EVERYWHERE, 300),
    "sin": (lambda x: _circular(mpmath.sin(x), mpmath.cos(x)), EVERYWHERE, 300),
    "cos": (lambda x: _circular(mpmath.cos(x), -mpmath.sin(x)), EVERYWHERE, 300),
    "tan": (lambda x: _tangent(mpmath.tan(x), mpmath.sec(x) ** 2, 1), EVERYWHERE, 300),
    "asin": (lambda x: _arc_sine(mpmath.asin(x), 1, x), (-1, 1), 1),
    "acos": (lambda x: _arc_sine(mpmath.acos(x), -1, x), (-1, 1), 1),
    "atan": (_arc_tangent, EVERYWHERE, 1e3),
    "sinh": (lambda x: _hyperbolic(mpmath.sinh(x), mpmath.cosh(x)), EVERYWHERE, 300),
    "cosh": (lambda x: _hyperbolic(mpmath.cosh(x), mpmath.sinh(x)), EVERYWHERE, 300),
    "tanh": (_tanh, EVERYWHERE, 300),
    "asinh": (_area_sine, EVERYWHERE, 1e3),
    "acosh": (_area_cosine, (1, math.inf), 1e3),
    "atanh": (_area_tangent, (-1, 1), 1),
    "erf": (lambda x: _error_function(mpmath.erf(x), 1, x), EVERYWHERE, 30),
    "erfc": (lambda x: _error_function(mpmath.erfc(x), -1, x), EVERYWHERE, 30),
}


def _times(a: Series, b: Series) -> Series:
    return [sum(a[i] * b[k - i] for i in range(k + 1)) for k in range(LENGTH)]


def _log_add_exp(x: Any, c: Any) -> Series:
    slope = _logistic(x - c)
    top = max(x, c)
    value = top + mpmath.log1p(mpmath.exp(min(x, c) - top))
    return [value, *(s / (k + 1) for k, s in enumerate(slope[:-1]))]


C = 0.7  # exact as a double; operands of the primitives with two or three
C_ = mpf(C)
KINKED = {"abs": (0,), "sign": (0,), "cbrt": (0,), "max": (C,), "min": (C,), "clamp": (-1, 2)}
SINE = Operation("sin", (Z,))


def _sine(x: Any) -> Series:
    return _circular(mpmath.sin(x), mpmath.cos(x))


def _branch(condition: Callable[[Any], bool]) -> Callable[[Any], Series]:
    return lambda x: _sine(x) if condition(x) else [x * x, 2 * x, 1, 0, 0]


def _selecting(*logic: Operation) -> tuple[Operation, ...]:
    """sin(z) where the last truth value holds, else z**2; registers 1 and 2 are taken."""
    last = Register(2 + len(logic))
    square = Operation("square", (Z,))
    return (SINE, square, *logic, Operation("select_n", (last, Register(2), Register(1))))


def _compare(name: str) -> tuple[Operation, ...]:
    return _selecting(Operation(name, (Z, C)))


def _connect(name: str) -> tuple[Operation, ...]:
    ranges = (Operation("gt", (Z, C)), Operation("lt", (Z, 2.0)))
    return _selecting(*ranges, Operation(name, (Register(3), Register(4))))


# name -> (operations, coefficients at x, domain's interior, largest |centre|)
OTHERS: dict[str, tuple[tuple[Operation, ...], Callable[[Any], Series], Any, float]] = {
    "add": (
        (SINE, Operation("add", (Z, Register(1)))),
        lambda x: [a + b for a, b in zip(_linear(x, 1), _sine(x), strict=True)],
        EVERYWHERE,
        300,
    ),
    "sub": (
        (SINE, Operation("sub", (C, Register(1)))),
        lambda x: [a - b for a, b in zip(_linear(C_), _sine(x), strict=True)],
        EVERYWHERE,
        300,
    ),
    "mul": (
        (SINE, Operation("mul", (Z, Register(1)))),
        lambda x: _times(_linear(x, 1), _sine(x)),
        EVERYWHERE,
        300,
    ),
    "div": (
        (SINE, Operation("div", (Register(1), Z))),
        lambda x: _times(_sine(x), _binomial(x, -1)),
        POSITIVE,
        300,
    ),
    "div by a constant": (
        (Operation("div", (Z, C)),),
        lambda x: _linear(x / C_, 1 / C_),
        EVERYWHERE,
        300,
    ),
    "pow": ((Operation("pow", (Z, 2.5)),), lambda x: _binomial(x, 2.5), POSITIVE, 300),
    "pow whole": ((Operation("pow", (Z, 3.0)),), lambda x: _binomial(x, 3), EVERYWHERE, 300),
    "pow negative": ((Operation("pow", (Z, -1.5)),), lambda x: _binomial(x, -1.5), POSITIVE, 300),
    "pow of a constant": (
        (Operation("pow", (C, Z)),),
        lambda x: [C_**x * mpmath.log(C_) ** k / mpmath.factorial(k) for k in range(LENGTH)],
        EVERYWHERE,
        300,
    ),
    **{
        f"integer_pow {n}": (
            (Operation("integer_pow", (Z, float(n))),),
            lambda x, n=n: _binomial(x, n),
            POSITIVE if n < 0 else EVERYWHERE,
            300,
        )
        for n in (7, 6, 1, 0, -3)
    },
    "logaddexp": (
        (Operation("logaddexp", (Z, C)),),
        lambda x: _log_add_exp(x, C_),
        EVERYWHERE,
        300,
    ),
    "max": (
        (Operation("max", (Z, C)),),
        lambda x: _linear(x, 1) if x > C_ else _linear(C_),
        EVERYWHERE,
        300,
    ),
    "min": (
        (Operation("min", (Z, C)),),
        lambda x: _linear(x, 1) if x < C_ else _linear(C_),
        EVERYWHERE,
        300,
    ),
    "clamp": (
        (Operation("clamp", (-1.0, Z, 2.0)),),
        lambda x: _linear(x, 1) if -1 < x < 2 else _linear(min(max(x, mpf(-1)), mpf(2))),
        EVERYWHERE,
        300,
    ),
    "gt": (_compare("gt"), _branch(lambda x: x > C_), EVERYWHERE, 300),
    "ge": (_compare("ge"), _branch(lambda x: x >= C_), EVERYWHERE, 300),
    "lt": (_compare("lt"), _branch(lambda x: x < C_), EVERYWHERE, 300),
    "le": (_compare("le"), _branch(lambda x: x <= C_), EVERYWHERE, 300),
    "eq": (_compare("eq"), _branch(lambda x: x == C_), EVERYWHERE, 300),
    "ne": (_compare("ne"), _branch(lambda x: x != C_), EVERYWHERE, 300),
    "and": (_connect("and"), _branch(lambda x: x > C_ and x < 2), EVERYWHERE, 300),
    "or": (_connect("or"), _branch(lambda x: x > C_ or x < 2), EVERYWHERE, 300),
    "xor": (_connect("xor"), _branch(lambda x: (x > C_) != (x < 2)), EVERYWHERE, 300),
    "not": (
        _selecting(Operation("gt", (Z, C)), Operation("not", (Register(3),))),
        _branch(lambda x: not x > C_),
        EVERYWHERE,
        300,
    ),
    "is_finite": (_selecting(Operation("is_finite", (Z,))), _sine, EVERYWHERE, 300),
    "select_n": (_compare("gt"), _branch(lambda x: x > C_), EVERYWHERE, 300),
}
KINKED |= dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "not", "select_n"), (C,))
KINKED |= dict.fromkeys(("and", "or", "xor"), (C, 2))
CASES = [*UNARY, *OTHERS]


def _case(name: str) -> tuple[Program, Callable[[Any], Series], tuple[Any, Any], float]:
    if name in UNARY:
        oracle, domain, largest = UNARY[name]
        return Program((Operation(name, (Z,)),), Register(1)), oracle, domain, largest
    operations, oracle, domain, largest = OTHERS[name]
    return Program(operations, Register(len(operations))), oracle, domain, largest


# 1 +- 10**-48 for what mpmath computes with 60 digits, 1 +- 10**-40 for what is composed of it
_NEAR = flint.arb(1, 1e-48)
_BENT = flint.arb(1, 1e-40)


def _ball_of(value: Any, accuracy: Any = _NEAR) -> Any:
    """What mpmath's number stands for: a ball of that relative accuracy."""
    mantissa, exponent = abs(mpf(value)).man_exp
    with flint.ctx.workprec(256):
        return flint.arb((_sign(value) * int(mantissa), int(exponent))) * accuracy


def _random_ball(rng: random.Random, name: str) -> tuple[float, int]:
    """A centre of any scale from 2**-24 up, or near a kink, and the exponent of the radius."""
    _, _, (low, high), largest = _case(name)
    exponent = rng.randint(-60, 2)
    if name in KINKED and rng.random() < 0.3:
        offset = rng.choice((-1, -0.5, 0, 0.5, 1)) * 2.0**exponent
        return rng.choice(KINKED[name]) + offset, exponent
    distance = 2.0 ** rng.uniform(-24, math.log2(largest))
    if low > -math.inf and rng.random() < 0.7:
        return float(low) + distance, exponent  # close to an end of the domain
    if high < math.inf:
        return float(high) - distance, exponent
    return rng.choice((-1, 1)) * distance if low == -math.inf else float(low) + distance, exponent


def _compose(outer: Series, inner: Series) -> Series:
    """``sum outer_k (inner - inner_0)**k``."""
    total, power = _linear(outer[0]), _linear(mpf(1))
    for c in outer[1:]:
        power = _times(power, [mpf(0), *inner[1:]])
        total = [t + c * p for t, p in zip(total, power, strict=True)]
    return total


def _comparisons(name: str, balls: int, bent: bool = False) -> Iterator[tuple[bool, Any]]:
    """For each coefficient at points of random balls: whether it is in its ball, and which.

    ``bent``: the primitive at ``z * (1 + z / 8)`` in place of z, so that the series in it has a
    second coefficient.
    """
    program, oracle, (low, high), _ = _case(name)
    if bent:
        program = _bend(program)
    kinks = KINKED.get(name.split()[0], ())
    rng = random.Random(name)
    with mpmath.workdps(DIGITS), working_precision(128, LENGTH):
        for _ in range(balls):
            centre, exponent = _random_ball(rng, name)
            ball = flint.arb(centre, 2.0**exponent)
            found = local_series(program, flint.arb_series([ball, 1], prec=LENGTH), ball)
            # Exact, and inside the ball: a double, 2**-60 and twenty bits fit sixty digits.
            step = rng.choice((rng.randint(1 - 2**20, 2**20 - 1), 1 - 2**20, 2**20 - 1))
            x = mpf(centre) + mpf(2) ** (exponent - 20) * step
            y = x * (1 + x / 8) if bent else x
            if not low < y < high or y in kinks:
                continue
            expected = oracle(y)
            if bent:
                expected = _compose(expected, [y, 1 + x / 4, mpf(1) / 8, 0, 0])
            for k, (got, value) in enumerate(zip(found.coefficients, expected, strict=True)):
                if got.is_finite():
                    truth = _ball_of(value, _BENT if bent else _NEAR)
                    yield got.overlaps(truth), (name, centre, exponent, x, k)


def _bend(program: Program) -> Program:
    """The same operations on register 3 = z * (1 + z / 8)."""
    bend = (
        Operation("div", (Z, 8.0)),
        Operation("add", (Register(1), 1.0)),
        Operation("mul", (Z, Register(2))),
    )

    def move(operand: Any) -> Any:
        return Register(operand.index + 3) if isinstance(operand, Register) else operand

    moved = (Operation(op.name, tuple(map(move, op.operands))) for op in program.operations)
    return Program((*bend, *moved), move(program.output))


def test_every_primitive_is_here():
    assert {name.split()[0] for name in CASES} == set(ARITY)
    assert set(ARITY) == set(FUNCTIONS) | set(BRANCHES)


@pytest.mark.parametrize("name", CASES)
def test_closed_forms_are_right(name):
    _, oracle, (low, high), largest = _case(name)
    with mpmath.workdps(DIGITS):
        for x in (mpf("0.313"), mpf("0.871"), mpf("-0.313"), mpf("1.73"), mpf("-2.4")):
            if low < x < high and abs(x) <= max(largest, 2):
                expected = mpmath.taylor(lambda t: oracle(t)[0], x, LENGTH - 1)
                for ours, theirs in zip(oracle(x), expected, strict=True):
                    assert abs(ours - theirs) < mpf(10) ** -40 * (1 + abs(theirs))


@pytest.mark.parametrize("name", CASES)
def test_a_thousand_balls(name):
    found = list(_comparisons(name, BALLS))
    assert not [where for inside, where in found if not inside]
    assert len(found) > 1.5 * BALLS


@pytest.mark.parametrize("name", CASES)
def test_on_a_series_that_is_not_linear(name):
    found = list(_comparisons(name, BALLS // 10, bent=True))
    assert not [where for inside, where in found if not inside]
    assert len(found) > BALLS // 20


# ------------------------------------------------------------------- planted faults


def _altered(rule: Any, k: int, alter: Callable[[Any], Any]) -> Any:
    def faulty(run: Any, *operands: Any) -> Any:
        result = rule(run, *operands)
        coefficients = [result[i] for i in range(run.length)]
        coefficients[k] = alter(coefficients[k])
        return flint.arb_series(coefficients, prec=run.length)

    return faulty


FAULTS = {
    "wrong": lambda c: c * flint.arb(1 + 2.0**-40),
    "without radius": lambda c: flint.arb(c.mid()),
    "radius too small": lambda c: flint.arb(c.mid(), c.rad() / 8),
    "sign": lambda c: -c,
}
SMOOTH = [n for n in FUNCTIONS if n not in ("add", "sub", "neg", "integer_pow", "square")]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("k", [0, 1, 3])
def test_a_planted_fault_is_seen(monkeypatch, fault, k):
    # compiled programs hold the rules that they were compiled with
    monkeypatch.setattr(series, "_compiled", series._compiled.__wrapped__)
    for name in SMOOTH:
        with monkeypatch.context() as patch:
            patch.setitem(series._RULES, name, _altered(FUNCTIONS[name], k, FAULTS[fault]))
            assert not all(inside for inside, _ in _comparisons(name, 120)), name


def test_a_branch_taken_the_wrong_way_is_seen(monkeypatch):
    monkeypatch.setattr(series, "_compiled", series._compiled.__wrapped__)
    for name, wrong in (("max", "min"), ("gt", "lt"), ("and", "or"), ("abs", "neg")):
        with monkeypatch.context() as patch:
            patch.setitem(series._RULES, name, {**FUNCTIONS, **BRANCHES}[wrong])
            assert not all(inside for inside, _ in _comparisons(name, 120)), name


# ------------------------------------------------------------------------ tightness


def _relative_width(found: Any) -> list[float]:
    return [float(c.rad() / c.abs_lower()) if c != 0 else math.inf for c in found.coefficients]


def _at(name: str, ball: Any) -> Any:
    program = Program((Operation(name, (Z,)),), Register(1))
    return local_series(program, flint.arb_series([ball, 1], prec=LENGTH), ball)


@pytest.mark.parametrize("name", ["tanh", "logistic"])
def test_sigmoids_keep_their_relative_accuracy_far_out(name):
    # 1 - tanh(300) is 1e-260: what subtracts from 1 has no digit left at 128 bits
    with working_precision(128, LENGTH):
        for x in (-300.0, -171.3, -40.0, 40.0, 171.3, 300.0):
            widths = _relative_width(_at(name, flint.arb(x)))
            assert max(widths[1:]) < 2.0**-100, (x, widths)
            assert widths[0] < 2.0**-100
            # on a ball of radius r they may vary by exp(2 r) and little more
            widths = _relative_width(_at(name, flint.arb(x, 2.0**-10)))
            assert max(widths) < 2.0**-6, (x, widths)


@pytest.mark.parametrize("name", ["erf", "erfc", "exp", "sinh", "cosh", "expm1"])
def test_no_cancellation_far_out(name):
    with working_precision(128, LENGTH):
        for x in (-25.0, -8.0, 8.0, 25.0):
            # erfc(25) = 8e-274, its derivatives likewise
            widths = _relative_width(_at(name, flint.arb(x)))
            assert max(widths) < 2.0**-100, (x, widths)
            widths = _relative_width(_at(name, flint.arb(x, 2.0**-14)))
            assert max(widths) < 2.0**-4, (x, widths)


@pytest.mark.parametrize("name", ["expm1", "log1p", "asinh", "atanh", "erf", "tanh", "sin", "atan"])
def test_no_cancellation_at_zero(name):
    with working_precision(128, LENGTH):
        for x in (2.0**-200, -(2.0**-60), 2.0**-12):
            assert _relative_width(_at(name, flint.arb(x)))[0] < 2.0**-100


@pytest.mark.parametrize("name", UNARY)
def test_points_are_sharp(name):
    """At a point every coefficient has 60 correct bits; only a zero has no relative accuracy."""
    _, oracle, (low, high), _ = _case(name)
    rng = random.Random(name)
    with mpmath.workdps(DIGITS), working_precision(128, LENGTH):
        for _ in range(50):
            centre, _ = _random_ball(rng, name)
            if not low < centre < high or centre in KINKED.get(name, ()):
                continue
            found = _at(name, flint.arb(centre))
            assert found.smooth and not found.open_ends  # noqa: PT018
            for k, (c, value) in enumerate(
                zip(found.coefficients, oracle(mpf(centre)), strict=True)
            ):
                scale = max(abs(value), mpf(10) ** -300)
                assert c.overlaps(_ball_of(value))
                assert mpf(float(c.rad())) <= mpf(2) ** -60 * scale, (centre, k, c)
