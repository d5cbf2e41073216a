"""The lines to which an activation tends, as balls."""

from __future__ import annotations

import functools
from typing import Any, Literal

import flint

from jaxbarron.activations import Activation
from jaxbarron.balls.envelopes import HalfLine, Unknown
from jaxbarron.balls.series import working_precision
from jaxbarron.balls.tails import linear_argument, tail_jet
from jaxbarron.programs import Program

__all__ = ["tail_line"]

_BITS = 192
_EXPONENTS = range(3, 12)  # the half line starts at 2**3 to 2**11


def tail_line(sigma: Activation, side: Literal[-1, 1]) -> tuple[Any, Any] | None:
    """Balls of q and m with ``sigma(z) - m z - q -> 0`` as z -> side * infinity; else None.

    From the tail calculus, not from what the activation states (THEORY.md, Theorem Tail calculus).

    Example:
        >>> from jaxbarron.activations import activation
        >>> intercept, slope = tail_line(activation("tanh"), -1)
        >>> intercept == -1, slope == 0
        (True, True)
    """
    beyond = max([1.0, *(abs(kink.location) for kink in sigma.kinks)])
    return _line(sigma.program, side, beyond)


@functools.lru_cache(maxsize=512)
def _line(program: Program, side: int, beyond: float) -> tuple[Any, Any] | None:
    with working_precision(_BITS, 8):
        for exponent in _EXPONENTS:
            if 2.0**exponent <= beyond:
                continue
            half = HalfLine(flint.fmpq(2**exponent))
            jet = tail_jet(program, half, linear_argument(half, side, 1, 0, 0))
            if isinstance(jet, Unknown):
                continue
            tail = jet[0]
            vanishing = tail.envelope.vanishes or tail.envelope.rate > 0 or tail.envelope.power < 0
            if tail.degree <= 1 and vanishing:
                return flint.arb(tail.coefficient(0)), flint.arb(tail.coefficient(1) * side)
        return None
