"""A small classifier of scikit-learn's 8 x 8 digit images, a flax (nnx) network with GELU."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxbarron.errors import UsageError

__all__ = ["Digits", "Model", "digits", "initial_model", "train"]

_PIXELS, _HIDDEN, _CLASSES = 64, 128, 10
# 40 epochs of 64: the validation accuracy has settled at 97 to 99 % well before, for every seed.
_EPOCHS, _BATCH, _RATE = 40, 64, 2e-3


@dataclass(frozen=True)
class Digits:
    """The 1797 images, split once and for all: every fifth for validation.

    Attributes:
        x: training images, shape (1437, 64), float32 in [0, 1].
        y: their labels, shape (1437,), int32 in [0, 10).
        x_validation: shape (360, 64).
        y_validation: shape (360,).
    """

    x: Float[np.ndarray, "n 64"]
    y: Int[np.ndarray, " n"]
    x_validation: Float[np.ndarray, "m 64"]
    y_validation: Int[np.ndarray, " m"]


@dataclass(frozen=True, eq=False)
class Model:
    """A flax model taken apart: a pure function and its parameters.

    Attributes:
        apply: ``apply(parameters, x)``: images (n, 64) to logits (n, 10).
        parameters: a pytree of arrays.
    """

    apply: Callable[[Any, Any], Any]
    parameters: Any


class _Classifier(nnx.Module):
    """64 -> 128 -> 128 -> 10 with GELU, as flax users write it."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(_PIXELS, _HIDDEN, rngs=rngs)
        self.second = nnx.Linear(_HIDDEN, _HIDDEN, rngs=rngs)
        self.last = nnx.Linear(_HIDDEN, _CLASSES, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = nnx.gelu(self.first(x))
        x = nnx.gelu(self.second(x))
        return self.last(x)


def digits() -> Digits:
    """The data, as shipped with scikit-learn.

    Raises:
        UsageError: scikit-learn is not installed; the message has the command that installs it.

    Example:
        >>> digits().x_validation.shape
        (360, 64)
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UsageError(
            "given: the digits demo without scikit-learn; expected: scikit-learn, whose data it "
            "uses; do: pip install 'jaxbarron[demo]' (in a clone: pip install -e '.[demo]')"
        ) from None
    images, labels = load_digits(return_X_y=True)
    x, y = np.asarray(images, np.float32) / 16, np.asarray(labels, np.int32)
    held = np.arange(len(y)) % 5 == 0
    return Digits(x[~held], y[~held], x[held], y[held])


def initial_model(seed: int = 0) -> Model:
    """The classifier before training.

    Example:
        >>> model = initial_model()
        >>> model.apply(model.parameters, jnp.zeros((3, 64))).shape
        (3, 10)
    """
    graph, parameters = nnx.split(_Classifier(nnx.Rngs(seed)))

    def apply(parameters: Any, x: Any) -> Any:
        return nnx.merge(graph, parameters)(x)

    return Model(apply, parameters)


def train(
    model: Model,
    data: Digits,
    *,
    seed: int = 0,
    epochs: int = _EPOCHS,
    progress: Callable[[int, int], None] | None = None,
) -> Model:
    """The model after ``epochs`` passes of optax's Adam over the training images.

    Args:
        model: where training starts.
        data: the images.
        seed: of the order in which the images come.
        epochs: passes over the training images.
        progress: called with (epochs done, epochs) after each.

    Example:
        >>> trained = train(initial_model(), digits(), epochs=1)
    """
    optimiser = optax.adam(_RATE)
    parameters, state = model.parameters, optimiser.init(model.parameters)
    run = jax.jit(functools.partial(_epoch, model.apply, optimiser))
    order = np.random.default_rng(seed)
    for epoch in range(epochs):
        count = len(data.y) // _BATCH
        rows = order.permutation(len(data.y))[: count * _BATCH].reshape(count, _BATCH)
        parameters, state = run(parameters, state, jnp.asarray(data.x[rows]), data.y[rows])
        if progress is not None:
            progress(epoch + 1, epochs)
    return replace(model, parameters=parameters)


def _epoch(
    apply: Callable[[Any, Any], Any],
    optimiser: optax.GradientTransformation,
    parameters: Any,
    state: Any,
    x: Float[Array, "steps batch 64"],
    y: Int[Array, "steps batch"],
) -> tuple[Any, Any]:
    def loss(parameters: Any, x: Any, y: Any) -> Any:
        logits = apply(parameters, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def step(carry: tuple[Any, Any], batch: tuple[Any, Any]) -> tuple[tuple[Any, Any], None]:
        parameters, state = carry
        gradient = jax.grad(loss)(parameters, *batch)
        updates, state = optimiser.update(gradient, state, parameters)
        return (optax.apply_updates(parameters, updates), state), None

    return jax.lax.scan(step, (parameters, state), (x, y))[0]
