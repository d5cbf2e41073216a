"""Arithmetic and the elementary functions over ball series, one sharp rule each.

Values of monotone functions go through the ends of wide balls; the higher coefficients come from
differential equations written so that nothing cancels far out, where activations meet their
asymptotes (THEORY.md, Theorem Ball series).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flint

from jaxbarron.balls.run import (
    NAN,
    Run,
    from_derivative,
    inverse,
    is_constant,
    not_a_number,
    series_of,
    through_ends,
    through_ends_of_modulus,
    with_constant,
)

__all__ = ["FUNCTIONS"]


# ---------------------------------------------------------------------- powers


def _square(run: Run, u: Any) -> Any:
    return _whole_power(run, u, 2)


def _divide(run: Run, a: Any, b: Any) -> Any:
    if is_constant(b) and b[0] != 0:
        return series_of(run, [c / b[0] for c in a.coeffs()[: run.length]])
    return a * inverse(run, b)


def _whole_power(run: Run, u: Any, exponent: int) -> Any:
    if exponent < 0:
        return inverse(run, _whole_power(run, u, -exponent))
    if exponent == 0:
        return series_of(run, [flint.arb(1)])
    result, square, rest = None, u, exponent
    while rest:
        if rest & 1:
            result = square if result is None else result * square
        rest >>= 1
        square = square * square if rest else square
    through = through_ends_of_modulus if exponent % 2 == 0 else through_ends
    return with_constant(run, result, through(lambda x: _power_of_ball(x, exponent), u[0]))


def _power_of_ball(x: Any, exponent: int) -> Any:
    # Not x ** exponent: flint's power of a ball around zero is not a number.
    result = x
    for bit in bin(exponent)[3:]:
        result = result * result
        if bit == "1":
            result = result * x
    return result


def _integer_pow(run: Run, u: Any, exponent: Any) -> Any:
    return _whole_power(run, u, int(exponent[0].unique_fmpz()))


def _power(run: Run, base: Any, exponent: Any) -> Any:
    if is_constant(exponent):
        whole = exponent[0].unique_fmpz() if exponent[0].is_exact() else None
        if whole is not None and abs(int(whole)) <= 64:
            return _whole_power(run, base, int(whole))
        if base[0] > 0:
            return _positive_power(run, base, exponent[0])
        if base[0] >= 0 and exponent[0] > 0:
            top = base[0].upper()
            value = (exponent[0] * top.log()).exp() if top > 0 else flint.arb(0)
            value = flint.arb(0).union(value.upper())
            return series_of(run, [value, *[NAN] * (run.length - 1)])
    return _exponential(run, exponent * _logarithm(run, base))


def _positive_power(run: Run, u: Any, exponent: Any) -> Any:
    """``sum binom(a, k) u_0^(a - k) v^k``, v the rest of u, each power of u_0 through its ends."""
    rest, result, factors = with_constant(run, u, flint.arb(0)), 0, [flint.arb(1)]
    for k in range(1, run.length):
        factors.append(factors[-1] * (exponent - k + 1) / k)
    for k in reversed(range(run.length)):
        power = through_ends(lambda x, a=exponent - k: (a * x.log()).exp(), u[0])
        result = result * rest + series_of(run, [factors[k] * power])
    return result


def _square_root(run: Run, u: Any) -> Any:
    if u[0].is_zero() and is_constant(u):
        return u
    if u[0] > 0:
        root = flint.arb_series(u.coeffs(), prec=run.length).sqrt()
        return with_constant(run, root, through_ends(lambda x: x.sqrt(), u[0]))
    if u[0] >= 0:
        value = flint.arb(0).union(u[0].upper().sqrt().upper())
        return series_of(run, [value, *[NAN] * (run.length - 1)])
    return not_a_number(run)


def _reciprocal_root(run: Run, u: Any) -> Any:
    return inverse(run, _square_root(run, u))


def _cube_root(run: Run, u: Any) -> Any:
    if u[0] < 0:
        return -_cube_root(run, -u)
    if u[0] > 0:
        power = _exponential(run, _logarithm(run, u) / 3)
        return with_constant(run, power, through_ends(lambda x: x.root(3), u[0]))

    def real(x: Any) -> Any:
        return flint.arb(0) if x.is_zero() else x.root(3) if x > 0 else -((-x).root(3))

    if not u[0].is_finite():
        return not_a_number(run)
    value = real(u[0].lower()).union(real(u[0].upper()))
    steep = flint.arb(0) if is_constant(u) else NAN
    return series_of(run, [value, *[steep] * (run.length - 1)])


# --------------------------------------------------- exponentials and logarithms


def _exponential(run: Run, u: Any) -> Any:
    value = through_ends(lambda x: x.exp(), u[0])
    return with_constant(run, u, flint.arb(0)).exp() * value


def _exponential_minus_one(run: Run, u: Any) -> Any:
    return with_constant(run, _exponential(run, u), through_ends(lambda x: x.expm1(), u[0]))


def _power_of_two(run: Run, u: Any) -> Any:
    return _exponential(run, u * flint.arb(2).log())


def _logarithm(run: Run, u: Any) -> Any:
    if not u[0] > 0:
        return not_a_number(run)
    log = flint.arb_series(u.coeffs(), prec=run.length).log()
    return with_constant(run, log, through_ends(lambda x: x.log(), u[0]))


def _logarithm_of_one_plus(run: Run, u: Any) -> Any:
    return with_constant(run, _logarithm(run, 1 + u), through_ends(lambda x: x.log1p(), u[0]))


def _log_add_exp(run: Run, a: Any, b: Any) -> Any:
    if (a - b)[0].mid() < 0:
        a, b = b, a
    return a + _logarithm_of_one_plus(run, _exponential(run, b - a))


def _logistic(run: Run, u: Any) -> Any:
    value = through_ends(lambda x: 1 / (1 + (-x).exp()), u[0])
    return with_constant(run, _hyperbolic_tangent(run, u / 2) / 2, value)


def _hyperbolic_tangent(run: Run, u: Any) -> Any:
    # tanh(x + v) = t + (1 - t^2) tanh v / (1 + t tanh v) with 1 - t^2 = sech^2 x, which keeps its
    # relative accuracy far out.
    value = through_ends(lambda x: x.tanh(), u[0])
    slope = through_ends_of_modulus(lambda x: x.sech() ** 2, u[0])
    double = with_constant(run, 2 * u, flint.arb(0)).exp()
    small = with_constant(run, (double - 1) * inverse(run, double + 1), flint.arb(0))
    return with_constant(run, slope * small * inverse(run, 1 + value * small), value)


def _hyperbolic_pair(run: Run, u: Any) -> tuple[Any, Any, Any, Any]:
    """sinh and cosh of the constant term, and of the rest of the series."""
    grow = with_constant(run, u, flint.arb(0)).exp()
    fall = inverse(run, grow)
    sine = through_ends(lambda x: x.sinh(), u[0])
    cosine = through_ends_of_modulus(lambda x: x.cosh(), u[0])
    return sine, cosine, (grow - fall) / 2, (grow + fall) / 2


def _hyperbolic_sine(run: Run, u: Any) -> Any:
    sine, cosine, small, near_one = _hyperbolic_pair(run, u)
    return sine * near_one + cosine * small


def _hyperbolic_cosine(run: Run, u: Any) -> Any:
    sine, cosine, small, near_one = _hyperbolic_pair(run, u)
    return cosine * near_one + sine * small


# ------------------------------------------- functions known by their derivative


def _error_function(run: Run, u: Any) -> Any:
    density = _exponential(run, -_square(run, u)) * (2 / flint.arb.pi().sqrt())
    return from_derivative(run, through_ends(lambda x: x.erf(), u[0]), density, u)


def _complementary_error_function(run: Run, u: Any) -> Any:
    density = _exponential(run, -_square(run, u)) * (-2 / flint.arb.pi().sqrt())
    return from_derivative(run, through_ends(lambda x: x.erfc(), u[0]), density, u)


def _arc_tangent(run: Run, u: Any) -> Any:
    derivative = inverse(run, 1 + _square(run, u))
    return from_derivative(run, through_ends(lambda x: x.atan(), u[0]), derivative, u)


def _arc_sine(run: Run, u: Any) -> Any:
    derivative = _reciprocal_root(run, 1 - _square(run, u))
    return from_derivative(run, through_ends(lambda x: x.asin(), u[0]), derivative, u)


def _arc_cosine(run: Run, u: Any) -> Any:
    derivative = -_reciprocal_root(run, 1 - _square(run, u))
    return from_derivative(run, through_ends(lambda x: x.acos(), u[0]), derivative, u)


def _area_sine(run: Run, u: Any) -> Any:
    derivative = _reciprocal_root(run, 1 + _square(run, u))
    return from_derivative(run, through_ends(lambda x: x.asinh(), u[0]), derivative, u)


def _area_cosine(run: Run, u: Any) -> Any:
    derivative = _reciprocal_root(run, _square(run, u) - 1)
    return from_derivative(run, through_ends(lambda x: x.acosh(), u[0]), derivative, u)


def _area_tangent(run: Run, u: Any) -> Any:
    derivative = inverse(run, 1 - _square(run, u))
    return from_derivative(run, through_ends(lambda x: x.atanh(), u[0]), derivative, u)


def _native(name: str) -> Callable[..., Any]:
    def rule(run: Run, u: Any) -> Any:
        return getattr(flint.arb_series(u.coeffs(), prec=run.length), name)()

    return rule


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": lambda run, a, b: a + b,
    "sub": lambda run, a, b: a - b,
    "mul": lambda run, a, b: _square(run, a) if a is b else a * b,
    "neg": lambda run, a: -a,
    "div": _divide,
    "square": _square,
    "integer_pow": _integer_pow,
    "pow": _power,
    "sqrt": _square_root,
    "rsqrt": _reciprocal_root,
    "cbrt": _cube_root,
    "exp": _exponential,
    "exp2": _power_of_two,
    "expm1": _exponential_minus_one,
    "log": _logarithm,
    "log1p": _logarithm_of_one_plus,
    "logaddexp": _log_add_exp,
    "logistic": _logistic,
    "tanh": _hyperbolic_tangent,
    "sinh": _hyperbolic_sine,
    "cosh": _hyperbolic_cosine,
    "sin": _native("sin"),
    "cos": _native("cos"),
    "tan": _native("tan"),
    "erf": _error_function,
    "erfc": _complementary_error_function,
    "atan": _arc_tangent,
    "asin": _arc_sine,
    "acos": _arc_cosine,
    "asinh": _area_sine,
    "acosh": _area_cosine,
    "atanh": _area_tangent,
}
