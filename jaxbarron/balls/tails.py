"""A scalar program on a half line: the line to which it tends, and how fast.

Every register becomes a jet ``[f, f', f''/2, ...]`` of tail polynomials
(:mod:`jaxbarron.balls.envelopes`), so that asymptotes of derivatives are those of the true
derivatives and not of some rounded formula.  Rules that do not apply give :class:`Unknown` with
the primitive's name: never a wrong line (THEORY.md, Theorem Tail calculus).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import flint

from jaxbarron.balls.envelopes import HalfLine, Unknown
from jaxbarron.balls.growth import GrowingCalculus, GrowingHalfLine
from jaxbarron.balls.jets import Calculus, Jet, Value
from jaxbarron.balls.series import working_precision
from jaxbarron.programs import Program, Register

__all__ = ["Line", "Unknown", "asymptote", "linear_argument", "tail_jet"]

_BITS = 192


@dataclass(frozen=True, eq=False)
class Line:
    """``|f(z) - slope * z - intercept| <= bound`` on the whole half line (arbs)."""

    slope: Any
    intercept: Any
    bound: Any


def asymptote(
    program: Program,
    side: Literal["left", "right"],
    start: float,
    derivative: int = 0,
) -> Line | Unknown:
    """The line of ``f^(derivative)`` on ``z >= start`` or ``z <= -start`` (Theorem Tail calculus).

    Args:
        program: the function f.
        side: ``"right"`` for z -> +infinity, ``"left"`` for z -> -infinity.
        start: a positive number beyond all kinks.  A larger one gives a smaller bound, and can
            succeed where a smaller one does not.
        derivative: the order of the derivative.

    Returns:
        The line, its slope and intercept of radius zero where they are known exactly; or
        :class:`Unknown` where no line could be proved, with the primitive that stood in the way.

    Example:
        >>> import jax
        >>> from jaxbarron.programs import trace
        >>> line = asymptote(trace(jax.nn.silu), "right", 40.0)
        >>> line.slope == 1, line.intercept == 0, line.bound < 1e-15
        (True, True, True)
    """
    with working_precision(_BITS, derivative + 8):
        half = HalfLine(flint.fmpq(*float(start).as_integer_ratio()))
        sign = 1 if side == "right" else -1
        found = tail_jet(program, half, linear_argument(half, sign, 1, 0, derivative))
        if isinstance(found, Unknown):
            return found
        factorial = flint.fmpz(1)
        for k in range(2, derivative + 1):
            factorial *= k
        tail = half.multiply(half.constant(flint.fmpq(factorial)), found[derivative])
        bound = half.bound(tail.envelope)
        if tail.degree > 1 or not bound.is_finite():
            return Unknown("growth beyond a line")
        return Line(flint.arb(tail.coefficient(1) * sign), flint.arb(tail.coefficient(0)), bound)


def linear_argument(half: HalfLine, side: int, scale: Any, shift: Any, order: int) -> Jet:
    """The jet of ``scale * z + shift`` in z, where z = side * x and x runs over the half line."""
    scale, shift = flint.fmpq(scale), flint.fmpq(shift)
    jet = [half.polynomial([shift, scale * side]), half.constant(scale)]
    return (jet + [half.constant(flint.fmpq(0))] * order)[: order + 1]


def tail_jet(program: Program, half: HalfLine, argument: Jet) -> Jet | Unknown:
    """``f^(k) / k!`` of the program at a jet, for as many k as the jet has (Theorem Tail calculus).

    Where the plain calculus fails, that with exponentials is asked (Theorem Growing exponentials).
    Runs at flint's present precision.
    """
    found = _run(program, Calculus(half, len(argument)), argument)
    if not isinstance(found, Unknown):
        return found
    growing = GrowingHalfLine(half.start)
    again = _run(program, GrowingCalculus(growing, len(argument)), argument)
    if isinstance(again, Unknown):
        return found
    ordinary = [t for t in map(growing.ordinary, again) if t is not None]
    return ordinary if len(ordinary) == len(again) else found


def _run(program: Program, calculus: Calculus, argument: Jet) -> Jet | Unknown:
    registers: list[Value] = [argument]
    constants: dict[float, Value] = {}

    def read(operand: Any) -> Value:
        if isinstance(operand, Register):
            return registers[operand.index]
        if isinstance(operand, bool):
            return operand
        if operand not in constants:  # one object a constant: comparisons look at identity
            constants[operand] = calculus.lift(operand)
        return constants[operand]

    for op in program.operations:
        registers.append(calculus.apply(op.name, [read(x) for x in op.operands]))
    result = read(program.output)
    return result if isinstance(result, list | Unknown) else Unknown("a comparison as the value")
