"""Derivatives: a derivative of an activation through difference quotients of the activation.

The derivative of the function of a measure is another matter: it is a measure with sigma', given
by :func:`jaxbarron.derivative`, and for RePU_s stays within the RePU family.
"""

from __future__ import annotations

import math

import numpy as np

from jaxbarron.errors import DomainError, UsageError
from jaxbarron.measures import ParticleMeasure

__all__ = ["difference_kernel"]

_HIGHEST = 8


def difference_kernel(order: int = 1, *, step: float) -> ParticleMeasure:
    """The kernel from the m-th derivative of an activation to the activation itself, m = order.

        kappa(z) = (2h)^-m sum_k (-1)^k binom(m, k) sigma(z + (m - 2k) h),     h = step,

    the central difference; ``(sigma(z + h) - sigma(z - h)) / (2h)`` for m = 1.  On all of R, for
    every sigma whose derivatives on the right are bounded (THEORY.md, Theorem Difference quotient),

        |sigma^(m) - kappa| <= (m h^2 / 6) sup |sigma^(m+2)|,
        |sigma^(m) - kappa| <= h (m / 3)^(1/2) sup |sigma^(m+1)|,

    where for ``|z| <= rho`` the suprema over ``|z| <= rho + m h`` are enough.  The norm of the
    kernel on ``|z| <= rho`` is ``h^-m E V(1, h S)``, S the sum of m independent signs: ``h^-m``
    in total variation, ``h^-m rho^p`` bias-free; for m = 1 ``(rho + h)^p / h`` homogeneous,
    ``(1 + rho + h)^p / h`` inhomogeneous and ``(rho^2 + h^2)^(p/2) / h`` with ``"l2"``.  Accuracy
    has its price: the norm grows like ``h^-m``, and so does the rounding of a floating-point
    evaluation.  Certify the error with ``kernel_certificate(kernel, sigma.derivative(m), sigma)``.

    Args:
        order: m, from 1 to 8.
        step: h, a finite number > 0.

    Returns:
        A kernel of m + 1 particles, NumPy doubles.  The weights are one double times the binomial
        coefficients, exactly, so that they add up to 0 and a slope at infinity cancels.  With
        a power of two as step nothing is rounded; otherwise ``(2h)^-m`` is, to 2^-46 relatively.

    Raises:
        UsageError: another order.
        DomainError: the step is not finite and positive, or so small or large that the
            weights are no normal doubles.

    Example:
        >>> kernel = difference_kernel(step=0.25)
        >>> kernel.weights[:, 0].tolist(), kernel.offsets.tolist()
        ([2.0, -2.0], [0.25, -0.25])
    """
    if order not in range(1, _HIGHEST + 1):
        raise UsageError(
            f"given: order={order!r}; expected: a whole number from 1 to {_HIGHEST}; do: push one "
            "difference kernel through another for a higher order"
        )
    if not (math.isfinite(step) and step > 0 and order * abs(math.log2(2 * step)) < 900):
        raise DomainError(
            f"given: step={step} for a difference of order {order}; expected: a finite number > 0 "
            "whose power is one too; do: e.g. step=2**-10"
        )
    binomials = [math.comb(order, k) for k in range(order + 1)]
    # the unit keeps so many trailing zero bits that its products with the binomials are exact
    fraction, exponent = math.frexp((2 * step) ** -order)
    bits = 53 - max(binomials).bit_length()
    unit = math.ldexp(round(math.ldexp(fraction, bits)), exponent - bits)
    weights = np.array([(-1) ** k * c * unit for k, c in enumerate(binomials)])
    offsets = np.array([(order - 2 * k) * step for k in range(order + 1)])
    return ParticleMeasure(weights[:, None], np.ones((order + 1, 1)), offsets)
