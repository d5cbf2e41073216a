"""Where knots belong: the density |sigma^(s+1)|^(1/(s+1)) and the limit law it gives."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.activations import Activation, Line, activation
from jaxbarron.devices import double_on_cpu
from jaxbarron.errors import UsageError
from jaxbarron.kernels.spline_space import Array
from jaxbarron.programs import evaluate_program

__all__ = ["derivative_values", "knot_mass", "line_values", "spline_limit"]

# Half the range of the monic Bernoulli monospline of degree s + 1, over (s + 1)!: the least error
# of degree-s splines on a uniform grid of spacing 1 for a function with sigma^(s+1) = 1.
LIMIT_CONSTANTS = {1: 1 / 16, 2: math.sqrt(3) / 216, 3: 1 / 768}
_SAMPLES = 20001
# From here on a formula with exponentials may overflow; what has not reached its line in floats by
# then decays by powers, and no exponential is in the way.
_OVERFLOW = 200.0
_FARTHEST = 1e5  # of the line of knots; what lies beyond would get less than one knot of a thousand


def spline_limit(source: str | Activation, s: int, *, reach: float | None = None) -> float:
    """The limit of ``K^(s+1) * error`` for the best splines of degree s with K free knots.

    It is ``c_s (int |sigma^(s+1)|^(1/(s+1)) dz)^(s+1)`` over R or over ``|z| <= reach``, with
    c_1 = 1/16, c_2 = sqrt(3)/216, c_3 = 1/768 (THEORY.md, Theorem Equidistribution limit);
    kinks have measure zero and do not enter.  Infinite where the integral diverges.

    Example:
        >>> round(spline_limit("tanh", 1), 4)
        0.7178
    """
    if s not in LIMIT_CONSTANTS:
        raise UsageError(
            f"given: s={s!r}; expected: 1, 2 or 3; do: choose the degree of the target RePU_s"
        )
    sigma = activation(source)
    _, mass = knot_mass(sigma, s, -reach if reach else -math.inf, reach if reach else math.inf)
    return LIMIT_CONSTANTS[s] * float(mass[-1]) ** (s + 1)


Lines = tuple[Line | None, Line | None]


def line_values(z: Array, left: Line | None, right: Line | None) -> Array:
    """The left line for z < 0, the right one for z >= 0; NaN where there is none."""

    def of(line: Line | None) -> Array:
        return np.full_like(z, np.nan) if line is None else line.slope * z + line.intercept

    return np.where(z < 0, of(left), of(right))


def knot_mass(
    sigma: Activation, s: int, lower: float, upper: float, lines: Lines = (None, None)
) -> tuple[Array, Array]:
    """Points of [lower, upper] and ``int_lower^point |sigma^(s+1)|^(1/(s+1))`` at each.

    Knots at equal steps of this mass give every piece the same error, to first order.  Far out,
    where sigma is on one of its ``lines`` in floats, there is none: formulas may overflow there.
    """
    # z = sinh(v) resolves the unit scale and reaches far; tails decay exponentially or by powers.
    low, high = (math.asinh(min(max(x, -_FARTHEST), _FARTHEST)) for x in (lower, upper))
    v = np.linspace(low, high, _SAMPLES)
    points = np.clip(np.sinh(v), lower, upper)
    derivative = np.abs(
        np.nan_to_num(derivative_values(sigma, s + 1, points), posinf=0.0, neginf=0.0)
    )
    value = evaluate_program(sigma.program, points)
    line = line_values(points, *lines)
    gone = np.isnan(value) | (np.abs(value - line) <= 2.0**-50 * np.abs(line))
    derivative = np.where((np.abs(points) > _OVERFLOW) & gone, 0.0, derivative)
    weight = derivative ** (1 / (s + 1)) * np.cosh(v)
    steps = 0.5 * (weight[1:] + weight[:-1]) * (v[1] - v[0])
    return points, np.concatenate([[0.0], np.cumsum(steps)])


def derivative_values(sigma: Activation, order: int, points: Array) -> Array:
    """sigma^(order) at the points, in doubles, by automatic differentiation."""
    # The caller may be tracing: what is computed here is a constant of the trace.
    with jax.ensure_compile_time_eval(), double_on_cpu():
        fn = sigma.derivative(order).fn
        return np.asarray(jax.jit(jax.vmap(fn))(jnp.asarray(points)), dtype=np.float64)
