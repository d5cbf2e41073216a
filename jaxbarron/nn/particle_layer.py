"""A flax layer that is a particle measure."""

from __future__ import annotations

from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxbarron.activations import Activation, activation
from jaxbarron.domains import Domain
from jaxbarron.errors import ShapeError
from jaxbarron.measures import ParticleMeasure, evaluate
from jaxbarron.norms import Weight, norm

__all__ = ["ParticleLayer"]


class ParticleLayer(nnx.Module):
    """``x -> sum_i a_i sigma(w_i . x + b_i)``: a shallow network whose parameters are a measure.

    It starts at n particles drawn at random: directions of variance 1/d, weights of variance 1/n,
    offsets uniform on (-1, 1), so that the kinks spread over inputs of size one.

    Args:
        inputs: d.
        particles: n.
        outputs: m.
        sigma: the activation, or its name.
        rngs: flax's random streams; the stream ``params`` is drawn from.
        param_dtype: dtype of the parameters.

    Attributes:
        weights: a_i, an ``nnx.Param`` of shape (n, m).
        directions: w_i, an ``nnx.Param`` of shape (n, d).
        offsets: b_i, an ``nnx.Param`` of shape (n,).
        sigma: the :class:`~jaxbarron.Activation`.

    Raises:
        ShapeError: one of d, n, m is below 1.
        DtypeError: ``param_dtype`` is not floating.
        UnknownActivationError: no activation of that name.

    Example:
        >>> layer = ParticleLayer(2, 16, 1, "gelu", rngs=nnx.Rngs(0))
        >>> layer(jnp.ones((5, 2))).shape
        (5, 1)
        >>> layer.to_measure().particles
        16
    """

    def __init__(
        self,
        inputs: int,
        particles: int,
        outputs: int,
        sigma: str | Activation = "relu",
        *,
        rngs: nnx.Rngs,
        param_dtype: Any = jnp.float32,
    ) -> None:
        if min(inputs, particles, outputs) < 1:
            raise ShapeError(
                f"given: inputs={inputs}, particles={particles}, outputs={outputs}; expected: each "
                "at least 1; do: e.g. ParticleLayer(2, 64, 1, 'relu', rngs=rngs)"
            )
        self.sigma = activation(sigma)
        draw = jax.nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)
        # drawn in single precision: a dtype that is not floating is refused below, by its name
        directions = draw(rngs.params(), (particles, inputs))
        weights = draw(rngs.params(), (outputs, particles)).T
        offsets = jax.random.uniform(rngs.params(), (particles,), minval=-1.0)
        arrays = (leaf.astype(param_dtype) for leaf in (weights, directions, offsets))
        self._hold(ParticleMeasure(*arrays))

    @classmethod
    def from_measure(cls, measure: ParticleMeasure, sigma: str | Activation) -> Self:
        """The layer of a measure.

        Its arrays are kept as they are, bit for bit: NumPy doubles stay NumPy doubles until an
        optimiser writes JAX arrays in their place (``measure.astype(...)`` first, to choose).

        Args:
            measure: n particles.
            sigma: the activation with which it represents its function, or its name.

        Raises:
            UnknownActivationError: no activation of that name.

        Example:
            >>> mu = ParticleMeasure(jnp.ones((1, 1)), jnp.ones((1, 2)), jnp.zeros(1))
            >>> ParticleLayer.from_measure(mu, "relu")(jnp.array([1.0, 2.0])).tolist()
            [3.0]
        """
        size = measure.inputs, measure.particles, measure.outputs
        layer = cls(*size, sigma, rngs=nnx.Rngs(0))  # what it draws is replaced at once
        layer._hold(measure)
        return layer

    def _hold(self, measure: ParticleMeasure) -> None:
        self.weights = nnx.Param(measure.weights)
        self.directions = nnx.Param(measure.directions)
        self.offsets = nnx.Param(measure.offsets)

    def to_measure(self) -> ParticleMeasure:
        """The measure that the parameters are, bit for bit.

        Raises:
            ShapeError: the layer is a stack, as ``nnx.vmap`` makes them; take one out first.
            NonFiniteError: a parameter is NaN or infinite.
        """
        return ParticleMeasure(self.weights[...], self.directions[...], self.offsets[...])

    def __call__(
        self,
        x: Float[Array, "... d"],
        *,
        batch_size: int | None = None,
        precision: Any = None,
    ) -> Float[Array, "... m"]:
        """The function at each point, as :func:`jaxbarron.evaluate` computes it.

        Raises:
            ShapeError: the last axis of ``x`` is not d.
            DtypeError: ``x`` is not floating.
        """
        return evaluate(_unchecked(self), self.sigma, x, batch_size=batch_size, precision=precision)

    def norm(
        self,
        domain: Domain,
        *,
        weight: Weight | None = None,
        order: float | None = None,
        ord: float = 2,
    ) -> Float[Array, ""]:
        """``||mu||_V``, an upper bound on the Barron norm of the layer's function on the domain.

        Differentiable in the parameters (THEORY.md, Norm of a measure).  A stack of layers, as
        ``nnx.vmap`` makes them, has the sum of their norms.

        Args:
            domain: where the inputs lie, a Ball or a Box.
            weight: which V, see :func:`jaxbarron.norm`; None: the one that belongs to sigma,
                ``rho**s`` for RePU_s and ``(1 + rho)**p`` for every other activation.
            order: the power in V; None: s for RePU_s, else 1.
            ord: which norm of the weights a_i in R^m: 1, 2 or infinity.

        Raises:
            UsageError: an unknown weight or ord.

        Example:
            >>> from jaxbarron.domains import Ball
            >>> mu = ParticleMeasure(jnp.ones((2, 1)), jnp.ones((2, 1)), jnp.zeros(2))
            >>> float(ParticleLayer.from_measure(mu, "tanh").norm(Ball(3.0)))  # 2 (1 + 3)
            8.0
        """
        s = self.sigma.homogeneity
        weight = weight or ("inhomogeneous" if s is None else "homogeneous")
        order = order if order is not None else 1 if s is None else s
        return norm(_unchecked(self), domain, weight=weight, order=order, ord=ord)


def _unchecked(layer: ParticleLayer) -> ParticleMeasure:
    """The measure, also of a stack or of traced arrays, without a look at the values."""
    leaves = (layer.weights[...], layer.directions[...], layer.offsets[...])
    return ParticleMeasure.tree_unflatten(None, leaves)
