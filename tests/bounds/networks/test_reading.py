"""Networks read from jaxprs: the graph's values and changes against the functions themselves."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbarron.bounds.networks import adjoints, forms
from jaxbarron.bounds.networks.differential import Analysis
from jaxbarron.bounds.networks.reading import network_of
from jaxbarron.bounds.networks.regions import input_form
from jaxbarron.domains import Box
from jaxbarron.switching import switch
from jaxbarron.switching.end_to_end import end_to_end_bound

RNG = np.random.default_rng(0)
SQUARE = RNG.normal(size=(4, 4)) / 2
WIDE = RNG.normal(size=(4, 6)) / 2
IMAGE, KERNEL = RNG.normal(size=(1, 6, 6, 1)), RNG.normal(size=(3, 3, 1, 2)) / 3
SCALE, SHIFT, MEAN, SPREAD = RNG.normal(size=(4, 6))
LAYERS = RNG.normal(size=(3, 4, 4)) / 2


@pytest.fixture(autouse=True)
def doubles(x64):
    """The comparison with the function itself is in double precision."""


def convolution(x: Any) -> Any:
    numbers = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, KERNEL, (1, 1), "SAME", dimension_numbers=numbers)
    y = jnp.tanh(y)
    y = jax.lax.reduce_window(y, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
    return jnp.pad(y, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, ::2].mean((1, 2))


def batch_norm(x: Any) -> Any:
    y = (x @ WIDE - MEAN) * jax.lax.rsqrt(SPREAD**2 + 1e-5) * SCALE + SHIFT
    return jnp.tanh(y) / 3


def layer_norm(x: Any) -> Any:
    y = jnp.tanh(x @ WIDE)
    y = y - y.mean(-1, keepdims=True)
    return y / jnp.sqrt((y**2).mean(-1, keepdims=True) + 1e-3) * SCALE


def loop(x: Any) -> Any:
    def step(carry, weights):
        new = jnp.tanh(carry @ weights) + carry
        return new, new.sum()

    last, sums = jax.lax.scan(step, x, LAYERS, reverse=True)
    return jnp.concatenate([last, sums])


def attention(x: Any) -> Any:
    y = jnp.tanh(x @ SQUARE)
    scores = jnp.where(jnp.tril(jnp.ones((3, 3), bool)), y @ y.T, -1e9)
    return jax.nn.softmax(scores) @ y


def log_softmax(x: Any) -> Any:
    return jax.nn.log_softmax(jnp.tanh(x @ WIDE))


def moves(x: Any) -> Any:
    y = jnp.tanh(x).T.reshape(2, 6)
    y = jnp.where(np.arange(12).reshape(2, 6) % 3 > 0, y, 0.5)[:, ::-1]
    y = jnp.stack([y[0], y[1][np.array([5, 0, 0, 1, 2, 3])]])
    return jax.lax.dynamic_update_slice(y, jnp.ones((1, 2)), (1, 2)) - jnp.cumsum(y, axis=1)


def arithmetic(x: Any) -> Any:
    y = jnp.tanh(x)
    other = y[::-1]
    return (y * other + jnp.exp(y) / (2 + other**2)) ** 3 - 1 / (3 - y * other)


VECTOR, MATRIX = RNG.normal(size=4), RNG.normal(size=(3, 4))
MODELS = [
    (convolution, IMAGE),
    (batch_norm, VECTOR),
    (layer_norm, VECTOR),
    (loop, VECTOR),
    (attention, MATRIX),
    (log_softmax, VECTOR),
    (moves, MATRIX),
    (arithmetic, VECTOR),
]


@pytest.mark.parametrize(("fn", "x"), MODELS, ids=lambda v: getattr(v, "__name__", "x"))
def test_models_are_bounded_and_tightly(fn: Any, x: np.ndarray) -> None:
    radius, rules = 0.01, {"tanh": "relu"}
    box = Box(x.ravel() - radius, x.ravel() + radius)
    bound = end_to_end_bound(fn, rules, jnp.asarray(x), box=box, tol=1e-2)
    assert bound.ends_at is None
    assert bound.level == "rigorous"
    new = switch(fn, rules, tol=1e-2)
    change = jax.jit(jax.vmap(lambda p: new(p) - fn(p)))
    rng = np.random.default_rng(1)
    found = np.asarray(change(x + radius * rng.uniform(-1, 1, size=(400, *x.shape))))
    assert bound.lower[0].shape == found.shape[1:]
    assert np.all(bound.lower[0] <= found.min(0) + 1e-13)
    assert np.all(found.max(0) <= bound.upper[0] + 1e-13)
    assert bound.largest <= 5 * np.max(np.abs(found))


@pytest.mark.parametrize(("fn", "x"), MODELS[:4], ids=lambda v: getattr(v, "__name__", "x"))
def test_values_of_the_graph_are_those_of_the_function(fn: Any, x: np.ndarray) -> None:
    closed = jax.make_jaxpr(fn)(x)
    network = network_of(closed, [None], [])
    assert network.outputs[0] is not None
    analysis = Analysis(network, input_form(x.ravel(), x.ravel()))
    low, high = forms.interval(analysis.value(network.outputs[0][0]))
    value = np.ravel(fn(x))
    assert np.all(low - 1e-13 <= value)
    assert np.all(value <= high + 1e-13)
    assert np.max(high - low) <= 1e-6


def test_a_maximum_by_itself_has_no_rule() -> None:
    box = Box(VECTOR - 0.1, VECTOR + 0.1)
    for fn in (lambda x: jnp.max(jnp.tanh(x)), lambda x: jnp.tanh(x) - jnp.max(x)):
        bound = end_to_end_bound(fn, {"tanh": "relu"}, VECTOR, box=box, tol=1e-2)
        assert bound.level == "sampled"
        assert "maximum" in str(bound.ends_at)


def test_carried_remainders_change_nothing_but_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box(VECTOR - 0.05, VECTOR + 0.05)
    carried = end_to_end_bound(loop, {"tanh": "relu"}, VECTOR, box=box, tol=1e-2)
    monkeypatch.setattr(adjoints, "_LARGEST", 0)
    plain = end_to_end_bound(loop, {"tanh": "relu"}, VECTOR, box=box, tol=1e-2)
    assert carried.largest <= plain.largest * (1 + 1e-9) <= 1.5 * carried.largest
