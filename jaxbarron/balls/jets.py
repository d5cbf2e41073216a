"""The primitives on jets ``[f, f', f''/2, ...]`` of tail polynomials (Theorem Tail calculus)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flint

from jaxbarron.balls.envelopes import HalfLine, TailPolynomial, Unknown
from jaxbarron.balls.expansions import AT_INFINITY
from jaxbarron.balls.series import primitive_series

__all__ = ["Calculus", "Jet", "Value"]

Jet = list[TailPolynomial]
Value = Jet | Unknown | bool | None


class Calculus:
    """The primitives on jets of a given length."""

    def __init__(self, half: HalfLine, length: int) -> None:
        self.half = half
        self.length = length
        self.zero = half.constant(flint.fmpq(0))

    def lift(self, value: float) -> Value:
        """A constant function."""
        if value - value != 0:
            return Unknown(f"the constant {value}")
        exact = self.half.constant(flint.fmpq(*value.as_integer_ratio()))
        return [exact] + [self.zero] * (self.length - 1)

    def apply(self, name: str, operands: list[Value]) -> Value:
        """One primitive; what has no rule here is Unknown, with its name."""
        if name == "select_n":
            return self.select(*operands)
        if name in _LOGIC:
            return _LOGIC[name](*operands)
        if name in _COMPARISONS:
            return self.compare(name, *operands)
        if name == "is_finite":
            return True if isinstance(operands[0], list) else None
        jets: list[Jet] = []
        for operand in operands:
            if isinstance(operand, Unknown):
                return operand
            if not isinstance(operand, list):
                return Unknown(name)
            jets.append(operand)
        if name == "mul" and any(self.vanishes(x) for x in jets):
            return [self.zero] * self.length
        rule = _RULES.get(name)
        return rule(self, *jets) if rule else self.unary(name, jets[0])

    # ------------------------------------------------------------- the ring

    def vanishes(self, u: Jet) -> bool:
        """Whether the jet is known to be identically zero."""
        return all(t.is_zero for t in u)

    def add(self, a: Jet, b: Jet) -> Jet:
        """The sum."""
        return [self.half.add(x, y) for x, y in zip(a, b, strict=True)]

    def negate(self, a: Jet) -> Jet:
        """The negative."""
        return [self.half.negate(x) for x in a]

    def subtract(self, a: Jet, b: Jet) -> Jet:
        """The difference."""
        return self.add(a, self.negate(b))

    def multiply(self, a: Jet, b: Jet) -> Jet:
        """The product, by Leibniz' rule."""
        return [self._convolution(a, b, k, 0, k) for k in range(len(a))]

    def scale(self, factor: Any, a: Jet) -> Jet:
        """A constant multiple."""
        return [self.half.multiply(self.half.constant(factor), x) for x in a]

    def _convolution(self, a: Jet, b: Jet, k: int, first: int, last: int) -> TailPolynomial:
        total = self.zero
        for i in range(first, last + 1):
            total = self.half.add(total, self.half.multiply(a[i], b[k - i]))
        return total

    def divide(self, a: Jet, b: Jet) -> Value:
        """Quotient q from b q = a: ``q_k = (a_k - sum_(i>=1) b_i q_(k-i)) / b_0``."""
        quotient: Jet = []
        for k in range(len(a)):
            known = self.zero
            for i in range(1, k + 1):
                known = self.half.add(known, self.half.multiply(b[i], quotient[k - i]))
            found = self.half.divide(self.half.subtract(a[k], known), b[0])
            if isinstance(found, Unknown):
                return found
            quotient.append(found)
        return quotient

    def square_root(self, u: Jet) -> Value:
        """Root y from y y = u: ``y_k = (u_k - sum_(0<i<k) y_i y_(k-i)) / (2 y_0)``."""
        first = self.base("sqrt", u[0])
        if isinstance(first, Unknown):
            return first
        root, double = [first], self.half.add(first, first)
        for k in range(1, len(u)):
            known = self._convolution(root, root, k, 1, k - 1)
            found = self.half.divide(self.half.subtract(u[k], known), double)
            if isinstance(found, Unknown):
                return found
            root.append(found)
        return root

    def power(self, u: Jet, exponent: int) -> Value:
        """A whole power."""
        one = [self.half.constant(flint.fmpq(1))] + [self.zero] * (len(u) - 1)
        result = one
        for _ in range(abs(exponent)):
            result = self.multiply(result, u)
        return result if exponent >= 0 else self.divide(one, result)

    # ---------------------------------------------------- smooth functions

    def unary(self, name: str, u: Jet) -> Value:
        """F(u) from its limit or expansion at order 0, and F' = G (a jet of lower order)."""
        first = self.base(name, u[0])
        if isinstance(first, Unknown) or len(u) == 1:
            return first if isinstance(first, Unknown) else [first]
        lower = self.unary(name, u[:-1])
        if not isinstance(lower, list):
            return lower
        derivative = _DERIVATIVES[name](self, lower, u[:-1])
        if not isinstance(derivative, list):
            return derivative if isinstance(derivative, Unknown) else Unknown(name)
        order = len(u) - 1
        total = self.zero
        for i in range(1, order + 1):
            weighted = self.half.multiply(self.half.constant(flint.fmpq(i, order)), u[i])
            total = self.half.add(total, self.half.multiply(weighted, derivative[order - i]))
        return [*lower, total]

    def base(self, name: str, u: TailPolynomial) -> TailPolynomial | Unknown:
        """F(u) at order 0: near a constant by the mean value theorem, else by its own expansion."""
        if u.degree == 0:
            return self.near_constant(name, u)
        sign = self.half.sign(u)
        if sign is None or name not in AT_INFINITY:
            return Unknown(name)
        return AT_INFINITY[name](self.half, u, sign)

    def near_constant(self, name: str, u: TailPolynomial) -> TailPolynomial | Unknown:
        """F(c + rho) = F(c) + at most sup |F'| |rho|, the supremum over c +- sup |rho|."""
        centre = flint.arb(u.coefficient(0))
        value = primitive_series(name, centre, 1).coefficients[0]
        spread = self.half.bound(u.envelope)
        if not value.is_finite() or not spread.is_finite():
            return Unknown(name)
        exact = value.fmpq() if value.is_exact() else value
        if u.envelope.vanishes:
            return self.half.constant(exact)
        around = primitive_series(name, centre + flint.arb(0, spread.upper()), 2)
        slope = around.coefficients[1]
        if not around.smooth or around.open_ends or not slope.is_finite():
            return Unknown(name)
        steepness = self.half.constant(flint.arb(0, slope.abs_upper()))
        # |F(c + rho) - F(c)| <= sup |F'| |rho|: multiply rho's envelope by a ball around zero.
        shift = self.half.multiply(steepness, self.half.polynomial([], u.envelope))
        return self.half.polynomial([exact], shift.envelope)

    def log_add_exp(self, a: Jet, b: Jet) -> Value:
        """a + log1p(exp(b - a)) for the larger a."""
        difference = self.subtract(a, b)
        if self.half.sign(difference[0]) == -1:
            a, b, difference = b, a, self.negate(difference)
        small = self.unary("exp", self.negate(difference))
        if not isinstance(small, list):
            return Unknown("logaddexp")
        rest = self.unary("log1p", small)
        return self.add(a, rest) if isinstance(rest, list) else Unknown("logaddexp")

    def general_power(self, u: Jet, exponent: Jet) -> Value:
        """Whole and half exponents exactly, others through the logarithm."""
        constant = exponent[0].exact_value
        if constant is not None and constant.q == 1 and abs(constant.p) <= 64:
            return self.power(u, int(constant.p))
        if constant is not None and constant == flint.fmpq(1, 2):
            return self.square_root(u)
        logarithm = self.unary("log", u)
        if not isinstance(logarithm, list):
            return Unknown("pow")
        return self.unary("exp", self.multiply(exponent, logarithm))

    # ------------------------------------------------------------ branches

    def select(self, predicate: Value, no: Value, yes: Value) -> Value:
        """The branch that is taken on the whole half line."""
        if isinstance(predicate, bool):
            return yes if predicate else no
        if no is yes:
            return no
        return None if isinstance(no, bool | None) else Unknown("select_n")

    def compare(self, name: str, a: Value, b: Value) -> bool | None:
        """A comparison that holds, or fails, on the whole half line; else None."""
        if a is b:
            sign = 0
        elif isinstance(a, bool) and isinstance(b, bool):
            sign = int(a) - int(b)
        elif isinstance(a, list) and isinstance(b, list):
            sign = self.half.sign(self.half.subtract(a[0], b[0]))
        else:
            sign = None
        return None if sign is None else sign in _COMPARISONS[name]

    def larger(self, a: Jet, b: Jet) -> Value:
        """The maximum, where one of the two is larger throughout."""
        sign = self.half.sign(self.half.subtract(a[0], b[0]))
        return Unknown("max") if sign is None else a if sign >= 0 else b

    def smaller(self, a: Jet, b: Jet) -> Value:
        """The minimum, likewise."""
        sign = self.half.sign(self.half.subtract(a[0], b[0]))
        return Unknown("min") if sign is None else a if sign <= 0 else b

    def modulus(self, u: Jet) -> Value:
        """The absolute value, where the sign is known."""
        sign = self.half.sign(u[0])
        return Unknown("abs") if sign is None else u if sign >= 0 else self.negate(u)

    def signum(self, u: Jet) -> Value:
        """The sign, where it is known."""
        sign = self.half.sign(u[0])
        return Unknown("sign") if sign is None else self.lift(float(sign))

    def clamp(self, low: Jet, u: Jet, high: Jet) -> Value:
        """min(max(u, low), high)."""
        raised = self.larger(low, u)
        return self.smaller(raised, high) if isinstance(raised, list) else Unknown("clamp")


