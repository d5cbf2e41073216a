"""Models of your own on the command line: one factory for each way to write a JAX model.

Run from this folder; the first line writes ``val.npz``:

    python own_model.py
    jaxbarron switch --model own_model:flax_nnx --data val.npz --from gelu --to relu
    jaxbarron switch --model own_model:flax_linen --data val.npz --from gelu --to relu,repu2
    jaxbarron switch --model own_model:equinox --data val.npz --from gelu --to hard_tanh
    jaxbarron switch --model own_model:haiku --data val.npz --from gelu --to relu
    jaxbarron switch --model own_model:plain --data val.npz --from gelu --to relu \
        --metric own_model:mean_margin --metric-direction higher

A factory takes no argument and returns ``(callable, parameters)`` with
``callable(parameters, inputs) -> outputs``, rows of inputs to rows of outputs, in inference mode.
Yours would load a checkpoint where these train for a moment.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

CLASSES, HIDDEN = 3, 32


def spirals(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of the plane on three arms of a spiral, and the number of each one's arm."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    radius = np.sqrt(draw.uniform(0.05, 1.0, count))
    angle = 4 * radius + 2 * np.pi / CLASSES * labels + 0.15 * draw.normal(size=count)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return points.astype(np.float32), labels.astype(np.int32)


def trained(apply: Any, parameters: Any) -> tuple[Any, Any]:
    """The function with its parameters after 300 steps of optax's Adam on 600 points."""
    x, y = map(jnp.asarray, spirals(600, seed=0))
    optimiser = optax.adam(1e-2)

    def loss(parameters: Any) -> Any:
        logits = apply(parameters, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def step(carry: Any, _: Any) -> tuple[Any, None]:
        parameters, state = carry
        updates, state = optimiser.update(jax.grad(loss)(parameters), state, parameters)
        return (optax.apply_updates(parameters, updates), state), None

    start = parameters, optimiser.init(parameters)
    return apply, jax.jit(lambda start: jax.lax.scan(step, start, length=300)[0][0])(start)


def flax_nnx() -> tuple[Any, Any]:
    """A flax nnx module, split into graph and state."""
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.first = nnx.Linear(2, HIDDEN, rngs=rngs)
            self.last = nnx.Linear(HIDDEN, CLASSES, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.last(nnx.gelu(self.first(x)))

    model = Net(nnx.Rngs(0))
    model.eval()  # dropout off, batch norm by its running averages: here without effect
    graph, state = nnx.split(model)
    return trained(lambda state, x: nnx.merge(graph, state)(x), state)


def flax_linen() -> tuple[Any, Any]:
    """A flax linen module: its apply function and its variables."""
    import flax.linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any, train: bool = False) -> Any:
            x = nn.gelu(nn.Dense(HIDDEN)(x))
            x = nn.Dropout(0.1, deterministic=not train)(x)
            return nn.Dense(CLASSES)(x)

    model = Net()
    return trained(model.apply, model.init(jax.random.key(0), jnp.zeros((1, 2))))


def equinox() -> tuple[Any, Any]:
    """An equinox module, which is its own parameters; it maps one example, so vmap maps rows."""
    import equinox as eqx

    model = eqx.nn.MLP(2, CLASSES, HIDDEN, depth=1, activation=jax.nn.gelu, key=jax.random.key(0))
    arrays, rest = eqx.partition(model, eqx.is_array)
    return trained(lambda arrays, x: jax.vmap(eqx.combine(arrays, rest))(x), arrays)


def haiku() -> tuple[Any, Any]:
    """A haiku function, transformed; without a random key where it needs none."""
    import haiku as hk

    net = hk.without_apply_rng(
        hk.transform(lambda x: hk.Linear(CLASSES)(jax.nn.gelu(hk.Linear(HIDDEN)(x))))
    )
    return trained(net.apply, net.init(jax.random.PRNGKey(0), jnp.zeros((1, 2))))


def plain() -> tuple[Any, Any]:
    """A plain function of a dict of arrays."""

    def apply(parameters: Any, x: Any) -> Any:
        return jax.nn.gelu(x @ parameters["in"] + parameters["bias"]) @ parameters["out"]

    keys = jax.random.split(jax.random.key(0), 2)
    parameters = {
        "in": jax.random.normal(keys[0], (2, HIDDEN)),
        "bias": jnp.zeros(HIDDEN),
        "out": jax.random.normal(keys[1], (HIDDEN, CLASSES)) / HIDDEN**0.5,
    }
    return trained(apply, parameters)


def mean_margin(outputs: np.ndarray, labels: np.ndarray) -> float:
    """A metric of your own: by how much the right logit exceeds the best of the others."""
    rows = np.arange(len(labels))
    right = outputs[rows, labels]
    others = outputs.copy()
    others[rows, labels] = -np.inf
    return float(np.mean(right - others.max(1)))


if __name__ == "__main__":
    inputs, labels = spirals(400, seed=1)
    np.savez("val.npz", inputs=inputs, labels=labels)
    print("val.npz written; now for example:")
    print("jaxbarron switch --model own_model:flax_nnx --data val.npz --from gelu --to relu")
