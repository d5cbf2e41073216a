"""Masks, maxima and numbers that are not finite: bounded truly, or nothing is claimed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax import lax

from jaxbarron.bounds.networks import masks
from jaxbarron.domains import Box
from jaxbarron.switching import switch
from jaxbarron.switching.end_to_end import end_to_end_bound

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(3, 6)), RNG.normal(size=(6, 8)) / 2
INPUT = np.full(3, 0.2)
SOME = np.array([[1, 1, 0, 1], [0, 1, 1, 0]], bool)
FIRST_ROW = np.array([[1, 1, 0, 1], [0, 0, 0, 0]], bool)


@pytest.fixture(autouse=True)
def doubles(x64):
    """Attacks in double precision."""


def logits(x: Any) -> Any:
    return (jnp.tanh(x @ FIRST) @ SECOND).reshape(2, 4)


def masked(x: Any, mask: Any = SOME, value: float = -np.inf) -> Any:
    return jnp.where(mask, logits(x), value)


def top(y: Any) -> Any:
    return jnp.max(y, axis=-1, keepdims=True)


def attention(x: Any, **options: Any) -> Any:
    heads = logits(x).reshape(1, 4, 1, 2)
    return jnp.tanh(jax.nn.dot_product_attention(heads, 2 * heads[:, ::-1], heads, **options))


def attack(fn: Any, radius: float, steps: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest change found: random points, then ascent."""
    new = switch(fn, {"tanh": "relu"}, particles=6)
    change = jax.vmap(lambda x: jnp.ravel(new(x) - fn(x)))
    points = INPUT + radius * np.random.default_rng(1).uniform(-1, 1, size=(120, 3))
    count = jax.eval_shape(change, points).shape[1]
    columns, signs = np.arange(120) % count, np.where(np.arange(120) // count % 2 == 0, 1.0, -1.0)

    def ascent(points: Any) -> tuple[Any, Any]:
        found, pull = jax.vjp(change, points)
        (slope,) = pull(jnp.zeros_like(found).at[np.arange(120), columns].set(signs))
        points = points + 0.3 * radius * jnp.sign(slope)
        return jnp.clip(points, INPUT - radius, INPUT + radius), found

    step, found = jax.jit(ascent), []
    for _ in range(steps):
        points, values = step(points)
        found.append(np.asarray(values))
    everything = np.concatenate(found)
    return everything.min(axis=0), everything.max(axis=0)


def bounded(fn: Any, radius: float = 0.1) -> Any:
    box = Box(INPUT - radius, INPUT + radius)
    return end_to_end_bound(fn, {"tanh": "relu"}, INPUT, box=box, particles=6)


def less_a_known_number(x: Any) -> Any:
    y = logits(x)
    peak = top(y)
    return jnp.exp(y - peak) / jnp.exp(np.ones((2, 1)) - peak)


# dot_product_attention takes its softmax in float32
SINGLE = 3e-6
TRUE = {
    "softmax": (lambda x: jax.nn.softmax(logits(x), where=SOME), 0.1),
    "softmax of no row": (lambda x: jax.nn.softmax(logits(x), where=SOME, axis=0)[:, :2], 0.1),
    "log_softmax": (
        lambda x: jnp.where(SOME, jax.nn.log_softmax(logits(x), where=SOME), 0.0), 0.3),
    "logsumexp": (lambda x: jax.nn.logsumexp(3 * logits(x), where=SOME, axis=-1), 0.1),
    "masked logsumexp": (lambda x: jax.nn.logsumexp(masked(x), axis=-1), 0.01),
    "nested": (lambda x: jax.nn.logsumexp(jax.nn.logsumexp(2 * logits(x), axis=0) - x[0]), 0.1),
    "all axes": (lambda x: jax.nn.logsumexp(logits(x) + 10, axis=(0, 1), keepdims=True), 0.3),
    "scores": (lambda x: jax.nn.softmax(masked(x) / 3) @ jnp.tanh(logits(x)).T, 0.3),
    "an added mask": (
        lambda x: jax.nn.softmax(logits(x) + np.where(SOME, 0, -np.inf)) @ SECOND[:4], 0.01),
    "large numbers": (lambda x: jax.nn.softmax(masked(x, value=-1e9)), 0.1),
    "causal attention": (lambda x: attention(x, is_causal=True), 0.03),
    "less a known number": (less_a_known_number, 0.3),
}  # fmt: skip


@pytest.mark.parametrize("case", TRUE)
def test_no_attack_breaks_the_bound(case: str) -> None:
    fn, radius = TRUE[case]
    bound, (least, most) = bounded(fn, radius), attack(fn, radius)
    assert bound.level == "rigorous"
    slack = SINGLE if "attention" in case else 1e-13
    assert np.all(bound.lower[0].ravel() <= least + slack)
    assert np.all(most <= bound.upper[0].ravel() + slack)
    assert bound.largest < 40 * max(np.abs(least).max(), np.abs(most).max())


def test_changes_of_nearly_equal_logarithms_in_many_digits() -> None:
    def fn(x: Any) -> Any:
        y = logits(x)
        wide = jnp.concatenate([y, y[:, :1] - 30], axis=1)
        return jax.nn.logsumexp(wide, axis=-1) - jax.nn.logsumexp(y, axis=-1)

    def exact(y: Any) -> list[Any]:
        rows = [[mpmath.mpf(float(t)) for t in row] for row in y]
        return [mpmath.log1p(mpmath.exp(row[0] - 30) / sum(map(mpmath.exp, row))) for row in rows]

    bound = bounded(fn)
    assert bound.level == "rigorous"
    new = switch(logits, {"tanh": "relu"}, particles=6)
    with mpmath.workdps(40):
        for x in INPUT + 0.1 * RNG.uniform(-1, 1, size=(40, 3)):
            change = [b - a for a, b in zip(exact(logits(x)), exact(new(x)), strict=True)]
            for low, d, high in zip(bound.lower[0], change, bound.upper[0], strict=True):
                assert low <= d <= high


def test_a_planted_fault_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = masks.selection
    monkeypatch.setattr(masks, "selection", lambda _, size: honest(np.arange(size), size))
    # what is gone counts as exp(0)
    with pytest.raises(AssertionError):
        test_no_attack_breaks_the_bound("masked logsumexp")


def shifted_by_no_number(x: Any) -> Any:
    peak = top(masked(x, FIRST_ROW))  # -inf in the second row: inf - inf
    return (logits(x) - peak) - (jnp.sin(logits(x)) - peak)


def convolved(x: Any) -> Any:
    return lax.conv_general_dilated(masked(x)[None, None], jnp.zeros((1, 1, 1, 1)), (1, 1), "SAME")


def shifted_apart(x: Any) -> Any:
    y = logits(x)
    return jnp.exp(y - jnp.max(y)) / jnp.exp(y - top(y)).sum()


MASK, ROW = "that a mask made infinite", "a mask made all infinite"
NO_NUMBERS = {
    "a row of nothing": (lambda x: jax.nn.softmax(masked(x, FIRST_ROW)), ROW),
    "softmax over nothing": (lambda x: jax.nn.softmax(logits(x), where=FIRST_ROW), ROW),
    "logsumexp over nothing": (
        lambda x: jax.nn.logsumexp(logits(x), where=FIRST_ROW, axis=-1), ROW),
    "a row of large numbers": (lambda x: jax.nn.softmax(masked(x, FIRST_ROW, -1e9)), "div"),
    "finiteness of a masked row": (
        lambda x: jnp.where(jnp.isfinite(top(masked(x, FIRST_ROW))), logits(x), 0.0), ROW),
    "log_softmax as it is": (lambda x: jax.nn.log_softmax(logits(x), where=SOME), MASK),
    "a mask that the input makes": (
        lambda x: jax.nn.softmax(logits(x), where=logits(x) > 0.1), "gt"),
    "weights of either sign": (
        lambda x: jax.nn.logsumexp(logits(x), b=SECOND[:1, :4], axis=-1), "sign"),
    "two maxima": (shifted_apart, "reduce_sum"),
    "an infinite output": (masked, MASK),
    "a masked activation": (lambda x: jnp.tanh(masked(x)), MASK),
    "its negative": (lambda x: jnp.exp(-masked(x)), "neg: of numbers " + MASK),
    "a NaN beside": (lambda x: masked(x, value=np.nan), "select_n"),
    "infinity beside": (lambda x: jnp.exp(masked(x, value=np.inf)), "select_n"),
    "a NaN that is known": (lambda x: (logits(x), jnp.full(3, jnp.nan)), "not finite"),
    "zero times infinity": (lambda x: masked(x) * SOME, "mul"),
    "a mask that is multiplied": (lambda x: logits(x) + (1 - SOME) * np.float64(-np.inf), "add"),
    "a convolution": (convolved, "conv_general_dilated"),
    "a product with zeros": (lambda x: masked(x) @ jnp.zeros((4, 2)), "dot_general"),
    "padding": (lambda x: jnp.pad(logits(x), 1, constant_values=-jnp.inf), MASK),
    "weights": (lambda x: logits(x) @ jnp.full((4, 1), jnp.inf), "dot_general"),
    "factors": (lambda x: logits(x) * jnp.where(SOME, 1.0, jnp.inf), "mul"),
    "a shift by no number": (shifted_by_no_number, ROW),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_NUMBERS)
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_of_what_is_no_real_number_nothing_is_claimed(case: str) -> None:
    fn, word = NO_NUMBERS[case]
    bound = bounded(fn)
    assert bound.level == "sampled"
    assert word in str(bound.ends_at)
    assert np.isinf(bound.lower[-1]).all()
    assert np.isinf(bound.upper[-1]).all()
