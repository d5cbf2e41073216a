"""From a GELU model to one of two ReLU particles a site: knots taken away while the model trains.

``python examples/knots_removed.py`` trains a small classifier of two spirals, switches it at
certified kernels of 16 particles, and fine-tunes it while their knots are removed, beside the
unchanged model with the same training.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from own_model import spirals

import jaxbarron as jb


def model(layers, x):
    """A plain function: x of shape (n, 2) to logits of shape (n, 3)."""
    for weights, offsets in layers[:-1]:
        x = jax.nn.gelu(x @ weights + offsets)
    return x @ layers[-1][0] + layers[-1][1]


def trained(x, y, steps):
    """Layers after so many steps of Adam."""
    keys, sizes = jax.random.split(jax.random.key(0), 3), (2, 32, 32, 3)
    layers = [
        (jax.random.normal(k, (a, b)) * (1.4 / a) ** 0.5, jnp.zeros(b))
        for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]
    optimiser = optax.adam(1e-2)

    def loss(layers):
        return optax.softmax_cross_entropy_with_integer_labels(model(layers, x), y).mean()

    @jax.jit
    def step(layers, state):
        updates, state = optimiser.update(jax.grad(loss)(layers), state)
        return optax.apply_updates(layers, updates), state

    state = optimiser.init(layers)
    for _ in range(steps):
        layers, state = step(layers, state)
    return layers


def main(steps: int = 200) -> jb.KnotRemoval:
    """Train, remove, and print stage by stage."""
    x, y = spirals(600, seed=0)
    layers = trained(x, y, 3 * steps)
    found = jb.remove_knots(
        model, layers, {"gelu": "relu"}, x, y, to=2,
        options=jb.ReportOptions(finetune_steps=steps),
    )  # fmt: skip
    print("particles  loss above the sham's  accuracy  distance from GELU, at most")
    for stage in found.stages:
        print(
            f"{stage.particles:9}  {stage.excess:22.4f}  {stage.metric:8.3f}  "
            f"{stage.certified:.3g} on {stage.holds_on} ({stage.level})"
        )
    new = jb.switch(model, found.rules)
    accuracy = np.mean(np.asarray(new(found.parameters, x)).argmax(1) == y)
    print(f"the model with two ReLU particles a site: accuracy {accuracy:.3f}")
    return found


if __name__ == "__main__":
    main()
