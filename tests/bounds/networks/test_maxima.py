"""Maxima that cancel, and choices that depend on the input: a rule, or an end with a name."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbarron.domains import Box
from jaxbarron.switching import switch
from jaxbarron.switching.end_to_end import end_to_end_bound

RNG = np.random.default_rng(2)
FIRST, SECOND = RNG.normal(size=(3, 6)), RNG.normal(size=(6, 8)) / 2


@pytest.fixture(autouse=True)
def doubles(x64):
    """Changes are observed in double precision."""


def logits(x: Any) -> Any:
    return (jnp.tanh(x @ FIRST) @ SECOND).reshape(2, 4)


def bounded(fn: Any) -> tuple[Any, Any]:
    x = np.full(3, 0.2)
    box = Box(x - 0.1, x + 0.1)
    bound = end_to_end_bound(fn, {"tanh": "relu"}, x, box=box, particles=6)
    new = switch(fn, {"tanh": "relu"}, particles=6)
    points = x + 0.1 * RNG.uniform(-1, 1, size=(4000, 3))
    return bound, np.asarray(jax.jit(jax.vmap(lambda z: new(z) - fn(z)))(points))


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: jax.nn.logsumexp(logits(x), axis=-1),
        lambda x: jax.nn.logsumexp(logits(x), axis=(0, 1)),
        lambda x: logits(x) - jax.nn.logsumexp(logits(x), axis=-1, keepdims=True),
        lambda x: jax.nn.log_softmax(logits(x)),
        lambda x: jax.nn.logsumexp(0.3 * logits(x), axis=0),
    ],
)
def test_logarithms_of_sums_of_exponentials_are_bounded(fn: Any):
    bound, change = bounded(fn)
    assert bound.level == "rigorous"
    assert np.all(bound.lower[0] <= change.min(axis=0))
    assert np.all(change.max(axis=0) <= bound.upper[0])
    assert bound.largest < 40 * np.abs(change).max()


@pytest.mark.parametrize(
    ("fn", "word"),
    [
        (lambda x: jnp.where(logits(x) > 0.1, logits(x), 0.0), "gt"),
        (lambda x: jnp.maximum(logits(x), jnp.arange(8.0).reshape(2, 4)), "max"),
        (lambda x: jnp.maximum(logits(x), logits(x)[::-1]), "max"),
        (lambda x: jnp.max(logits(x), axis=-1), "maximum"),
        (lambda x: logits(x) + jnp.max(logits(x), axis=-1, keepdims=True), "maximum"),
        (lambda x: jnp.log(jnp.sum(jnp.exp(logits(x) - jnp.max(logits(x), -1)[:, None]), 0)), ""),
        (lambda x: jax.nn.logsumexp(logits(x), axis=-1) + jnp.max(logits(x)), "maximum"),
        (lambda x: jnp.sort(logits(x)), "sort"),
    ],
)
def test_where_there_is_no_rule_the_certificate_ends_and_says_so(fn: Any, word: str):
    bound, _ = bounded(fn)
    assert bound.level == "sampled"
    assert bound.ends_at is not None
    assert word in bound.ends_at
    assert bound.largest == float("inf")
