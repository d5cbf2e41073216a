"""The constant into RePU_s where neither side pays for its offset: a closed form."""

from __future__ import annotations

import math

import flint

from jaxbarron.activations import Activation
from jaxbarron.balls.series import working_precision
from jaxbarron.balls.suprema import upper_float
from jaxbarron.bounds.constants import Constant, variation_constant
from jaxbarron.bounds.lines import tail_line

__all__ = ["bias_free_constant"]

_BITS = 192


def bias_free_constant(source: Activation, s: int) -> Constant:
    """The embedding constant of sigma in RePU_s in the weights ``w^s`` and ``|alpha|^s``.

    ``max(A_s, (A_s + |m_- + m_+|)/2)`` for s = 1, with the slopes m of sigma at the two infinities,
    and A_s for s >= 2 (Theorem Bias free).

    Args:
        source: sigma, no RePU, with lines at both infinities.
        s: from 1 to 16.

    Example:
        >>> from jaxbarron.activations import activation
        >>> found = bias_free_constant(activation("softplus"), 1)
        >>> found.lower <= 1.0 <= found.upper < 1.0 + 1e-12
        True
    """
    variation = variation_constant(source, s)
    lines = tail_line(source, -1), tail_line(source, 1)
    if lines[0] is None or lines[1] is None:
        lower = variation.lower if math.isinf(variation.lower) else 0.0
        reason = variation.reason or "sigma is not known to tend to lines"
        return Constant(lower, math.inf, "Bias free", reason)
    if s > 1 or not math.isfinite(variation.upper):
        return Constant(variation.lower, variation.upper, "Bias free", variation.reason)
    with working_precision(_BITS):
        slopes = abs(lines[0][1] + lines[1][1])
        mean = (flint.arb(variation.upper) + slopes) / 2
        upper = max(variation.upper, upper_float(mean))
        low = ((flint.arb(variation.lower) + slopes) / 2).lower()
        lower = max(variation.lower, math.nextafter(float(low), -math.inf))
    return Constant(lower, upper, "Bias free")
