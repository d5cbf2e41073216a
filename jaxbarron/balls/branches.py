"""Comparisons, selections and everything else that branches, over ball series.

A rule follows a branch that is decided on the whole ball; otherwise it gives the hull of both and
notes that no Taylor formula holds (THEORY.md, Theorem Ball series).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flint

from jaxbarron.balls.run import Run, hull, is_constant, series_of, with_constant

__all__ = ["BRANCHES"]


def _sign_of_difference(run: Run, a: Any, b: Any) -> tuple[int | None, bool]:
    """The sign of a - b on the ball (None: undecided), and whether an end may give equality.

    Touching: a - b >= 0 on the ball and (a - b)' != 0 on it leave equality at one end at most.
    """
    if a is b:
        return 0, False
    difference = a - b
    value = difference[0]
    if value > 0:
        return 1, False
    if value < 0:
        return -1, False
    if value.is_zero():
        if not is_constant(difference):
            # Equal at this point (a ball of positive radius has no exact value otherwise), with a
            # branch that changes beside it: the value is decided, the derivatives are not.
            run.smooth = False
        return 0, False
    if not run.point and run.smooth and difference[1] != 0:
        if value >= 0:
            return 1, True
        if value <= 0:
            return -1, True
    return None, False


def _comparison(if_positive: bool, if_zero: bool, if_negative: bool) -> Callable[..., Any]:
    verdicts = {1: if_positive, 0: if_zero, -1: if_negative}

    def rule(run: Run, a: Any, b: Any) -> bool | None:
        if isinstance(a, bool | None) or isinstance(b, bool | None):
            return None if a is None or b is None else verdicts[int(a) - int(b)]
        sign, touching = _sign_of_difference(run, a, b)
        if sign is None:
            return None
        verdict = verdicts[sign]
        if touching and verdict != if_zero:
            run.open_ends = True
        return verdict

    return rule


def _maximum(run: Run, a: Any, b: Any) -> Any:
    if a is b:
        return a
    difference = (a - b)[0]
    if difference > 0 or (not run.point and difference >= 0):
        return a
    if difference < 0 or (not run.point and difference <= 0):
        return b
    if difference.is_zero() and is_constant(a - b):
        return a
    return with_constant(run, hull(run, a, b), a[0].max(b[0]))


def _minimum(run: Run, a: Any, b: Any) -> Any:
    return -_maximum(run, -a, -b) if a is not b else a


def _absolute(run: Run, u: Any) -> Any:
    value = u[0]
    if value > 0 or (not run.point and value >= 0):
        return u
    if value < 0 or (not run.point and value <= 0):
        return -u
    if value.is_zero() and is_constant(u):
        return u
    return with_constant(run, hull(run, u, -u), flint.arb(0).union(value.abs_upper()))


def _signum(run: Run, u: Any) -> Any:
    sign, touching = _sign_of_difference(run, u, series_of(run, [flint.arb(0)]))
    if sign is None:
        run.smooth = False
        return series_of(run, [flint.arb(0, 1)])
    run.open_ends = run.open_ends or touching
    return series_of(run, [flint.arb(sign)])


def _select(run: Run, predicate: bool | None, no: Any, yes: Any) -> Any:
    if predicate is not None:
        return yes if predicate else no
    if no is yes:
        return no
    if isinstance(no, bool | None):
        return no if no is not None and no == yes else None
    return hull(run, no, yes)


def _and(run: Run, a: bool | None, b: bool | None) -> bool | None:
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def _not(run: Run, a: bool | None) -> bool | None:
    return None if a is None else not a


def _or(run: Run, a: bool | None, b: bool | None) -> bool | None:
    return _not(run, _and(run, _not(run, a), _not(run, b)))


def _xor(run: Run, a: bool | None, b: bool | None) -> bool | None:
    return None if a is None or b is None else a != b


def _clamp(run: Run, low: Any, u: Any, high: Any) -> Any:
    return _minimum(run, _maximum(run, low, u), high)


BRANCHES: dict[str, Callable[..., Any]] = {
    "max": _maximum,
    "min": _minimum,
    "abs": _absolute,
    "sign": _signum,
    "clamp": _clamp,
    "select_n": _select,
    "gt": _comparison(True, False, False),
    "ge": _comparison(True, True, False),
    "lt": _comparison(False, False, True),
    "le": _comparison(False, True, True),
    "eq": _comparison(False, True, False),
    "ne": _comparison(True, False, True),
    "and": _and,
    "or": _or,
    "xor": _xor,
    "not": _not,
    "is_finite": lambda run, a: True if a[0].is_finite() else None,
}
