"""The factored form: a kernel run as one elementwise function.

``evaluate(push_forward(kernel, mu), tau, x)`` has n K particles; the same function is
``evaluate(mu, kernel_as_activation(kernel, tau), x)``: ``W x + b`` once, then K cheap terms an
element that the compiler fuses.  No array of size batch x neurons x knots is made, forward or
backward.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxbarron.activations import Activation, activation
from jaxbarron.kernels.pieces import Pieces, exact_pieces
from jaxbarron.kernels.traced_pieces import traced_pieces
from jaxbarron.measures import ParticleMeasure, check_kernel

__all__ = ["kernel_as_activation"]


def kernel_as_activation(kernel: ParticleMeasure, target: str | Activation) -> Activation:
    """The function ``z -> sum_k c_k tau(alpha_k z + beta_k)`` as an activation.

    It equals the flat form to rounding (THEORY.md, Theorem Push-forward).  It is computed in at
    least single precision and returned in the dtype of z; it is recomputed, not stored, for the
    backward pass, so that K does not show in memory.

    A kernel into RePU_s, s >= 1, runs piece by piece, each polynomial expanded about a point of its
    piece (THEORY.md, Theorem Local form): the same real function, to a few units in the last place
    of ``|kappa(z)| + |kappa'| |z|`` however far out z is, where the sum of the particles would lose
    all digits.  At a knot the derivative is that of the piece on its left, as ``jax.nn.relu`` has
    it at 0.  The pieces of a kernel whose arrays are traced (a kernel in training) are found in
    doubled precision, and a coefficient of order >= 2 of a tail counts as 0 where it is at most
    2^-40 of the sum that makes it (2^-98 in double precision).

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
    run = _by_pieces(kernel, tau.homogeneity) if tau.homogeneity else _by_particles(kernel, tau)

    def factored(z: Any) -> Any:
        z = jnp.asarray(z)
        wide = z.astype(jnp.promote_types(z.dtype, jnp.float32))
        return run(wide).astype(z.dtype)

    name = f"{count} x {tau.name}"
    return Activation(name, factored, family=name)


def _by_pieces(kernel: ParticleMeasure, s: int) -> Callable[[Any], Any]:
    arrays = (kernel.weights, kernel.directions, kernel.offsets)
    traced = any(isinstance(x, jax.core.Tracer) for x in arrays)
    exact = functools.cache(functools.partial(exact_pieces, kernel, s))

    def run(z: Any) -> Any:
        pieces = traced_pieces(kernel, s, z.dtype) if traced else exact(np.dtype(z.dtype).type)
        # rematerialised: the residual is z alone, not one mask for each piece
        return jax.checkpoint(functools.partial(_on_pieces, pieces))(z)

    return run


def _on_pieces(pieces: Pieces, z: Any) -> Any:
    """Select the piece of each element, then Horner's scheme about its centre.

    The selections are unrolled: they fuse into one loop over the elements, and cost no more than
    the sum of the particles would.
    """
    # A line's coefficient 0 of z^2 times infinity would be NaN.
    largest = float(np.finfo(z.dtype).max)
    z = jnp.clip(z, -largest, largest)
    centre, *coefficients = (
        jnp.full_like(z, x) for x in (pieces.centres[0], *pieces.coefficients[0])
    )
    for bound, other, row in zip(
        pieces.bounds, pieces.centres[1:], pieces.coefficients[1:], strict=True
    ):
        beyond = z > bound
        centre = jnp.where(beyond, other, centre)
        coefficients = [jnp.where(beyond, x, y) for x, y in zip(row, coefficients, strict=True)]
    u = z - centre
    value = coefficients[-1]
    for x in coefficients[-2::-1]:
        value = value * u + x
    return value


def _by_particles(kernel: ParticleMeasure, tau: Activation) -> Callable[[Any], Any]:
    count = kernel.offsets.shape[0]

    def run(z: Any) -> Any:
        arrays = (kernel.weights, kernel.directions, kernel.offsets)
        columns = [_column(x, z.dtype) for x in arrays]

        def total(z: Any, weights: Any, directions: Any, offsets: Any) -> Any:
            value = jnp.zeros_like(z)
            # K is the size of one kernel, not of a model: unrolled, the terms fuse into one loop
            # over the elements; as a reduction over an axis of length K they do not (20 times
            # slower).
            for k in range(count):
                value = value + weights[k] * tau(_affine(z, directions[k], offsets[k]))
            return value

        return jax.checkpoint(lambda u: total(u, *columns))(z)

    return run


def _column(array: Any, dtype: Any) -> list[Any]:
    flat = array.reshape(-1)
    if isinstance(flat, np.ndarray):
        return [np.asarray(x, dtype)[()] for x in flat]
    return list(flat.astype(dtype))


def _affine(z: Any, alpha: Any, beta: Any) -> Any:
    if isinstance(alpha, np.generic) and alpha == 1:
        return z + beta
    return alpha * z + beta
