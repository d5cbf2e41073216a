"""Masks, maxima and numbers that are not finite: bounded truly, or nothing is claimed."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxbarron.domains import Box
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


def bounded(fn: Any) -> Any:
    box = Box(INPUT - 0.1, INPUT + 0.1)
    return end_to_end_bound(fn, {"tanh": "relu"}, INPUT, box=box, particles=6)


def top(y: Any) -> Any:
    return jnp.max(y, axis=-1, keepdims=True)


def shifted_by_no_number(x: Any) -> Any:
    peak = top(masked(x, FIRST_ROW))  # -inf in the second row: inf - inf
    return (logits(x) - peak) - (jnp.sin(logits(x)) - peak)


def convolved(x: Any) -> Any:
    return lax.conv_general_dilated(masked(x)[None, None], jnp.zeros((1, 1, 1, 1)), (1, 1), "SAME")


NO_NUMBERS = {
    "finiteness of a masked row": (
        lambda x: jnp.where(jnp.isfinite(top(masked(x, FIRST_ROW))), logits(x), 0.0), "select_n"),
    "an infinite output": (masked, "select_n"),
    "a NaN beside": (lambda x: masked(x, value=np.nan), "select_n"),
    "a NaN that is known": (lambda x: (logits(x), jnp.full(3, jnp.nan)), "not finite"),
    "zero times infinity": (lambda x: masked(x) * SOME, "select_n"),
    "a sum over it": (lambda x: (masked(x) * SOME).sum(-1), "select_n"),
    "a mask that is multiplied": (lambda x: logits(x) + (1 - SOME) * np.float64(-np.inf), "add"),
    "a convolution": (convolved, "select_n"),
    "a product with zeros": (lambda x: masked(x) @ jnp.zeros((4, 2)), "select_n"),
    "padding": (lambda x: jnp.pad(logits(x), 1, constant_values=-jnp.inf), "pad"),
    "weights": (lambda x: logits(x) @ jnp.full((4, 1), jnp.inf), "dot_general"),
    "factors": (lambda x: logits(x) * jnp.where(SOME, 1.0, jnp.inf), "mul"),
    "a shift by no number": (shifted_by_no_number, "select_n"),
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
