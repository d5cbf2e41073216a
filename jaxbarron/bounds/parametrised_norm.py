"""The bracket of a function with parameters, as a JAX function of these parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_bracket import IntervalBracket, interval_bracket
from jaxbarron.bounds.interval_profile import Jets, composed_jets
from jaxbarron.norms import Weight

__all__ = ["parametrised_norm", "sign_change_edges"]

_SHAPE = np.sinh(np.linspace(-5, 5, 121))  # z where functions of unit scale are resolved
_EVEN = 65
_CHANGES = 24
_BISECTIONS = 52


def sign_change_edges(
    density: Callable[[Any], Any], grid: Float[Array, " n"], count: int = _CHANGES
) -> Float[Array, " m"]:
    """The grid's ends, 0, and the sign changes of a density between neighbours of a sorted grid.

    At most ``count`` changes are found, the first ones; the rest of the array is padded with the
    right end.  Pure: for functions whose parameters are traced.
    """
    values = density(grid)
    index = jnp.nonzero(
        (values[1:] > 0) != (values[:-1] > 0), size=count, fill_value=grid.shape[0] - 2
    )[0]
    low, high, left = grid[index], grid[index + 1], values[index] > 0

    def halve(_: Any, ends: Any) -> Any:
        low, high = ends
        middle = (low + high) / 2
        same = (density(middle) > 0) == left
        return jnp.where(same, middle, low), jnp.where(same, high, middle)

    low, high = jax.lax.fori_loop(0, _BISECTIONS, halve, (low, high))
    fixed = jnp.asarray([-1.0, 0.0, 1.0], grid.dtype)
    return jnp.sort(jnp.concatenate([fixed, (low + high) / 2]))


def parametrised_norm(
    family: Callable[[Any, Any], Any], s: int, *, weight: Weight = "homogeneous"
) -> Callable[[Any, Any, Any], IntervalBracket]:
    """The bracket of ``y -> family(parameters, w y + b)`` in RePU_s as a function of all of them.

    ``lower <= ||f|| <= upper`` in floating point, with the sign changes of the (s+1)-th derivative
    found on a grid of [-1, 1].  jit, vmap and grad: both bounds have the derivative of the lower
    one at fixed M, which is that of the norm where there is one (THEORY.md, Theorem Tightening), so
    a norm can be part of a loss.

    Args:
        family: (parameters, z) -> value for scalars z; smooth in z, s + 1 times differentiable.
        s: 0 to 4.
        weight: see :func:`jaxbarron.norms.weight_values`.

    Returns:
        A function of (parameters, w, b), w > 0.

    Raises:
        UsageError: s or the weight is out of range.

    Example:
        >>> swish = lambda beta, z: z * jax.nn.sigmoid(beta * z)
        >>> price = parametrised_norm(swish, 1)
        >>> with jax.enable_x64(True):
        ...     slope = jax.jit(jax.grad(lambda beta: price(beta, 2.0, 0.0).upper))(1.0)
        ...     round(float(slope), 3)
        -0.317
    """
    body = GaugeBody(s, weight)

    def bracket(parameters: Any, w: Any, b: Any) -> IntervalBracket:
        dtype = jnp.result_type(float, w, b)
        w, b = jnp.asarray(w, dtype), jnp.asarray(b, dtype)
        jets: Jets = composed_jets(lambda z: family(parameters, z), s + 1, w, b)
        shaped = jnp.clip((jnp.asarray(_SHAPE, dtype) - b) / w, -1, 1)
        grid = jnp.sort(jnp.concatenate([jnp.linspace(-1, 1, _EVEN, dtype=dtype), shaped]))
        found = sign_change_edges(lambda y: jets(y, 0)[..., -1], grid)
        edges = jax.lax.stop_gradient(jnp.sort(jnp.concatenate([found, grid[::8]])))
        still, at, offset = jax.lax.stop_gradient((parameters, w, b))
        fixed = composed_jets(lambda z: family(still, z), s + 1, at, offset)
        return interval_bracket(body, jets, edges, kinks=False, fixed=fixed)

    return bracket
