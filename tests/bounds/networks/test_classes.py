"""Which margins a switch can overturn, and inputs in balls: certified, then attacked."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxbarron.activations import activation
from jaxbarron.bounds.networks import classes as module
from jaxbarron.bounds.networks import forms
from jaxbarron.bounds.networks.bound import network_difference
from jaxbarron.bounds.networks.cells import Cells, Pair
from jaxbarron.bounds.networks.classes import smallest_margin
from jaxbarron.bounds.networks.graph import Affine, Elementwise, Input, Network, Site
from jaxbarron.bounds.networks.maps import Sparse
from jaxbarron.bounds.replacements import Spline, exact_particles
from jaxbarron.domains import Ball, Box
from jaxbarron.errors import UsageError
from jaxbarron.switching import switch
from jaxbarron.switching.end_to_end import end_to_end_bound


@pytest.fixture(autouse=True)
def doubles(x64):
    """Attacks in double precision."""


def classifier(seed: int, sizes: tuple[int, ...] = (3, 24, 24, 4)) -> Any:
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=s) / np.sqrt(s[0]) for s in itertools.pairwise(sizes)]

    def fn(x: Any) -> Any:
        for weights in layers[:-1]:
            x = jax.nn.gelu(2 * x @ weights, approximate=False)
        return x @ layers[-1]

    return fn


RULES: dict[Any, Any] = {"gelu": "relu"}
DEMAND: dict[str, Any] = {"direct": True}


def lost_margins(fn: Any, points: Any, delta: Any = 0.0) -> np.ndarray:
    """The original's margins at the points where the switched model has another class."""
    old = np.asarray(jax.vmap(fn)(points))
    new = np.asarray(jax.vmap(switch(fn, RULES, **DEMAND))(points))
    ordered = np.sort(old, axis=-1)
    margins = ordered[..., -1] - ordered[..., -2]
    return margins[old.argmax(-1) != new.argmax(-1)]


