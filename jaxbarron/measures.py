"""Particle measures: the one noun of the library, and the verb push-forward.

``mu = sum_i a_i delta_(w_i, b_i)`` represents, with an activation sigma, the function
``f(x) = sum_i a_i sigma(w_i . x + b_i)``: a shallow network.  A kernel is a particle measure with
d = m = 1.  Every function here is pure and works under jit, vmap, grad, scan and remat.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import chex
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbarron.activations import Activation, activation, repu
from jaxbarron.domains import Domain
from jaxbarron.errors import DomainError, DtypeError, NonFiniteError, ShapeError, UsageError

__all__ = [
    "ParticleMeasure",
    "add",
    "assert_finite",
    "check_kernel",
    "derivative",
    "evaluate",
    "push_forward",
    "scale",
    "unit_kernel",
]

_FIELDS = ("weights", "directions", "offsets")
MeasureArray = Any  # Float[Array] or a NumPy array of doubles: both are leaves of a measure


@jax.tree_util.register_pytree_with_keys_class
@dataclass(frozen=True, eq=False)
class ParticleMeasure:
    """A weighted set of particles, as a frozen pytree of three arrays.

    Kernels made by this library hold NumPy doubles, so that no bit is lost where JAX runs in
    single precision; such a kernel takes on the dtype of what it is pushed onto.

    Attributes:
        weights: a_i, shape (n, m).
        directions: w_i, shape (n, d).
        offsets: b_i, shape (n,).

    Raises:
        ShapeError: a rank is wrong, the n's disagree, or there is no particle.
        DtypeError: an array is not floating, or the dtypes disagree.
        NonFiniteError: an array holds NaN or infinity (checked where the values are known;
            under jit use :func:`assert_finite` with ``chex.chexify``).

    Example:
        >>> mu = ParticleMeasure(np.ones((3, 1)), np.ones((3, 2)), np.zeros(3))
        >>> mu.particles, mu.inputs, mu.outputs
        (3, 2, 1)
    """

    weights: MeasureArray
    directions: MeasureArray
    offsets: MeasureArray

    def __post_init__(self) -> None:
        for name in _FIELDS:
            leaf = getattr(self, name)
            if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
                object.__setattr__(self, name, jnp.asarray(leaf))
        _check_shapes(self)
        _check_values(self)

    # JAX rebuilds pytrees with batched arrays, placeholders and None: no check here.
    def tree_flatten_with_keys(self) -> tuple[list[tuple[Any, Any]], None]:
        """The leaves with their names, for JAX."""
        return [(jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in _FIELDS], None

    @classmethod
    def tree_unflatten(cls, _: None, leaves: Any) -> ParticleMeasure:
        """The measure of these leaves, unchecked, for JAX."""
        measure = object.__new__(cls)
        for name, leaf in zip(_FIELDS, leaves, strict=True):
            object.__setattr__(measure, name, leaf)
        return measure

    @property
    def particles(self) -> int:
        """The number n of particles."""
        return self.offsets.shape[-1]

    @property
    def inputs(self) -> int:
        """The dimension d of the inputs."""
        return self.directions.shape[-1]

    @property
    def outputs(self) -> int:
        """The dimension m of the outputs."""
        return self.weights.shape[-1]

    @property
    def dtype(self) -> Any:
        """The common dtype of the three arrays."""
        return self.offsets.dtype

    def astype(self, dtype: Any) -> ParticleMeasure:
        """The same measure with arrays of another dtype, as JAX arrays."""
        return jax.tree.map(lambda x: jnp.asarray(x, dtype), self)

    def __add__(self, other: ParticleMeasure) -> ParticleMeasure:
        return add(self, other)

    def __mul__(self, factor: Any) -> ParticleMeasure:
        return scale(self, factor)

    __rmul__ = __mul__


def _measure(weights: Any, directions: Any, offsets: Any) -> ParticleMeasure:
    return ParticleMeasure.tree_unflatten(None, (weights, directions, offsets))


def _check_shapes(mu: ParticleMeasure) -> None:
    shapes = tuple(tuple(getattr(mu, name).shape) for name in _FIELDS)
    try:
        chex.assert_rank([mu.weights, mu.directions, mu.offsets], [2, 2, 1])
        chex.assert_equal_shape_prefix([mu.weights, mu.directions, mu.offsets], 1)
    except AssertionError:
        raise ShapeError(
            f"given: weights {shapes[0]}, directions {shapes[1]}, offsets {shapes[2]}; expected: "
            "(n, m), (n, d), (n,) with one n; do: reshape, e.g. weights[:, None] for m = 1"
        ) from None
    if 0 in shapes[0] + shapes[1]:
        raise ShapeError(
            f"given: an empty measure, weights {shapes[0]} and directions {shapes[1]}; expected: "
            "n, m, d >= 1; do: use one particle of weight 0 for the zero function"
        )


def _check_values(mu: ParticleMeasure) -> None:
    dtypes = tuple(getattr(mu, name).dtype for name in _FIELDS)
    if len(set(dtypes)) != 1 or not jnp.issubdtype(dtypes[0], jnp.floating):
        raise DtypeError(
            f"given: dtypes {', '.join(str(t) for t in dtypes)} of weights, directions, offsets; "
            "expected: one floating dtype; do: convert them, e.g. with .astype(float32)"
        )
    for name in _FIELDS:
        leaf = getattr(mu, name)
        # NumPy, not JAX: inside jit even a known array would become a traced one
        if _is_known(leaf) and not np.all(np.isfinite(np.asarray(leaf))):
            raise NonFiniteError(
                f"given: {name} with NaN or infinity; expected: finite numbers; do: look for the "
                "step that made them, e.g. with jax.debug_nans"
            )


def _is_known(leaf: Any) -> bool:
    if isinstance(leaf, jax.core.Tracer):
        return False
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable


def assert_finite(mu: ParticleMeasure) -> None:
    """Assert that all arrays are finite; inside jit, wrap the caller with ``chex.chexify``.

    Raises:
        AssertionError: chex's own, at once or when the chexified function is waited for.

    Example:
        >>> assert_finite(unit_kernel())
    """
    chex.assert_tree_all_finite(mu)


def check_kernel(kernel: ParticleMeasure) -> None:
    """Raise ShapeError unless the measure is a kernel: one input, one output."""
    if kernel.inputs != 1 or kernel.outputs != 1:
        raise ShapeError(
            f"given: a measure with {kernel.inputs} inputs and {kernel.outputs} outputs as a "
            "kernel; expected: one of each (d = m = 1); do: reshape its arrays to (K, 1)"
        )


def unit_kernel() -> ParticleMeasure:
    """``delta_(1, 0)``: the kernel from any activation to itself, neutral for push_forward.

    Double precision, shapes (1, 1), (1, 1) and (1,) (THEORY.md, Theorem Push-forward).

    Example:
        >>> mu = ParticleMeasure(np.ones((3, 2)), np.ones((3, 4)), np.arange(3.0))
        >>> push_forward(unit_kernel(), mu).offsets.tolist()
        [0.0, 1.0, 2.0]
    """
    return _measure(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1))


def evaluate(
    mu: ParticleMeasure,
    sigma: str | Activation,
    x: Float[Array, "... d"],
    *,
    batch_size: int | None = None,
    precision: Any = None,
) -> Float[Array, "... m"]:
    """The function of the measure: ``f(x) = sum_i a_i sigma(w_i . x + b_i)``.

    Args:
        mu: n particles in dimension d with weights in R^m.
        sigma: an activation or its name.
        x: points, shape (..., d), floating.
        batch_size: an upper bound on how many particles and how many points meet at once: no
            array larger than batch_size**2 (and the result) is made.  Same result to rounding.
        precision: of the two matrix products, as in ``jnp.matmul``.

    Returns:
        f at each point, shape (..., m), in the common dtype of ``mu`` and ``x`` (a measure of
        NumPy doubles takes on the dtype of ``x``).

    Raises:
        ShapeError: the last axis of ``x`` is not d, or ``batch_size`` is not positive.
        DtypeError: ``x`` is not floating.

    Example:
        >>> mu = ParticleMeasure(jnp.ones((1, 1)), jnp.ones((1, 2)), jnp.zeros(1))
        >>> evaluate(mu, "relu", jnp.array([1.0, 2.0])).tolist()
        [3.0]
    """
    tau = activation(sigma)
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise DtypeError(
            f"given: points of dtype {x.dtype}; expected: a floating dtype; "
            "do: convert them, e.g. x.astype(jnp.float32)"
        )
    if x.ndim == 0 or x.shape[-1] != mu.inputs:
        raise ShapeError(
            f"given: points of shape {x.shape} for a measure with {mu.inputs} inputs; expected: "
            f"(..., {mu.inputs}); do: put the coordinates on the last axis"
        )
    mu = mu.astype(x.dtype if _is_numpy(mu) else jnp.promote_types(mu.dtype, x.dtype))
    x = x.astype(mu.dtype)
    if batch_size is None:
        return _evaluate_block(mu, tau, x, precision)
    if batch_size < 1:
        raise ShapeError(
            f"given: batch_size={batch_size}; expected: a whole number >= 1; do: e.g. 1024"
        )
    points = x.reshape(-1, mu.inputs)
    run = functools.partial(_evaluate_streamed, mu, tau, batch_size, precision)
    values = jax.lax.map(run, points, batch_size=min(batch_size, max(1, points.shape[0])))
    return values.reshape(*x.shape[:-1], mu.outputs)


def _evaluate_block(mu: ParticleMeasure, tau: Activation, x: Any, precision: Any) -> Any:
    z = jnp.matmul(x, mu.directions.T, precision=precision) + mu.offsets
    return jnp.matmul(tau(z), mu.weights, precision=precision)


def _evaluate_streamed(
    mu: ParticleMeasure, tau: Activation, batch_size: int, precision: Any, x: Any
) -> Any:
    size = min(batch_size, mu.particles)
    missing = -mu.particles % size

    def blocks(leaf: Any, fill: Any) -> Any:
        padding = jnp.broadcast_to(fill, (missing, *leaf.shape[1:]))
        return jnp.concatenate([leaf, padding]).reshape(-1, size, *leaf.shape[1:])

    # The padding repeats the first particle with weight 0, so sigma is never asked for a value
    # where it has none.
    chunks = _measure(
        blocks(mu.weights, jnp.zeros((), mu.dtype)),
        blocks(mu.directions, mu.directions[:1]),
        blocks(mu.offsets, mu.offsets[:1]),
    )

    @jax.checkpoint  # the backward pass recomputes a block instead of keeping all of them
    def step(total: Any, chunk: ParticleMeasure) -> tuple[Any, None]:
        return total + _evaluate_block(chunk, tau, x, precision), None

    return jax.lax.scan(step, jnp.zeros(mu.outputs, mu.dtype), chunks)[0]


def push_forward(
    kernel: ParticleMeasure,
    mu: ParticleMeasure,
    *,
    domain: Domain | None = None,
    reach: float = np.inf,
) -> ParticleMeasure:
    """The push-forward of a measure along a kernel from sigma to tau.

    ``{(a_i c_k, alpha_k w_i, alpha_k b_i + beta_k)}``, n K particles, represents with tau what
    ``mu`` represents with sigma; if the kernel's error is at most eps on ``|z| <= reach``, the two
    functions differ by at most ``sum_i ||a_i|| eps`` on the domain (THEORY.md, Theorem
    Push-forward).  Applied to a kernel it is composition: associative, with
    :func:`unit_kernel` as its unit.

    Args:
        kernel: K particles, d = m = 1.
        mu: n particles.
        domain: where given, and where the numbers are known, the reach of each particle on it is
            held against ``reach``.
        reach: how far the kernel is valid (infinity: everywhere).

    Raises:
        ShapeError: ``kernel`` is no kernel.
        DomainError: a particle's reach on the domain exceeds the kernel's.

    Example:
        >>> push_forward(unit_kernel(), unit_kernel()).particles
        1
    """
    check_kernel(kernel)
    if domain is not None:
        _check_reach(mu, domain, reach)
    if _is_numpy(kernel) and _is_numpy(mu):
        c, alpha, beta = kernel.weights, kernel.directions, kernel.offsets
    else:
        numpy_measure = _is_numpy(mu)
        dtype = kernel.dtype if numpy_measure else mu.dtype
        if not numpy_measure and not _is_numpy(kernel):
            dtype = jnp.promote_types(kernel.dtype, mu.dtype)
        cast = kernel.astype(dtype)
        mu = mu.astype(dtype)
        c, alpha, beta = cast.weights, cast.directions, cast.offsets
    count = mu.particles * kernel.particles
    weights = (mu.weights[:, None, :] * c[None]).reshape(count, mu.outputs)
    directions = (alpha[None] * mu.directions[:, None, :]).reshape(count, mu.inputs)
    offsets = (alpha[None, :, 0] * mu.offsets[:, None] + beta[None]).reshape(count)
    return _measure(weights, directions, offsets)


def _check_reach(mu: ParticleMeasure, domain: Domain, reach: float) -> None:
    largest = jnp.max(domain.reach(jnp.asarray(mu.directions), jnp.asarray(mu.offsets)))
    if not isinstance(largest, jax.core.Tracer) and float(largest) > reach:
        raise DomainError(
            f"given: a particle of reach {float(largest):.6g} on the domain, and a kernel valid to "
            f"{reach:.6g}; expected: a kernel that reaches every particle; do: build the kernel "
            f"with reach={float(largest):.6g} or more"
        )


def add(mu: ParticleMeasure, nu: ParticleMeasure) -> ParticleMeasure:
    """The sum of two measures: it represents the sum of their functions.

    Raises:
        ShapeError: inputs or outputs disagree.
        DtypeError: the dtypes disagree.

    Example:
        >>> mu = ParticleMeasure(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1))
        >>> evaluate(add(mu, scale(mu, 2.0)), "relu", jnp.array([1.0])).tolist()
        [3.0]
    """
    if (mu.inputs, mu.outputs) != (nu.inputs, nu.outputs):
        raise ShapeError(
            f"given: measures with (inputs, outputs) {(mu.inputs, mu.outputs)} and "
            f"{(nu.inputs, nu.outputs)}; expected: the same; do: add measures of one space"
        )
    if mu.dtype != nu.dtype:
        raise DtypeError(
            f"given: measures of dtypes {mu.dtype} and {nu.dtype}; expected: one dtype; "
            "do: convert one with .astype"
        )
    xp: Any = np if _is_numpy(mu) and _is_numpy(nu) else jnp
    return jax.tree.map(lambda a, b: xp.concatenate([a, b]), mu, nu)


def scale(mu: ParticleMeasure, factor: Any) -> ParticleMeasure:
    """The measure of ``factor * f``; ``factor`` is a scalar or has shape (m,).

    The dtype stays that of the measure.

    Example:
        >>> mu = ParticleMeasure(np.ones((3, 2)), np.ones((3, 1)), np.zeros(3))
        >>> scale(mu, np.array([2.0, -1.0])).weights[0].tolist()
        [2.0, -1.0]
    """
    weights = mu.weights * factor
    dtype = mu.dtype
    return _measure(weights.astype(dtype), mu.directions, mu.offsets)


def derivative(
    mu: ParticleMeasure, sigma: str | Activation, axis: int | None = None
) -> tuple[ParticleMeasure, Activation]:
    """The measure and the activation of a partial derivative, or of the whole Jacobian.

    ``d f / d x_j = sum_i a_i w_ij sigma'(w_i . x + b_i)`` (THEORY.md, Theorem Derivative); for
    RePU_s the activation is RePU_(s-1) and the factor s goes into the weights.

    Args:
        mu: n particles with m outputs in dimension d.
        sigma: the activation with which ``mu`` represents f.
        axis: j; None for all j: m * d outputs, ordered as the Jacobian (m, d) row by row.

    Raises:
        UsageError: ``axis`` is no coordinate, or sigma is the Heaviside step.

    Example:
        >>> mu = ParticleMeasure(np.ones((1, 1)), np.array([[3.0]]), np.zeros(1))
        >>> slope, step = derivative(mu, "relu", 0)
        >>> evaluate(slope, step, jnp.array([2.0])).tolist()
        [3.0]
    """
    tau = activation(sigma)
    if axis is not None and not -mu.inputs <= axis < mu.inputs:
        raise UsageError(
            f"given: axis={axis} for {mu.inputs} inputs; expected: a coordinate; "
            f"do: 0 <= axis < {mu.inputs}"
        )
    if tau.homogeneity == 0:
        raise UsageError(
            "given: the derivative of a Heaviside measure; expected: s >= 1, since the derivative "
            "is no function; do: differentiate a RePU_s measure with s >= 1"
        )
    directions = mu.directions if axis is None else mu.directions[:, [axis % mu.inputs]]
    products = mu.weights[:, :, None] * directions[:, None, :]
    weights = products.reshape(mu.particles, -1)
    s = tau.homogeneity
    if s is None:
        return _measure(weights, mu.directions, mu.offsets), tau.derivative()
    return _measure(weights * s, mu.directions, mu.offsets), repu(s - 1)


def _is_numpy(mu: ParticleMeasure) -> bool:
    return all(isinstance(getattr(mu, name), np.ndarray) for name in _FIELDS)
