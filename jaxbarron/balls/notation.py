"""Numbers as text on the atlas page: bounds keep their side when they are cut to a few digits."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

__all__ = ["all_digits", "bracket", "rounded_down", "rounded_up"]

_DIGITS = 4


def rounded_down(value: float, digits: int = _DIGITS) -> str:
    """The largest decimal of so many digits that is at most the float; infinities as a sign.

    Example:
        >>> rounded_down(2 / 3), rounded_down(-2 / 3), rounded_down(32768.0)
        ('0.6666', '-0.6667', '32760')
    """
    return _rounded(value, digits, ROUND_FLOOR)


def rounded_up(value: float, digits: int = _DIGITS) -> str:
    """The smallest decimal of so many digits that is at least the float; infinities as a sign.

    The float 1.01 lies above the number 1.01, so:

    Example:
        >>> rounded_up(2 / 3), rounded_up(2.0), rounded_up(1.01), rounded_up(3e-7)
        ('0.6667', '2', '1.011', '3e-07')
    """
    return _rounded(value, digits, ROUND_CEILING)


def bracket(lower: float | None, upper: float | None) -> str:
    """What two bounds say of a constant, rounded outward; None and infinite ones say nothing.

    Example:
        >>> bracket(2.0, 3.4601), bracket(None, 3.04961), bracket(1.0, 1.0), bracket(2.5, None)
        ('[2, 3.461]', '≤ 3.05', '= 1', '≥ 2.5')
    """
    low = None if lower is None or math.isinf(lower) else rounded_down(lower)
    high = None if upper is None or math.isinf(upper) else rounded_up(upper)
    if low is not None and high is not None:
        # Rounded outward the two can agree only if both are that very number.
        return f"= {low}" if low == high else f"[{low}, {high}]"
    if high is not None:
        return f"≤ {high}"
    return "" if low is None else f"≥ {low}"


def all_digits(value: float) -> str:
    """The shortest decimal that only this float rounds to; infinities as a sign.

    Example:
        >>> all_digits(6.0600000000000005), all_digits(2.0), all_digits(float("inf"))
        ('6.0600000000000005', '2', '∞')
    """
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return repr(value).removesuffix(".0")


def _rounded(value: float, digits: int, side: str) -> str:
    if math.isinf(value):
        return all_digits(value)
    # A Decimal made of a float is that float exactly, so the side is decided without rounding.
    cut = Context(prec=digits, rounding=side).plus(Decimal(value))
    if not cut:
        return "0"
    if -5 < cut.adjusted() < 6:
        text = f"{cut:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, exponent = f"{cut:e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent):+03d}"
