"""sin and cos at order s + 1: far out their norm is the density part, which grows to a limit."""

from __future__ import annotations

import math
from typing import Any

import flint

from jaxbarron.activations import Activation, activation

__all__ = ["is_wave", "settled_from", "wave_limit"]


def is_wave(source: Activation) -> bool:
    """Whether Theorem Waves speaks of this activation."""
    return source in (activation("sin"), activation("cos"))


def wave_limit(s: int) -> Any:
    """``W_s = 4 (2^(s+1) - 1) / (pi (s+1)!)`` as a ball, at the working precision.

    The supremum of ``||sigma||_rho / (1 + rho)^(s+1)`` over all rho >= :func:`settled_from`, and
    its limit (THEORY.md, Theorem Waves).

    Example:
        >>> float(wave_limit(1).mid())  # 6/pi
        1.909859317102744
    """
    return flint.arb(4 * (2 ** (s + 1) - 1)) / (flint.arb.pi() * math.factorial(s + 1))


def settled_from(s: int) -> Any:
    """``(s + 1) pi/2`` as a ball: from this reach on the polynomial vanishes."""
    return (s + 1) * flint.arb.pi() / 2
