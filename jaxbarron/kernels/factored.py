"""The factored form: a kernel run as one elementwise function.

``evaluate(push_forward(kernel, mu), tau, x)`` has n K particles; the same function is
``evaluate(mu, kernel_as_activation(kernel, tau), x)``: ``W x + b`` once, then K cheap terms an
element that the compiler fuses.  No array of size batch x neurons x knots is made, forward or
backward.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxbarron.activations import Activation, activation
from jaxbarron.measures import ParticleMeasure, check_kernel

__all__ = ["kernel_as_activation"]


def kernel_as_activation(kernel: ParticleMeasure, target: str | Activation) -> Activation:
    """The function ``z -> sum_k c_k tau(alpha_k z + beta_k)`` as an activation.

    It equals the flat form to rounding (THEORY.md, Theorem Push-forward).  It is computed in at
    least single precision and returned in the dtype of z; it is recomputed, not stored, for the
    backward pass, so that K does not show in memory.  For a concrete kernel into RePU_s, s >= 2,
    whose tails are exactly lines, z is clipped to the knots and the lines are added outside: the
    same real function without the cancellation of powers far out.

    Args:
        kernel: a measure with d = m = 1; its arrays may be traced (trainable knots).
        target: tau.

    Raises:
        ShapeError: the measure is no kernel.

    Example:
        >>> absolute = ParticleMeasure(np.ones((2, 1)), np.array([[1.0], [-1.0]]), np.zeros(2))
        >>> kernel_as_activation(absolute, "relu")(jnp.array([-2.0, 3.0])).tolist()
        [2.0, 3.0]
    """
    tau = activation(target)
    check_kernel(kernel)
    count = kernel.offsets.shape[0]
    tails = _affine_tails(kernel, tau)
    term = _term(tau)

    def total(z: Any, weights: Any, directions: Any, offsets: Any) -> Any:
        value = jnp.zeros_like(z)
        # K is the size of one kernel, not of a model: unrolled, the terms fuse into one loop over
        # the elements; as a reduction over an axis of length K they do not (20 times slower).
        for k in range(count):
            value = value + term(z, weights[k], directions[k], offsets[k])
        return value

    def factored(z: Any) -> Any:
        z = jnp.asarray(z)
        dtype = jnp.promote_types(z.dtype, jnp.float32)
        wide = z.astype(dtype)
        columns = [_column(x, dtype) for x in (kernel.weights, kernel.directions, kernel.offsets)]
        # rematerialised: the residual is z alone, not one mask for each particle
        run = jax.checkpoint(lambda u: total(u, *columns))
        if tails is None:
            return run(wide).astype(z.dtype)
        left, right, slope_left, slope_right = (np.asarray(x, dtype)[()] for x in tails)
        inside = run(jnp.clip(wide, left, right))
        below = slope_left * jnp.where(wide < left, wide - left, 0) if slope_left else 0
        above = slope_right * jnp.where(wide > right, wide - right, 0) if slope_right else 0
        return (inside + below + above).astype(z.dtype)

    name = f"{count} x {tau.name}"
    return Activation(name, factored, family=name)


def _column(array: Any, dtype: Any) -> list[Any]:
    flat = array.reshape(-1)
    if isinstance(flat, np.ndarray):
        return [np.asarray(x, dtype)[()] for x in flat]
    return list(flat.astype(dtype))


def _term(tau: Activation) -> Callable[[Any, Any, Any, Any], Any]:
    s = tau.homogeneity
    if not s:
        return lambda z, c, alpha, beta: c * tau(_affine(z, alpha, beta))

    def power(z: Any, c: Any, alpha: Any, beta: Any) -> Any:
        if isinstance(alpha, np.generic) and alpha == 0:  # a constant particle
            return c * max(beta, 0 * beta) ** s
        y = _affine(z, alpha, beta)
        # jnp.where, not jnp.maximum: the derivative at the knot is then 0, as that of jax.nn.relu
        y = jnp.where(y > 0, y, 0)
        return c * jax.lax.integer_pow(y, s)

    return power


def _affine(z: Any, alpha: Any, beta: Any) -> Any:
    if isinstance(alpha, np.generic) and alpha == 1:
        return z + beta
    return alpha * z + beta


def _affine_tails(
    kernel: ParticleMeasure, tau: Activation
) -> tuple[float, float, float, float] | None:
    """(left end, right end, left slope, right slope) if both tails are exactly lines, s >= 2."""
    s = tau.homogeneity
    arrays = (kernel.weights, kernel.directions, kernel.offsets)
    if s is None or s < 2 or any(isinstance(x, jax.core.Tracer) for x in arrays):
        return None
    weights, directions, offsets = (np.asarray(x, np.float64).reshape(-1) for x in arrays)
    bent = directions != 0
    if not bent.any():
        return None
    knots = -offsets[bent] / directions[bent]
    slopes: list[float] = []
    for side in (-1, 1):
        powers = [Fraction(0)] * (s + 1)
        for c, alpha, beta in zip(weights, directions, offsets, strict=True):
            if alpha * side > 0:
                for j in range(s + 1):
                    exact = Fraction(c) * Fraction(alpha) ** j * Fraction(beta) ** (s - j)
                    powers[j] += math.comb(s, j) * exact
        if any(powers[2:]):
            return None
        slopes.append(float(powers[1]))
    # Ends a little outside, on numbers that every floating dtype holds: there the tail is the line.
    return (
        float(np.floor(knots.min())) - 1.0,
        float(np.ceil(knots.max())) + 1.0,
        slopes[0],
        slopes[1],
    )
