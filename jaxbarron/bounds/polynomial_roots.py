"""Real roots of small polynomials on an interval, as a pure JAX function of the coefficients."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["polynomial_value", "real_roots"]

_STEPS = 16  # Newton steps, or halvings where Newton leaves its bracket


def polynomial_value(
    coefficients: Float[Array, " n"], points: Float[Array, "..."]
) -> Float[Array, "..."]:
    """``sum_k coefficients[k] * points**k``, by Horner's rule."""
    total = jnp.zeros_like(points)
    for k in reversed(range(coefficients.shape[0])):
        total = total * points + coefficients[k]
    return total


def real_roots(coefficients: Float[Array, " n"], lower: float, upper: float) -> Float[Array, " m"]:
    """The sign changes of a polynomial in (lower, upper), ascending, padded with ``upper``.

    Between two neighbouring sign changes of its derivative the polynomial is monotone and has at
    most one root: degree by degree, each is found in its bracket.  A root without a change of sign
    is not reported.  A nearly double root is exact to about the root of the rounding unit only,
    where the polynomial itself is of the size of that unit.

    Args:
        coefficients: constant first; the degree m = n - 1 is that of the array.
        lower: the left end.
        upper: the right end.

    Example:
        >>> real_roots(jnp.array([-1.0, 0.0, 4.0]), -1.0, 1.0).tolist()
        [-0.5, 0.5]
    """
    degree = coefficients.shape[0] - 1
    dtype = coefficients.dtype
    if degree == 0:
        return jnp.zeros(0, dtype)
    if degree <= 2:
        found = _by_formula(coefficients)
        inside = (found > lower) & (found < upper)
        return jnp.sort(jnp.where(inside, found, jnp.asarray(upper, dtype)))
    powers = jnp.arange(1, degree + 1, dtype=dtype)
    slopes = coefficients[1:] * powers
    ends = jnp.asarray([lower, upper], dtype)
    inner = real_roots(slopes, lower, upper)
    cuts = jnp.concatenate([ends[:1], inner, ends[1:]])
    left, right = cuts[:-1], cuts[1:]
    at_left, at_right = (polynomial_value(coefficients, x) for x in (left, right))
    changes = (at_left < 0) != (at_right < 0)

    def step(_: Any, state: Any) -> Any:
        low, high, x = state
        value = polynomial_value(coefficients, x)
        same = (value < 0) == (at_left < 0)
        low, high = jnp.where(same, x, low), jnp.where(same, high, x)
        slope = polynomial_value(slopes, x)
        newton = x - value / jnp.where(slope == 0, 1, slope)
        inside = (newton >= low) & (newton <= high) & (slope != 0)
        return low, high, jnp.where(inside, newton, (low + high) / 2)

    found = jax.lax.fori_loop(0, _STEPS, step, (left, right, (left + right) / 2))[2]
    return jnp.sort(jnp.where(changes, found, ends[1]))


def _by_formula(coefficients: Any) -> Any:
    """The real roots of a polynomial of degree at most 2, NaN or infinite where there is none."""
    one = jnp.ones((), coefficients.dtype)
    none = one * jnp.nan
    if coefficients.shape[0] == 2:
        c, b = coefficients
        return jnp.where(b == 0, none, -c / jnp.where(b == 0, one, b))[None]
    c, b, a = coefficients
    square = b * b - 4 * a * c
    real = square > 0
    # the sum without cancellation; the other root is c over it
    q = -(b + jnp.where(b < 0, -one, one) * jnp.sqrt(jnp.where(real, square, one))) / 2
    first = jnp.where(real & (a != 0), q / jnp.where(a == 0, one, a), none)
    second = jnp.where(real & (q != 0), c / jnp.where(q == 0, one, q), none)
    return jnp.stack([first, second])
