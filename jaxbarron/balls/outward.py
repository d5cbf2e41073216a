"""Sums and products of floats, rounded up."""

from __future__ import annotations

import math
from fractions import Fraction

__all__ = ["product_up", "sum_up"]


def product_up(a: float, b: float) -> float:
    """A float that is at least the product of two floats >= 0, inf if one of them is.

    Example:
        >>> product_up(0.1, 0.1) >= 0.1 * 0.1
        True
    """
    product = a * b
    if not math.isfinite(product) or Fraction(product) >= Fraction(a) * Fraction(b):
        return product
    return math.nextafter(product, math.inf)


def sum_up(a: float, b: float) -> float:
    """A float that is at least the sum of two floats >= 0, inf if one of them is.

    Example:
        >>> sum_up(1.0, 2.0**-60) > 1.0
        True
    """
    total = a + b
    if not math.isfinite(total) or Fraction(total) >= Fraction(a) + Fraction(b):
        return total
    return math.nextafter(total, math.inf)