def _one(calculus: Calculus, like: Jet) -> Jet:
    one = calculus.half.constant(flint.fmpq(1))
    return [one] + [calculus.zero] * (len(like) - 1)


def _over_root(calculus: Calculus, sign: int, shift: int, scale: int, u: Jet) -> Value:
    """``sign / sqrt(shift + scale * u**2)``."""
    squared = calculus.scale(flint.fmpq(scale), calculus.multiply(u, u))
    inner = calculus.add(calculus.scale(flint.fmpq(shift), _one(calculus, u)), squared)
    root = calculus.square_root(inner)
    if not isinstance(root, list):
        return root
    return calculus.divide(calculus.scale(flint.fmpq(sign), _one(calculus, u)), root)


def _density(calculus: Calculus, factor: int, u: Jet) -> Value:
    """``factor / sqrt(pi) * exp(-u**2)``."""
    exponential = calculus.unary("exp", calculus.negate(calculus.multiply(u, u)))
    if not isinstance(exponential, list):
        return exponential
    return calculus.scale(factor / flint.arb.pi().sqrt(), exponential)


def _inverse_of(calculus: Calculus, sign: int, scale: int, u: Jet) -> Value:
    """``1 / (1 + sign * ...)``: 1 / (1 + u) for scale 1, 1 / (1 + sign * u**2) for scale 2."""
    inner = u if scale == 1 else calculus.multiply(u, u)
    one = _one(calculus, u)
    return calculus.divide(one, calculus.add(one, calculus.scale(flint.fmpq(sign), inner)))


