"""A scalar program over truncated power series with ball coefficients (Arb).

One run gives, for a ball X, enclosures of ``f^(k)(x) / k!`` for *all* x in X at once
(THEORY.md, Theorem Ball series).  Each primitive has a sharp rule: wide balls are mapped through
their ends where the function is monotone, and nothing cancels far out, where activations
meet their asymptotes.

Where a program branches, a decided branch is followed; an undecided one gives the hull of
both.  Such a hull holds the value at every point and the derivatives wherever they exist, but no
Taylor formula holds across the kink: the result says so in ``smooth``.
"""

from __future__ import annotations

import functools
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import flint

from jaxbarron.balls.branches import BRANCHES
from jaxbarron.balls.functions import FUNCTIONS
from jaxbarron.balls.run import NAN, Run
from jaxbarron.programs import Program, Register

__all__ = [
    "LocalSeries",
    "known_coefficients",
    "local_series",
    "primitive_series",
    "taylor_coefficients",
    "working_precision",
]

# A constant is exact to every order; products take the shorter length of their factors.
_ANY_LENGTH = 1 << 20
_RULES = {**FUNCTIONS, **BRANCHES}


@contextmanager
def working_precision(bits: int, length: int = 1) -> Generator[None, None, None]:
    """Flint's precision in bits and its cap on the length of series, put back at the end."""
    cap = flint.ctx.cap
    with flint.ctx.workprec(bits):
        flint.ctx.cap = max(cap, length)
        try:
            yield
        finally:
            flint.ctx.cap = cap


@dataclass(frozen=True, eq=False)
class LocalSeries:
    """What one run says of a function f on a ball X.

    Attributes:
        coefficients: ``coefficients[k]`` holds ``f^(k)(x) / k!`` for every x in X at which f is
            differentiable k times with the branches taken there; ``coefficients[0]`` holds f(x).
        smooth: f is analytic on X (one-sidedly at its ends), so that Taylor's formula holds on X.
        open_ends: the statement is about the interior of X only: a comparison is decided there
            and not at an end of X.
    """

    coefficients: list[Any]
    smooth: bool
    open_ends: bool


def taylor_coefficients(program: Program, ball: Any, length: int, bits: int = 128) -> list[Any]:
    """Enclosures of ``f^(k)(x) / k!``, k < length, for all x in a ball (Theorem Ball series).

    Args:
        program: the function f.
        ball: an ``arb``, or anything that ``arb`` takes.
        length: how many coefficients, at least 1.
        bits: the working precision.

    Returns:
        ``length`` arbs.  Where f has a kink or a jump inside the ball, or leaves its domain, the
        coefficients beyond what can be said are not finite (the value survives a kink).

    Example:
        >>> from jaxbarron.programs import trace
        >>> [float(c.mid()) for c in taylor_coefficients(trace(lambda z: z * z), 3.0, 3)]
        [9.0, 6.0, 1.0]
    """
    with working_precision(bits, length + 1):
        # One more coefficient than asked for: monotone branches are decided by the second.
        ball = flint.arb(ball)
        found = local_series(program, flint.arb_series([ball, 1], prec=max(length, 2)), ball)
        coefficients = found.coefficients[:length]
        if found.open_ends:
            return [NAN] * length
        return coefficients if found.smooth else [coefficients[0], *[NAN] * (length - 1)]


def local_series(program: Program, argument: Any, ball: Any) -> LocalSeries:
    """The program at a series ``argument`` in h, valid for every base point in ``ball``.

    ``argument`` has constant term alpha * ball + beta and slope alpha; ``ball`` says whether the
    statement is about one point (radius zero) or an interval.  Runs at flint's present precision
    (:func:`working_precision`); the number of coefficients is that of ``argument``.  Theorem ball
    series.
    """
    run = Run(argument.prec, ball.is_exact())
    instructions, constants, slots, output = _compiled(program)
    registers: list[Any] = [argument, *constants, *([None] * slots)]
    position = 1 + len(constants)
    for rule, where in instructions:
        registers[position] = rule(run, *[registers[i] for i in where])
        position += 1
    result = registers[output]
    return LocalSeries(known_coefficients(result, run.length), run.smooth, run.open_ends)


def known_coefficients(series: Any, length: int) -> list[Any]:
    """The first coefficients; NaN past flint's cap, where flint reads 0."""
    known = min(length, flint.ctx.cap)
    return [series[k] for k in range(known)] + [NAN] * (length - known)


def primitive_series(name: str, ball: Any, length: int) -> LocalSeries:
    """A unary primitive at every point of a ball: its value and Taylor coefficients."""
    run = Run(length, ball.is_exact())
    result = _RULES[name](run, flint.arb_series([ball, 1], prec=length))
    return LocalSeries(known_coefficients(result, length), run.smooth, run.open_ends)


@functools.lru_cache(maxsize=512)
def _compiled(program: Program) -> tuple[list[tuple[Any, tuple[int, ...]]], list[Any], int, int]:
    """Instructions over one flat register file: variable, constants, results."""
    constants: list[Any] = []
    keys: dict[tuple[type, Any], int] = {}
    operands = [x for op in program.operations for x in op.operands] + [program.output]
    for operand in operands:
        if not isinstance(operand, Register) and (type(operand), operand) not in keys:
            keys[type(operand), operand] = 1 + len(constants)
            constants.append(
                operand
                if isinstance(operand, bool)
                else flint.arb_series([flint.arb(operand)], prec=_ANY_LENGTH)
            )
    base = len(constants)

    def slot(operand: Any) -> int:
        if isinstance(operand, Register):
            return 0 if operand.index == 0 else base + operand.index
        return keys[type(operand), operand]

    instructions = [(_RULES[op.name], tuple(map(slot, op.operands))) for op in program.operations]
    return instructions, constants, len(instructions), slot(program.output)
