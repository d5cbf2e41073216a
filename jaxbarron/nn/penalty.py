"""The Barron penalty: the norms of the measures in a model, for a loss."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxbarron.domains import Domain
from jaxbarron.errors import UsageError
from jaxbarron.measures import ParticleMeasure
from jaxbarron.nn.particle_layer import ParticleLayer
from jaxbarron.norms import Weight, norm

__all__ = ["barron_penalty"]


def barron_penalty(
    model: ParticleMeasure | nnx.Module,
    domain: Domain,
    *,
    weight: Weight | None = None,
    order: float | None = None,
    ord: float = 2,
) -> Float[Array, ""]:
    """The sum of ``||mu||_V`` over all :class:`ParticleLayer` of a model, or that of one measure.

    Differentiable; add a multiple of it to a loss.  Each summand bounds the Barron norm of its
    layer's function (THEORY.md, Norm of a measure); a layer that a model holds twice counts once.

    Args:
        model: a measure, a ParticleLayer, or an nnx module that holds some.
        domain: where the inputs *of each layer* lie.  A Ball fits every dimension.
        weight: which V, see :func:`jaxbarron.norm`; None: the one that belongs to the layer's
            activation, and ``"homogeneous"`` for a bare measure, which knows none.
        order: the power in V; None: s for RePU_s, else 1.
        ord: which norm of the weights a_i in R^m: 1, 2 or infinity.

    Raises:
        UsageError: the model holds no ParticleLayer; an unknown weight or ord.
        ShapeError: the domain is a Box of another dimension than a layer's inputs.

    Example:
        >>> from jaxbarron.domains import Ball
        >>> layer = ParticleLayer(2, 16, 1, "relu", rngs=nnx.Rngs(0))
        >>> gradient = nnx.grad(lambda layer: barron_penalty(layer, Ball(1.0)))(layer)
        >>> gradient["offsets"].shape
        (16,)
    """
    if isinstance(model, ParticleMeasure):
        order = 1 if order is None else order
        return norm(model, domain, weight=weight or "homogeneous", order=order, ord=ord)
    layers = _layers(model)
    if not layers:
        raise UsageError(
            f"given: a {type(model).__name__} without a ParticleLayer; expected: a measure, or an "
            "nnx module that holds at least one; do: use jaxbarron.nn.ParticleLayer, or "
            "jaxbarron.norm on the measures of your own"
        )
    norms = [layer.norm(domain, weight=weight, order=order, ord=ord) for layer in layers]
    return jnp.sum(jnp.stack(norms))


def _layers(model: Any) -> list[ParticleLayer]:
    if not isinstance(model, nnx.Module):
        return []
    return [node for _, node in nnx.iter_graph(model) if isinstance(node, ParticleLayer)]