# F' as a jet, from the jets y = F(u) and u.
_DERIVATIVES: dict[str, Callable[[Calculus, Jet, Jet], Value]] = {
    "exp": lambda c, y, u: y,
    "exp2": lambda c, y, u: c.scale(flint.arb(2).log(), y),
    "expm1": lambda c, y, u: c.add(y, _one(c, y)),
    "log": lambda c, y, u: c.divide(_one(c, u), u),
    "log1p": lambda c, y, u: _inverse_of(c, 1, 1, u),
    "logistic": lambda c, y, u: c.multiply(y, c.subtract(_one(c, y), y)),
    "tanh": lambda c, y, u: c.subtract(_one(c, y), c.multiply(y, y)),
    "sinh": lambda c, y, u: c.unary("cosh", u),
    "cosh": lambda c, y, u: c.unary("sinh", u),
    "sin": lambda c, y, u: c.unary("cos", u),
    "cos": lambda c, y, u: c.apply("neg", [c.unary("sin", u)]),
    "tan": lambda c, y, u: c.add(_one(c, y), c.multiply(y, y)),
    "erf": lambda c, y, u: _density(c, 2, u),
    "erfc": lambda c, y, u: _density(c, -2, u),
    "atan": lambda c, y, u: _inverse_of(c, 1, 2, u),
    "atanh": lambda c, y, u: _inverse_of(c, -1, 2, u),
    "asin": lambda c, y, u: _over_root(c, 1, 1, -1, u),
    "acos": lambda c, y, u: _over_root(c, -1, 1, -1, u),
    "asinh": lambda c, y, u: _over_root(c, 1, 1, 1, u),
    "acosh": lambda c, y, u: _over_root(c, 1, -1, 1, u),
    "cbrt": lambda c, y, u: c.divide(y, c.scale(flint.fmpq(3), u)),
}


def _reciprocal_root(calculus: Calculus, u: Jet) -> Value:
    root = calculus.square_root(u)
    return calculus.divide(_one(calculus, u), root) if isinstance(root, list) else root


def _whole_power(calculus: Calculus, u: Jet, exponent: Jet) -> Value:
    return calculus.power(u, int(exponent[0].exact_value.p))


_RULES: dict[str, Callable[..., Value]] = {
    "add": Calculus.add,
    "sub": Calculus.subtract,
    "mul": Calculus.multiply,
    "neg": Calculus.negate,
    "div": Calculus.divide,
    "square": lambda c, u: c.multiply(u, u),
    "integer_pow": _whole_power,
    "pow": Calculus.general_power,
    "sqrt": Calculus.square_root,
    "rsqrt": _reciprocal_root,
    "logaddexp": Calculus.log_add_exp,
    "max": Calculus.larger,
    "min": Calculus.smaller,
    "abs": Calculus.modulus,
    "sign": Calculus.signum,
    "clamp": Calculus.clamp,
}

_COMPARISONS: dict[str, Sequence[int]] = {
    "gt": (1,),
    "ge": (0, 1),
    "lt": (-1,),
    "le": (-1, 0),
    "eq": (0,),
    "ne": (-1, 1),
}


def _conjunction(a: Value, b: Value) -> bool | None:
    if a is False or b is False:
        return False
    return True if a is True and b is True else None


def _negation(a: Value) -> bool | None:
    return not a if isinstance(a, bool) else None


_LOGIC: dict[str, Callable[..., bool | None]] = {
    "and": _conjunction,
    "or": lambda a, b: _negation(_conjunction(_negation(a), _negation(b))),
    "xor": lambda a, b: a != b if isinstance(a, bool) and isinstance(b, bool) else None,
    "not": _negation,
}
