"""Constants with a closed form (THEORY.md, Theorem Closed constants)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flint

from jaxbarron.balls.series import working_precision
from jaxbarron.bounds.sharp.proof import SharpConstant
from jaxbarron.bounds.sharp.waves import is_wave

__all__ = ["CLOSED_FORMS", "closed_form"]


def _root(x: int) -> Any:
    return flint.arb(x).sqrt()


def _exp(x: float) -> Any:
    return flint.arb(x).exp()


# (activation, s, reach at which the supremum is attained) -> text, number
CLOSED_FORMS: dict[tuple[str, int, float], tuple[str, Callable[[], Any]]] = {
    ("tanh", 1, math.inf): ("2", lambda: flint.arb(2)),
    ("tanh", 2, math.inf): ("8/(3 sqrt 3)", lambda: 8 / (3 * _root(3))),
    ("tanh", 3, math.inf): ("10/9", lambda: flint.arb(10) / 9),
    ("log_cosh", 1, math.inf): ("2", lambda: flint.arb(2)),
    ("log_cosh", 3, math.inf): ("8/(9 sqrt 3)", lambda: 8 / (9 * _root(3))),
    ("erf", 1, math.inf): ("4/sqrt(pi)", lambda: 4 / flint.arb.pi().sqrt()),
    ("erf", 2, math.inf): (
        "4 sqrt(2/(pi e))",
        lambda: 4 * (2 / (flint.arb.pi() * _exp(1))).sqrt(),
    ),
    ("erf", 3, math.inf): (
        "(4 + 16 exp(-3/2))/(3 sqrt(pi))",
        lambda: (4 + 16 * _exp(-1.5)) / (3 * flint.arb.pi().sqrt()),
    ),
    ("gaussian", 1, math.inf): ("4 sqrt(2/e)", lambda: 4 * (2 / _exp(1)).sqrt()),
    ("gaussian", 2, math.inf): ("2 + 8 exp(-3/2)", lambda: 2 + 8 * _exp(-1.5)),
    ("arctan", 2, math.inf): ("3 sqrt(3)/4", lambda: 3 * _root(3) / 4),
    ("arctan", 3, math.inf): ("1", lambda: flint.arb(1)),
    ("softsign", 1, math.inf): ("2", lambda: flint.arb(2)),
    ("softsign", 2, math.inf): ("4", lambda: flint.arb(4)),
    ("elu", 2, math.inf): ("1", lambda: flint.arb(1)),
    ("celu", 2, math.inf): ("1", lambda: flint.arb(1)),
    **{("softplus", s, 0.0): ("log 2", lambda: flint.arb(2).log()) for s in (2, 3, 4)},
    **{("sigmoid", s, 0.0): ("1/2", lambda: flint.arb(1) / 2) for s in (2, 3, 4)},
    **{("squareplus", s, 0.0): ("1", lambda: flint.arb(1)) for s in (2, 3, 4)},
}


# sin and cos at order s + 1 (Theorem Waves)
_WAVES: dict[int, tuple[str, Callable[[], Any]]] = {
    1: ("6/pi", lambda: 6 / flint.arb.pi()),
    2: ("14/(3 pi)", lambda: 14 / (3 * flint.arb.pi())),
    3: ("5/(2 pi)", lambda: 5 / (2 * flint.arb.pi())),
    4: ("31/(30 pi)", lambda: 31 / (30 * flint.arb.pi())),
}


def closed_form(found: SharpConstant) -> str:
    """The closed form of a constant's lower bound, "" where none is known.

    At the natural order, and at order s + 1 for sin and cos (Theorem Waves).

    C is at least this number: A_s, or ``|sigma(0)|``.  That the number lies in the interval, and
    that the lower bound is found where the closed form is, are checked here; so the constant is at
    most ``found.upper``, less than 1e-9 times the number above it.

    Example:
        >>> from jaxbarron.activations import activation
        >>> from jaxbarron.bounds.sharp.search import sharp_constant
        >>> closed_form(sharp_constant(activation("tanh"), 2))
        '8/(3 sqrt 3)'
    """
    known = CLOSED_FORMS.get((found.source.name, found.s, found.reach))
    if found.order == found.s + 1 and math.isinf(found.reach) and is_wave(found.source):
        known = _WAVES.get(found.s)
    elif found.order != found.s:
        known = None
    if known is None:
        return ""
    text, number = known
    with working_precision(128):
        value = number()
        holds = flint.arb(found.lower) <= value <= flint.arb(found.upper)
    # what else could be larger is less than the gap: C is this number, up to that
    return text if holds and found.gap < 1e-9 else ""
