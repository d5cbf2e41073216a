"""Factories of models, right and wrong, and metrics: for test_own_model.py.

Each returns what ``jaxbarron switch --model nets:NAME`` asks for, or what it must refuse.
"""

import random
import sys

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

W = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def logits(parameters, x):
    return jax.nn.gelu(x @ parameters)


def good():
    return logits, W


def regression():
    return (lambda w, x: jax.nn.silu(x @ w)), W


def two_kinds():
    return (lambda w, x: jnp.tanh(jax.nn.gelu(x @ w))), W


def per_token():
    return (lambda w, x: jax.nn.gelu(x @ w)), W


def steered():
    parameters = {"w": W, "depth": 1, "name": "net"}
    return (lambda p, x: jax.nn.gelu(x @ p["w"]) if p["depth"] == 1 else 0 / 0), parameters


def whole_equinox():
    model = eqx.nn.MLP(3, 4, 8, 1, activation=jax.nn.gelu, key=jax.random.key(0))
    return (lambda model, x: jax.vmap(model)(x)), model


def fixed_batch():
    return (lambda w, x: jax.nn.gelu(x.reshape(8, 3) @ w)), W


def chatty():
    print("made")

    def apply(w, x):
        print("called")
        return logits(w, x)

    return apply, W


class Holder:
    @staticmethod
    def make():
        return logits, W


# wrong
number = 3


def fails():
    raise KeyError("no checkpoint\nsecond line")


def exits():
    sys.exit(3)


def needs(path):
    return logits, path


def single():
    return logits


def swapped():
    return W, logits


def triple():
    return logits, W, None


def nan():
    return (lambda w, x: jnp.log(-jnp.abs(logits(w, x)) - 1)), W


def late_nan():
    return (lambda w, x: logits(w, x) / (x[:, :1] < 100)), W


def pair_out():
    return (lambda w, x: (logits(w, x), x)), W


def dict_out():
    return (lambda w, x: {"logits": logits(w, x)}), W


def no_rows():
    return (lambda w, x: logits(w, x).sum(0)), W


def one_example():
    return (lambda w, x: logits(w, x)[None] if x.ndim == 1 else 1 / 0), W


def complex_out():
    return (lambda w, x: logits(w, x) * 1j), W


def no_activation():
    return (lambda w, x: x @ w), W


def to_numpy():
    return (lambda w, x: np.tanh(np.asarray(x) @ np.asarray(w))), W


class Drop(nnx.Module):
    def __init__(self, rngs):
        self.linear, self.drop = nnx.Linear(3, 4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.drop(jax.nn.gelu(self.linear(x)))


def nnx_dropout():
    graph, state = nnx.split(Drop(nnx.Rngs(0)))
    return (lambda state, x: nnx.merge(graph, state)(x)), state


def nnx_closure():
    model = Drop(nnx.Rngs(0))
    return (lambda _, x: model(x)), None


def nnx_eval():
    model = Drop(nnx.Rngs(0))
    model.eval()
    return (lambda _, x: model(x)), None


class LinenDrop(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.Dropout(0.5, deterministic=not train)(jax.nn.gelu(nn.Dense(4)(x)))


def linen_dropout():
    model = LinenDrop()
    v = model.init(jax.random.key(0), jnp.ones((1, 3)), train=False)
    return (lambda v, x: model.apply(v, x, train=True, rngs={"dropout": jax.random.key(1)})), v


def unused_key():
    def apply(w, x):
        jax.random.normal(jax.random.key(0), (3,))
        return logits(w, x)

    return apply, W


def in_a_loop():
    def body(k, x):
        return x * jax.random.bernoulli(jax.random.key(k), 0.9, x.shape)

    return (lambda w, x: jax.lax.fori_loop(0, 2, body, logits(w, x))), W


def numpy_noise():
    return (lambda w, x: logits(w, x) + np.float32(random.gauss(0, 1))), W


def batch_norm():
    model = nnx.BatchNorm(3, rngs=nnx.Rngs(0))
    return (lambda w, x: logits(w, model(x))), W


def rms(outputs, labels):
    return np.sqrt(np.mean((outputs[:, 0] - labels) ** 2))


def jax_metric(outputs, labels):
    return jnp.mean(outputs[:, 0]).astype(jnp.bfloat16)


def destroys(outputs, labels):
    outputs[:] = 0
    labels[:] = 0
    return 1.0


def nan_metric(outputs, labels):
    return float("nan")


def none_metric(outputs, labels):
    return None


def text_metric(outputs, labels):
    return "0.9"


def vector_metric(outputs, labels):
    return outputs.mean(0)


def failing_metric(outputs, labels):
    raise RuntimeError("no reference")
