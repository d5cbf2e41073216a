"""An activation with trainable knots that starts at a certified kernel."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxbarron.activations import Activation, activation
from jaxbarron.certificates import Certificate
from jaxbarron.certify import certified_kernel
from jaxbarron.errors import DtypeError, UsageError
from jaxbarron.kernels.factored import kernel_as_activation
from jaxbarron.measures import ParticleMeasure, check_kernel, derivative, evaluate

__all__ = ["KernelActivation", "KernelDirection"]


class KernelDirection(nnx.Variable[Any]):
    """The direction of a particle of RePU_s: no parameter, since its length is in the weight."""


class KernelActivation(nnx.Module):
    """``z -> sum_k c_k tau(alpha_k z + beta_k)``, elementwise, with c and the knots to be trained.

    At the start it is the kernel that :func:`jaxbarron.certified_kernel` finds, so that
    ``|sigma(z) - module(z)| <= certificate.upper`` up to the rounding of its dtypes.  It runs in
    the factored form (THEORY.md, Theorem Push-forward): no array larger than z is made.

    For a target RePU_s with s >= 2 and a kernel that holds on all of R, the module is the kernel on
    ``window`` and continues along its tangents beyond.  At the start that is the same function,
    since its tails are lines; in training it keeps a tail from growing like ``|z|**s``.  A kernel
    of your own has no window.

    Args:
        source: sigma, the activation to start at, or its name; or a kernel of your own.
        target: tau, or its name.
        tol: the largest certified error at the start; or
        particles: the largest number of particles.
        reach: start at a kernel for ``|z| <= reach`` only; None: all of R where possible.
        param_dtype: dtype of the parameters; None: single precision, and for a kernel of your own
            its arrays as they are, bit for bit.  What is computed is in the dtype of z, and at
            least in single precision.

    Attributes:
        weights: c_k, an ``nnx.Param`` of shape (K,).
        directions: alpha_k, shape (K,): an ``nnx.Param``; for RePU_s, where a scale of alpha is one
            of c, a :class:`KernelDirection`, which ``nnx.grad`` and optimisers of ``nnx.Param``
            leave alone.
        offsets: beta_k, an ``nnx.Param`` of shape (K,): the knots are ``-beta_k / alpha_k``.
        target: tau.
        window: (left, right), or None.

    Raises:
        UnknownActivationError, ToleranceError, UsageError, UnreachableTargetError, DomainError:
            those of :func:`jaxbarron.certified_kernel`.
        ShapeError: a measure that is no kernel.
        DtypeError: ``param_dtype`` is not floating.

    Example:
        >>> sigma = KernelActivation("gelu", "relu", tol=1e-2)
        >>> z = jnp.linspace(-5.0, 5.0, 101)
        >>> bool(jnp.max(jnp.abs(sigma(z) - activation("gelu")(z))) < 1.0001e-2)
        True
    """

    def __init__(
        self,
        source: str | Activation | ParticleMeasure,
        target: str | Activation = "relu",
        *,
        tol: float | None = None,
        particles: int | None = None,
        reach: float | None = None,
        param_dtype: Any = None,
    ) -> None:
        if param_dtype is not None and not jnp.issubdtype(param_dtype, jnp.floating):
            raise DtypeError(
                f"given: param_dtype={param_dtype}; expected: a floating dtype; do: e.g. "
                "jnp.float32"
            )
        if isinstance(source, ParticleMeasure):
            if (tol, particles, reach) != (None, None, None):
                raise UsageError(
                    "given: a kernel, and tol, particles or reach; expected: an activation to find "
                    "a kernel of, or a kernel; do: leave the options out"
                )
            check_kernel(source)
            kernel, self.target, self.window = source, activation(target), None
        else:
            kernel, certificate = certified_kernel(
                source, target, tol=tol, particles=particles, reach=reach
            )
            self.target, self.window = certificate.target, _window(certificate)
            param_dtype = jnp.float32 if param_dtype is None else param_dtype
        if param_dtype is not None:
            kernel = kernel.astype(param_dtype)
        fixed = self.target.homogeneity is not None
        self.weights = nnx.Param(kernel.weights[:, 0])
        self.directions = (KernelDirection if fixed else nnx.Param)(kernel.directions[:, 0])
        self.offsets = nnx.Param(kernel.offsets)

    def to_kernel(self) -> ParticleMeasure:
        """The kernel that the parameters are, bit for bit; on the window it is the module.

        Raises:
            ShapeError: the module is a stack, as ``nnx.vmap`` makes them; take one out first.
            NonFiniteError: a parameter is NaN or infinite.
        """
        return ParticleMeasure(
            self.weights[...][..., None], self.directions[...][..., None], self.offsets[...]
        )

    def __call__(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """The activation at each element, in the dtype of ``z``.

        Raises:
            DtypeError: ``z`` is not floating.
        """
        z = jnp.asarray(z)
        if not jnp.issubdtype(z.dtype, jnp.floating):
            raise DtypeError(
                f"given: an array of dtype {z.dtype}; expected: a floating dtype; do: convert it, "
                "e.g. z.astype(jnp.float32)"
            )
        columns = self.weights[..., None], self.directions[..., None], self.offsets[...]
        kernel = ParticleMeasure.tree_unflatten(None, columns)
        inside = kernel_as_activation(kernel, self.target)
        if self.window is None:
            return inside(z)
        left, right = self.window
        wide = z.astype(jnp.promote_types(z.dtype, jnp.float32))
        slopes = evaluate(
            *derivative(kernel, self.target, 0), jnp.array([[left], [right]], wide.dtype)
        ).astype(wide.dtype)
        below = slopes[0, 0] * jnp.where(wide < left, wide - left, 0)
        above = slopes[1, 0] * jnp.where(wide > right, wide - right, 0)
        return (inside(jnp.clip(wide, left, right)) + below + above).astype(z.dtype)


def _window(certificate: Certificate) -> tuple[float, float] | None:
    """Where a kernel into RePU_s, s >= 2, may be cut off at its tangents.

    Outside its knots it is a polynomial of degree s.  If its distance to an activation with
    asymptotic lines is bounded on all of R, then that polynomial is a line, and its own tangent.
    """
    s = certificate.target.homogeneity
    if (
        s is None
        or s < 2
        or not (math.isinf(certificate.reach) and math.isfinite(certificate.upper))
    ):
        return None
    if certificate.source.left is None or certificate.source.right is None:
        return None
    alpha, beta = certificate.kernel.directions[:, 0], certificate.kernel.offsets
    knots = -beta[alpha != 0] / alpha[alpha != 0]
    if not knots.size:
        return None
    # a little outside the knots, on numbers that every dtype holds
    return float(np.floor(knots.min())) - 1.0, float(np.ceil(knots.max())) + 1.0
