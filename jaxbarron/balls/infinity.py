"""Expansions at infinity in powers of 1/x, for programs that are algebraic far out.

With u = 1/x every register is x^n A(u), A analytic at u = 0 and on [0, 1/start].  One run of the
rules of ball series at u = 0 gives the coefficients, another one over the whole interval the
remainder (THEORY.md, Theorem Remainder of an integral).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flint

from jaxbarron.balls.branches import BRANCHES
from jaxbarron.balls.envelopes import Unknown
from jaxbarron.balls.functions import FUNCTIONS
from jaxbarron.balls.run import Run, inverse, series_of
from jaxbarron.balls.series import known_coefficients
from jaxbarron.programs import Program, Register

__all__ = ["Expansion", "expansion_at_infinity"]

_LARGEST = 64  # of the power n: beyond it, too few coefficients are left


@dataclass(frozen=True, eq=False)
class Expansion:
    """``f(side * x) = sum_(k < K) coefficients[k] x^(power - k) + r(x)`` for x >= start.

    ``r(x) = x^power rho(1/x)``, and rho^(K) / K! lies in ``remainder``, K the number of
    coefficients.
    """

    start: Any
    power: int
    coefficients: tuple[Any, ...]
    remainder: Any

    def combined(self, terms: Sequence[tuple[int, int, Any]]) -> Laurent:
        """``sum c x^i f^(k)(x)``, the derivatives in x, over the triples (k, i, c), c rational."""
        count = len(self.coefficients)
        exact: dict[tuple[int, int], Any] = {}
        error: dict[int, Any] = {}
        for k, i, c in terms:
            for j in range(count):
                # the same coefficient of f at the same power: rationals cancel before balls come in
                place = self.power - j + i - k, j
                exact[place] = exact.get(place, 0) + c * _falling(self.power - j, k)
            power = self.power - count + i - k
            error[power] = error.get(power, flint.arb(0)) + abs(c) * self._spread(k)
        balls: dict[int, Any] = {}
        for (power, j), factor in exact.items():
            if factor != 0 and not self.coefficients[j].is_zero():
                balls[power] = balls.get(power, flint.arb(0)) + factor * self.coefficients[j]
        return Laurent(self.start, balls, error)

    def _spread(self, order: int) -> Any:
        """C with ``|r^(order)(x)| <= C x^(power - order - K)``.

        ``(x^m rho^(i)(1/x))' = m x^(m-1) rho^(i) - x^(m-2) rho^(i+1)``, and ``|rho^(i)(u)|`` is at
        most ``K!/(K-i)! u^(K-i)`` times the bound of rho^(K)/K!.
        """
        count = len(self.coefficients)
        parts = {(self.power, 0): 1}
        for _ in range(order):
            after: dict[tuple[int, int], int] = {}
            for (m, i), c in parts.items():
                for place, factor in (((m - 1, i), m), ((m - 2, i + 1), -1)):
                    after[place] = after.get(place, 0) + c * factor
            parts = after
        total = sum(abs(c) * math.perm(count, i) for (_, i), c in parts.items())
        return total * self.remainder.abs_upper()


@dataclass(frozen=True, eq=False)
class Laurent:
    """A sum of ``balls[m] x^m``, and of errors of modulus at most ``errors[m] x^m``, x >= start."""

    start: Any
    balls: dict[int, Any]
    errors: dict[int, Any]

    @property
    def sign(self) -> int | None:
        """The sign for all x >= start; None where it is not decided."""
        if not self.balls:
            return 0 if all(e.is_zero() for e in self.errors.values()) else None
        top = max(self.balls)
        rest = [(m, abs(c)) for m, c in self.balls.items() if m < top] + list(self.errors.items())
        if any(m >= top and not e.is_zero() for m, e in self.errors.items()):
            return None
        far = flint.arb(self.start)
        least = self.balls[top].abs_lower() - sum((c * far ** (m - top) for m, c in rest),
                                                  flint.arb(0))  # fmt: skip
        return None if not least > 0 else 1 if self.balls[top] > 0 else -1

    @property
    def limit(self) -> Any:
        """The limit at infinity; None where it is not known to exist."""
        if any(m > 0 for m in self.balls):
            return None
        if any(m >= 0 and not e.is_zero() for m, e in self.errors.items()):
            return None
        return self.balls.get(0, flint.arb(0))


def _falling(n: int, k: int) -> int:
    return math.prod(n - i for i in range(k))


def expansion_at_infinity(
    program: Program, start: Any, side: int, count: int
) -> Expansion | Unknown:
    """``f(side * x)`` for x >= start as a Laurent series with remainder, at flint's precision.

    Theorem Remainder of an integral.

    Args:
        program: the function f.
        start: a positive dyadic rational.
        side: 1 or -1.
        count: the number of coefficients.

    Returns:
        The expansion, or :class:`Unknown` where the program is not known to have one.

    Example:
        >>> from jaxbarron.programs import trace
        >>> found = expansion_at_infinity(trace(lambda z: z / (1 + z)), flint.fmpq(8), 1, 4)
        >>> found.power, [float(c.mid()) for c in found.coefficients]
        (0, [1.0, -1.0, 1.0, -1.0])
    """
    runs: list[tuple[int, list[Any]]] = []
    for ball in (flint.arb(0), flint.arb(1 / (2 * start), 1 / (2 * start))):
        found = _Line(ball, count + 1).run(program, side)
        if isinstance(found, Unknown):
            return found
        runs.append(found)
    (power, coefficients), (other, around) = runs
    if power != other or not all(c.is_finite() for c in (*coefficients, around[count])):
        return Unknown("an expansion at infinity")
    return Expansion(start, power, tuple(coefficients[:count]), around[count])


# ------------------------------------------------------------------------ one run


@dataclass(frozen=True, eq=False)
class _Scaled:
    """``x^power * series(u)``."""

    power: int
    series: Any


_Value = _Scaled | Unknown | bool | None


class _Line:
    """A run of a program over ``x^n A(u)``, u = base + h for every base in a ball."""

    def __init__(self, ball: Any, length: int) -> None:
        self.length = length
        self.state = Run(length, ball.is_exact())
        self.u = flint.arb_series([ball, 1], prec=length)

    def run(self, program: Program, side: int) -> tuple[int, list[Any]] | Unknown:
        registers: list[_Value] = [_Scaled(1, self.constant(flint.arb(side)))]
        constants: dict[float, _Value] = {}

        def read(operand: Any) -> _Value:
            if isinstance(operand, Register):
                return registers[operand.index]
            if isinstance(operand, bool):
                return operand
            if operand not in constants:  # one object a constant: rules look at identity
                constants[operand] = (
                    _Scaled(0, self.constant(flint.arb(operand)))
                    if math.isfinite(operand)
                    else Unknown(f"the constant {operand}")
                )
            return constants[operand]

        for op in program.operations:
            registers.append(self.apply(op.name, [read(x) for x in op.operands]))
        result = read(program.output)
        if not isinstance(result, _Scaled):
            return result if isinstance(result, Unknown) else Unknown("a comparison as the value")
        if not self.state.smooth or self.state.open_ends:
            return Unknown("a branch at infinity")
        return result.power, known_coefficients(result.series, self.length)

    def constant(self, value: Any) -> Any:
        return series_of(self.state, [value])

    def apply(self, name: str, operands: list[_Value]) -> _Value:
        if name == "select_n":
            return self.select(*operands)
        if name in _LOGIC:
            return BRANCHES[name](self.state, *operands)
        scaled: list[_Scaled] = []
        for operand in operands:
            if isinstance(operand, Unknown):
                return operand
            if not isinstance(operand, _Scaled):
                return None if name in _COMPARISONS else Unknown(name)
            scaled.append(operand)
        if name in _COMPARISONS or name in _ALIKE:
            power, pair = self.aligned(*scaled)
            found = BRANCHES[name](self.state, *pair)
            return found if name in _COMPARISONS else _Scaled(power, found)
        rule = _RULES.get(name)
        if rule is not None:
            return rule(self, *scaled)
        return self.analytic(name, *scaled)

    def select(self, predicate: _Value, no: _Value, yes: _Value) -> _Value:
        if isinstance(predicate, bool):
            return yes if predicate else no
        return no if no is yes else Unknown("select_n")

    def aligned(self, *values: _Scaled) -> tuple[int, list[Any]]:
        """The series of values written with one power; equal objects stay one object."""
        power = max(v.power for v in values)
        raised = {id(v): self.raised(v, power) for v in values}
        return power, [raised[id(v)] for v in values]

    def raised(self, value: _Scaled, power: int) -> Any:
        series = value.series
        for _ in range(power - value.power):
            series = series * self.u
        return series

    def add(self, a: _Scaled, b: _Scaled) -> _Value:
        power, (x, y) = self.aligned(a, b)
        return _Scaled(power, x + y)

    def multiply(self, a: _Scaled, b: _Scaled) -> _Value:
        series = FUNCTIONS["mul"](self.state, a.series, b.series)
        return _Scaled(a.power + b.power, series)

    def inverse(self, a: _Scaled) -> _Value:
        if a.series[0].contains(0):
            return Unknown("div")
        return _Scaled(-a.power, inverse(self.state, a.series))

    def divide(self, a: _Scaled, b: _Scaled) -> _Value:
        under = self.inverse(b)
        return self.multiply(a, under) if isinstance(under, _Scaled) else under

    def whole_power(self, a: _Scaled, exponent: int) -> _Value:
        if abs(exponent * a.power) > _LARGEST:
            return Unknown("integer_pow")
        if exponent < 0:
            under = self.inverse(a)
            return self.whole_power(under, -exponent) if isinstance(under, _Scaled) else under
        raised = FUNCTIONS["integer_pow"](self.state, a.series, self.constant(flint.arb(exponent)))
        return _Scaled(a.power * exponent, raised)

    def root(self, name: str, degree: int, a: _Scaled) -> _Value:
        if a.power % degree or a.series[0].contains(0):
            return Unknown(name)
        return _Scaled(a.power // degree, FUNCTIONS[name](self.state, a.series))

    def reciprocal_root(self, a: _Scaled) -> _Value:
        root = self.root("sqrt", 2, a)
        return self.inverse(root) if isinstance(root, _Scaled) else root

    def power(self, a: _Scaled, b: _Scaled) -> _Value:
        exponent = b.series[0]
        whole = exponent.unique_fmpz() if exponent.is_exact() else None
        if b.power == 0 and all(b.series[k].is_zero() for k in range(1, self.length)):
            if whole is not None:
                return self.whole_power(a, int(whole))
            twice = (2 * exponent).unique_fmpz() if exponent.is_exact() else None
            if twice is not None:
                root = self.root("sqrt", 2, a)
                return self.whole_power(root, int(twice)) if isinstance(root, _Scaled) else root
        return Unknown("pow")

    def arc_tangent(self, a: _Scaled) -> _Value:
        """``atan(v) = +-pi/2 - atan(1/v)`` for v that grows."""
        if a.power <= 0:
            return self.analytic("atan", a)
        under = self.inverse(a)
        if not isinstance(under, _Scaled):
            return under
        small = FUNCTIONS["atan"](self.state, self.raised(under, 0))
        half = flint.arb.pi() / 2
        return _Scaled(0, (half if a.series[0] > 0 else -half) - small)

    def modulus(self, a: _Scaled) -> _Value:
        return _Scaled(a.power, BRANCHES["abs"](self.state, a.series))

    def signum(self, a: _Scaled) -> _Value:
        return _Scaled(0, BRANCHES["sign"](self.state, a.series))

    def analytic(self, name: str, *operands: _Scaled) -> _Value:
        """A function that is analytic at the finite limits of its arguments."""
        if name not in FUNCTIONS or any(a.power > 0 for a in operands):
            return Unknown(name)
        return _Scaled(0, FUNCTIONS[name](self.state, *[self.raised(a, 0) for a in operands]))


_COMPARISONS = frozenset({"gt", "ge", "lt", "le", "eq", "ne"})
_LOGIC = frozenset({"and", "or", "xor", "not"})
_ALIKE = frozenset({"max", "min", "clamp"})
_RULES: dict[str, Callable[..., _Value]] = {
    "add": _Line.add,
    "sub": lambda line, a, b: line.add(a, _Scaled(b.power, -b.series)),
    "mul": _Line.multiply,
    "neg": lambda line, a: _Scaled(a.power, -a.series),
    "div": _Line.divide,
    "square": lambda line, a: line.multiply(a, a),
    "integer_pow": lambda line, a, b: line.whole_power(a, int(b.series[0].unique_fmpz())),
    "pow": _Line.power,
    "sqrt": lambda line, a: line.root("sqrt", 2, a),
    "rsqrt": _Line.reciprocal_root,
    "cbrt": lambda line, a: line.root("cbrt", 3, a),
    "abs": _Line.modulus,
    "sign": _Line.signum,
    "atan": _Line.arc_tangent,
    "is_finite": lambda line, a: True,
}
