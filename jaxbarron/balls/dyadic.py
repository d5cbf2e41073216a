"""Dyadic rationals: powers of two and exact balls."""

from __future__ import annotations

from typing import Any

import flint

__all__ = ["exact", "floor_log2", "power_of_two"]


def power_of_two(exponent: int) -> Any:
    """The exact rational ``2**exponent``."""
    return flint.fmpq(1 << exponent) if exponent >= 0 else flint.fmpq(1, 1 << -exponent)


def floor_log2(value: Any) -> int:
    """The largest n with ``2**n <= value``, for a rational value > 0."""
    guess = int(value.p).bit_length() - int(value.q).bit_length()
    return guess if power_of_two(guess) <= value else guess - 1


def exact(dyadic: Any) -> Any:
    """A dyadic rational as a ball of radius zero."""
    return flint.arb((dyadic.p, 1 - int(dyadic.q).bit_length()))