def points_of(box: Box, count: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    low, high = np.asarray(box.lower), np.asarray(box.upper)
    return low + (high - low) * rng.uniform(size=(count, low.size))


@pytest.mark.parametrize("seed", range(3))
def test_no_class_changes_beyond_the_margin(seed: int) -> None:
    fn, box = classifier(seed), Box([-0.2] * 3, [0.2] * 3)
    bound = end_to_end_bound(fn, RULES, jnp.zeros(3), box=box, classes=True, **DEMAND)
    found = bound.classes
    assert found is not None
    assert not found.same  # all classes meet at 0, where no output is larger than another
    lost = lost_margins(fn, points_of(box, 20_000, seed))
    assert lost.size > 0
    assert lost.max() < found.largest_delta <= 12 * lost.max()
    assert found.largest_delta < 2 * bound.largest  # one sum, not two bounds


def test_the_same_class_everywhere() -> None:
    fn = classifier(1)
    x = jnp.array([0.9, -0.7, 0.8])
    box = Box(x - 0.02, x + 0.02)
    bound = end_to_end_bound(fn, {"gelu": "relu"}, x, box=box, classes=True, tol=1e-3)
    assert bound.classes is not None
    assert bound.classes.same
    assert bound.classes.possible.sum() == 1
    assert np.argmax(fn(x)) == np.argmax(bound.classes.possible)


def test_rows_are_classified_each() -> None:
    fn = classifier(1)
    x = jnp.array([[0.9, -0.7, 0.8], [0.0, 0.0, 0.0]])
    box = Box(x.ravel() - 0.02, x.ravel() + 0.02)
    bound = end_to_end_bound(fn, {"gelu": "relu"}, x, box=box, classes=True, tol=1e-3)
    assert bound.classes is not None
    assert bound.classes.delta.shape == (2,)
    assert bound.classes.delta[0] == 0 < bound.classes.delta[1]
    assert not bound.classes.same


def test_a_halved_bound_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def fn(x: Any) -> Any:
        return jnp.concatenate([jnp.array([-0.05]), jax.nn.gelu(x, approximate=False)])

    def delta() -> float:
        options: dict[str, Any] = {"box": Box([-1.0], [-0.5]), "classes": True, **DEMAND}
        found = end_to_end_bound(fn, RULES, jnp.zeros(1), **options).classes
        assert found is not None
        return found.largest_delta

    lost = lost_margins(fn, np.linspace(-1.0, -0.5, 500)[:, None]).max()
    assert lost < delta() <= 1.03 * lost
    margin = module.smallest_margin
    monkeypatch.setattr(module, "smallest_margin", lambda u, a: margin(u, a / 2))
    assert lost > delta()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_the_margin_in_the_abstract(seed: int) -> None:
    """Every f and d within their bounds, with no network around them."""
    rng = np.random.default_rng(seed)
    centre, width = rng.normal(size=4), rng.uniform(0, 1, 4)
    reach = rng.uniform(0, 0.5, 4)
    change = reach[:, None] + reach
    low = (centre - width)[:, None] - (centre + width)
    high = (centre + width)[:, None] - (centre - width)
    off = ~np.eye(4, dtype=bool)
    leads = np.where(off, high, np.inf).min(1)
    falls = np.where(off & (low - change <= 0), change, -np.inf).max(1)
    delta = smallest_margin(leads, falls)
    f = centre + width * rng.uniform(-1, 1, (500, 4))
    d = reach * rng.uniform(-1, 1, (500, 4))
    ordered = np.sort(f, axis=1)
    kept = ordered[:, -1] - ordered[:, -2] >= delta
    assert np.array_equal(f.argmax(1)[kept], (f + d).argmax(1)[kept])


@pytest.mark.parametrize("norm", [1, 2, np.inf])
def test_balls_hold_and_are_sharper_than_their_boxes(norm: float) -> None:
    fn, radius = classifier(2, (8, 16, 16, 2)), 0.1
    x = jnp.asarray(np.random.default_rng(0).normal(size=8))
    rules: dict[Any, Any] = {"gelu": "relu"}
    ball = end_to_end_bound(fn, rules, x, ball=Ball(radius, ord=norm), particles=12)
    box = end_to_end_bound(fn, rules, x, box=Box(x - radius, x + radius), particles=12)
    rng = np.random.default_rng(1)
    u = rng.normal(size=(3000, 8))
    u[:1000] *= np.eye(8)[rng.integers(0, 8, 1000)]
    u /= np.linalg.norm(u, ord=norm, axis=1, keepdims=True)
    points = x + radius * u
    new = switch(fn, rules, particles=12)
    change = np.asarray(jax.vmap(lambda p: new(p) - fn(p))(points))
    assert np.all(ball.lower[0] <= change.min(0) + 1e-13)
    assert np.all(change.max(0) <= ball.upper[0] + 1e-13)
    widths = [np.max(b.upper[0] - b.lower[0]) for b in (ball, box)]
    assert widths[0] <= widths[1] * (0.95 if norm < np.inf else 1 + 1e-9)


def test_a_dual_norm_too_small_is_caught() -> None:
    slopes = np.array([[3.0], [4.0], [1.0]])
    zero = np.zeros(1)
    sizes = [
        float(forms.total(forms.form_of(zero, slopes, zero, group=group))[0])
        for group in (None, forms.Group(2, 2), forms.Group(2, 1), forms.Group(9, 2))
    ]
    assert np.allclose(sizes, [8.0, 6.0, 5.0, np.sqrt(26.0)])
    assert np.all(np.asarray(sizes) > [8.0, 6.0, 5.0, np.sqrt(26.0)])


def test_a_region_is_asked_for() -> None:
    for options in ({}, {"box": Box([0.0], [1.0]), "ball": Ball(1.0)}):
        with pytest.raises(UsageError, match="box and ball"):
            end_to_end_bound(jnp.tanh, {"tanh": "relu"}, jnp.zeros(1), tol=0.1, **options)


def last_layer(weights: Any, bias: Any) -> Network:
    """relu, replaced by half of it, and an affine map of extreme size."""
    pair = Pair(activation("relu").program, Spline(exact_particles([0.5], [1.0], [0.0]), 1))
    matrix = scipy.sparse.csr_array(np.asarray(weights, float).reshape(-1, 1))
    size = matrix.shape[0]
    last = Affine(size, ((1, Sparse(matrix)),), np.asarray(bias, float), np.zeros(size))
    nodes = (Input(1), Elementwise(1, 0, Cells(pair), 0, "relu", -np.inf), last)
    return Network(nodes, ((2, (size,)),), (Site("relu", pair),), None)


@pytest.mark.parametrize("bias", [[0.0, np.nan, 0.1], [np.nan] * 3, [0.9e308, 0.9e308, -1.2e308]])
def test_no_class_is_excluded_by_a_number_that_overflows(bias: Any) -> None:
    network = last_layer([1.0, 0.0, 0.5], bias)
    found = network_difference(network, Box((0.0,), (1.0,)), classes=True)
    assert found.level == "rigorous"  # of the differences: no bias enters
    assert found.classes is None


def test_a_single_class_is_always_the_same() -> None:
    found = network_difference(last_layer([1.0], [0.0]), Box((0.0,), (1.0,)), classes=True)
    assert found.classes is not None
    assert found.classes.same
    assert found.classes.change == 0
    assert found.classes.possible.all()
