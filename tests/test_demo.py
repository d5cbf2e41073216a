"""The demo's model and data, and what is measured on a switch."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbarron.demo import digits, initial_model, train
from jaxbarron.errors import NonFiniteError, ShapeError, UsageError
from jaxbarron.switching import find_activations
from jaxbarron.switching.validate import (
    Comparison,
    LatencyRatio,
    compare_models,
    judge,
    paired_latency,
)


def test_the_split_holds_every_image_once():
    data = digits()
    assert data.x.shape == (1437, 64)
    assert data.x_validation.shape == (360, 64)
    assert data.x.dtype == np.float32
    assert data.x.min() == 0
    assert data.x.max() == 1
    assert set(data.y_validation) == set(range(10))


def test_training_is_repeatable_and_learns():
    data, seen = digits(), []
    first = train(initial_model(3), data, seed=3, epochs=3, progress=lambda *x: seen.append(x))
    second = train(initial_model(3), data, seed=3, epochs=3)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    jax.tree.map(np.testing.assert_array_equal, first.parameters, second.parameters)
    logits = first.apply(first.parameters, data.x_validation)
    assert np.mean(np.argmax(logits, 1) == data.y_validation) > 0.85
    sites = find_activations(first.apply, first.parameters, jnp.asarray(data.x_validation))
    assert [site.name for site in sites] == ["gelu_tanh", "gelu_tanh"]


def test_compare_counts_what_changed():
    logits = jnp.eye(4) * 3
    x, y = logits, jnp.arange(4)
    seen = compare_models(lambda x: x, lambda x: x.at[0].set(jnp.array([0.0, 5, 0, 0])), x, y)
    assert (seen.before, seen.after, seen.changed) == (1.0, 0.75, 1)
    assert seen.changed_share == seen.lost == 0.25
    assert seen.largest_change == 5
    assert seen.largest_output == 3


def test_compare_refuses_what_has_no_meaning():
    x, y = jnp.ones((3, 2)), jnp.zeros(3, int)
    with pytest.raises(ShapeError):
        compare_models(lambda x: x, lambda x: x[:, 0], x, y)
    with pytest.raises(ShapeError):
        compare_models(lambda x: x, lambda x: x, x, y[:2])
    with pytest.raises(ShapeError):
        compare_models(lambda x: x, lambda x: x, x[:0], y[:0])
    with pytest.raises(NonFiniteError):
        compare_models(lambda x: x, lambda x: x * jnp.nan, x, y)


def test_latency_finds_the_slower_function():
    def slow(x):
        time.sleep(0.01)
        return x

    def slower(x):
        time.sleep(0.03)
        return x

    ratio = paired_latency(slow, slower, np.ones(3), pairs=5)
    assert ratio.lower_quartile <= ratio.median <= ratio.upper_quartile
    assert 1.5 < ratio.median < 6
    assert paired_latency(slower, slow, np.ones(3), pairs=3).median < 1
    with pytest.raises(UsageError):
        paired_latency(slow, slow, np.ones(3), pairs=0)


def _latency(median):
    return LatencyRatio(median, median, median, 1e-3, 1e-3, 9)


def _comparison(after):
    return Comparison(1000, 0.97, after, 1e-3, 9.0, 1)


@pytest.mark.parametrize(
    ("after", "ratio", "errors", "levels", "outcome"),
    [
        (0.970, 1.00, [1e-4], ["rigorous"], "switch"),
        (0.968, 1.05, [1e-4], ["rigorous"], "switch"),
        (0.970, 1.30, [1e-4], ["rigorous"], "switch at a cost"),
        (0.960, 1.00, [1e-4], ["rigorous"], "fine-tune"),
        (0.970, 1.00, [1e-4, 2e-3], ["rigorous"] * 2, "do not switch"),
        (0.970, 1.00, [float("nan")], ["rigorous"], "do not switch"),
        (0.970, 1.00, [1e-4, 1e-4], ["rigorous", "float"], "do not switch"),
    ],
)
def test_the_verdict_follows_its_rule(after, ratio, errors, levels, outcome):
    verdict = judge(_comparison(after), _latency(ratio), errors, levels, tol=1e-3)
    assert verdict.outcome == outcome
    assert "0.001" in verdict.rule


def test_a_verdict_without_tolerance_still_asks_for_a_finite_error():
    assert judge(_comparison(0.97), _latency(1), [0.2], ["rigorous"]).outcome == "switch"
    infinite = judge(_comparison(0.97), _latency(1), [float("inf")], ["rigorous"])
    assert infinite.outcome == "do not switch"
