"""Functions off the beaten track: each is bounded truly, or its certificate ends and says where."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxbarron.domains import Box
from jaxbarron.switching import switch
from jaxbarron.switching.end_to_end import end_to_end_bound

RNG = np.random.default_rng(0)
VECTOR, MATRIX = RNG.normal(size=4), RNG.normal(size=(3, 4))
IMAGE, FILTERS = RNG.normal(size=(1, 5, 5, 2)), RNG.normal(size=(3, 2, 1, 4))
tanh = jnp.tanh


@pytest.fixture(autouse=True)
def doubles(x64):
    """Attacks in double precision."""


def maxima_as_integers(x: Any) -> Any:
    y = 3 * tanh(x)
    peak = jnp.max(y)
    return jnp.exp(y - peak.astype(jnp.int32).astype(y.dtype)) / jnp.sum(jnp.exp(y - peak))


def maxima_in_a_loop(x: Any) -> Any:
    return lax.scan(lambda c, _: (tanh(c), jnp.max(c)), x, None, length=2)


def maxima_as_slices(x: Any) -> Any:
    peaks = jnp.max(jnp.stack([x, 2 * x]), axis=0)
    return lax.scan(lambda c, a: (tanh(c) + a, None), x.sum(), peaks)[0]


def close_comparison(x: Any, a: Any) -> Any:
    third = a / 3  # no double
    return jnp.where(third + third + third == a, 2 * tanh(x), tanh(x))


def clear_comparison(x: Any, a: Any) -> Any:
    return jnp.where(a * 0.1 < 0.2, 2 * tanh(x), x)


def inexact_counter(x: Any, a: Any) -> Any:
    return lax.while_loop(lambda s: s[0] < 0.35, lambda s: (s[0] + 0.1 * a, tanh(s[1])), (0 * a, x))


def finiteness(x: Any, a: Any) -> Any:
    return jnp.where(jnp.isfinite(a * 0.3), tanh(x), 9.0)


def no_steps(x: Any) -> Any:
    return lax.scan(lambda c, _: (tanh(c), c), tanh(x), None, length=0)


def empty_arrays(x: Any) -> Any:
    return jnp.concatenate([tanh(x[:0]), tanh(x)]), jnp.sum(jnp.exp(x[:0])) + tanh(x).sum()


def random_mask(x: Any) -> Any:
    return tanh(x) * jax.random.bernoulli(jax.random.key(0), 0.5, x.shape)


def key_as_argument(x: Any, key: Any) -> Any:
    return tanh(x) * jax.random.uniform(key, x.shape)


def large_integers(x: Any, n: Any) -> Any:
    return tanh(x) * (n.astype(x.dtype) - 2.0**60)


def an_integer_too_small(x: Any, a: Any) -> Any:
    return tanh(x) * a.astype(jnp.int8)


def exact_choices(x: Any, a: Any) -> Any:
    return tanh(x)[jnp.argsort(a)], tanh(x) * (a - jnp.max(a)), jnp.floor(a) * tanh(x)


def counted(x: Any) -> Any:
    return lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, tanh(s[1]) * s[0]), (0, x))


def large_logits(x: Any) -> Any:
    return jax.nn.softmax(3000 * tanh(x))


def masked_logits(x: Any) -> Any:
    return jax.nn.softmax(jnp.where(np.tri(3, 4) > 0, tanh(x), -jnp.inf))


def tiny_variance(x: Any) -> Any:
    y = tanh(x) - tanh(x).mean(-1, keepdims=True)
    return y * lax.rsqrt((y * y).mean(-1, keepdims=True) + 1e-12)


def sums_with_holes(x: Any) -> Any:
    edges = ((0, 0), (1, 0), (2, 1), (0, 0))
    return lax.reduce_window(tanh(x), 0.0, lax.add, (1, 2, 2, 1), (1, 1, 1, 1), edges,
                             base_dilation=(1, 2, 1, 1), window_dilation=(1, 1, 2, 1))  # fmt: skip


def sparse_convolution(x: Any) -> Any:
    return lax.conv_general_dilated(
        tanh(x), FILTERS, (2, 1), ((1, 2), (0, 3)), lhs_dilation=(2, 1), rhs_dilation=(1, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2)  # fmt: skip


def beyond_the_branches(x: Any, n: Any) -> Any:
    return lax.switch(n, [tanh, jnp.sin, lambda y: 2 * tanh(y)], x), lax.dynamic_slice(
        tanh(x), (n,), (2,)
    )


def near_a_root(x: Any) -> Any:
    return jnp.sqrt(x * x) * tanh(x), jnp.sqrt(tanh(x) + 1.2)


def tiny_scales(x: Any) -> Any:
    return tanh(x * 1e-300) * 1e300, tanh(x) * 1e-310


CASES: list[tuple[Any, Any, tuple[Any, ...], str | None]] = [
    (maxima_as_integers, VECTOR, (), "convert_element_type"),
    (maxima_in_a_loop, VECTOR, (), "maximum"),
    (maxima_as_slices, VECTOR, (), "maximum"),
    (close_comparison, VECTOR, (np.float64(0.7),), "eq"),
    (clear_comparison, VECTOR, (np.float64(1.3),), None),
    (inexact_counter, VECTOR, (np.float64(1.3),), None),
    (finiteness, VECTOR, (np.float64(1.3),), None),
    (no_steps, VECTOR, (), None),
    (empty_arrays, VECTOR, (), None),
    (random_mask, VECTOR, (), None),
    (key_as_argument, VECTOR, (jax.random.key(1),), None),
    (large_integers, VECTOR, (np.int64(2**60 + 1),), None),
    (an_integer_too_small, VECTOR, (np.float64(300.7),), "convert_element_type"),
    (exact_choices, VECTOR, (np.array([1.5, -1.0, 0.0, 2.5]),), None),
    (counted, VECTOR, (), None),
    (large_logits, MATRIX, (), "exp"),
    (masked_logits, MATRIX, (), None),
    (tiny_variance, MATRIX, (), "rsqrt"),
    (sums_with_holes, IMAGE, (), None),
    (sparse_convolution, IMAGE, (), None),
    (beyond_the_branches, VECTOR, (np.int32(7),), None),
    (near_a_root, VECTOR, (), "sqrt"),
    (tiny_scales, VECTOR, (), None),
]


@pytest.mark.parametrize(
    ("fn", "x", "others", "end"), CASES, ids=lambda v: getattr(v, "__name__", "-")
)
def test_true_or_ended(fn: Any, x: np.ndarray, others: tuple[Any, ...], end: str | None) -> None:
    radius, rules = 0.3 if fn is not masked_logits else 0.01, {"tanh": "relu"}
    box = Box(x.ravel() - radius, x.ravel() + radius)
    bound = end_to_end_bound(fn, rules, jnp.asarray(x), *others, box=box, tol=1e-2)
    assert (bound.ends_at is None) == (end is None)
    assert (bound.level == "rigorous") == (end is None)
    assert str(end or "") in str(bound.ends_at)
    new = switch(fn, rules, tol=1e-2)
    points = jnp.asarray(x + radius * RNG.uniform(-1, 1, size=(40, *x.shape)))
    old = jax.vmap(lambda p: fn(p, *others))(points)
    switched = jax.vmap(lambda p: new(p, *others))(points)
    leaves = zip(*map(jax.tree.leaves, (old, switched)), bound.lower, bound.upper, strict=True)
    for before, after, lower, upper in leaves:
        change = np.asarray(after, np.float64) - np.asarray(before, np.float64)
        slack = 1e-13 * (1 + np.max(np.abs(np.asarray(before)), initial=0))
        assert np.all(lower - slack <= change)
        assert np.all(change <= upper + slack)
