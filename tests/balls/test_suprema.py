"""Suprema by branch and bound, against closed forms and dense samples."""

from __future__ import annotations

import math

import flint
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxbarron.balls.suprema import lower_float, supremum_of_program, upper_float
from jaxbarron.errors import DomainError, ToleranceError
from jaxbarron.programs import evaluate_program, trace

CASES = [
    (lambda z: z * (1 - z), 0.0, 1.0, 0.25),
    (lambda z: jnp.sin(7 * z), -3.0, 5.0, 1.0),
    (lambda z: z * jnp.exp(-z), 0.0, 10.0, math.exp(-1)),
    (lambda z: z - z**3 / 6 - jnp.sin(z), -1.0, 1.0, math.sin(1.0) - 5 / 6),
    (lambda z: jnp.abs(z - 0.3) - 0.2, -0.25, 0.75, 0.35),
    (lambda z: jnp.where(z > 1 / 3, 2.0, -1.0), 0.0, 1.0, 2.0),
    (lambda z: 1 / (1 + 1e6 * z * z), -1.0, 1.0, 1.0),
    (lambda z: jnp.maximum(jnp.cos(z), jnp.sin(3 * z)), 0.0, 3.0, 1.0),
    (lambda z: jnp.sqrt(z), 0.0, 2.0, math.sqrt(2.0)),
]


@pytest.mark.parametrize(("fn", "start", "end", "exact"), CASES)
@pytest.mark.parametrize("rel", [1e-2, 1e-3, 1e-6])
def test_closed_forms(fn, start, end, exact, rel):
    found = supremum_of_program(trace(fn), start, end, rel=rel)
    assert found.lower <= exact * (1 + 1e-15)
    assert found.upper >= exact * (1 - 1e-15)
    assert found.upper <= found.lower * (1 + rel)
    assert start - 1e-9 <= found.where <= end + 1e-9


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(-3, 3), min_size=2, max_size=8),
    st.floats(-2, 2),
    st.floats(0.01, 3),
)
def test_no_sample_exceeds_the_bound(coefficients, start, width):
    def fn(z):
        total = jnp.tanh(3 * z)
        for k, c in enumerate(coefficients):
            total = total * jnp.sin(z) + c if k % 2 else total + c * z
        return total

    program = trace(fn)
    found = supremum_of_program(program, start, start + width)
    z = np.linspace(start, start + width, 2001)
    seen = np.abs(evaluate_program(program, z))
    assert seen.max() <= found.upper * (1 + 1e-13) + 1e-13
    assert found.lower <= found.upper
    assert found.upper <= seen.max() * 1.003 + 1e-9


def test_splits_make_kinks_exact():
    program = trace(lambda z: jax.nn.relu(z - 0.75) - jnp.where(z > 0.75, z - 0.75, 0.0))
    assert supremum_of_program(program, 0.0, 2.0, splits=[0.75]).upper == 0.0


def test_a_value_of_a_single_point_counts():
    program = trace(lambda z: jnp.where(z > 1.0, 0.0, jnp.where(z < 1.0, 0.0, 5.0)))
    found = supremum_of_program(program, 0.0, 2.0, splits=[1.0])
    assert found.upper >= 5.0


def test_an_early_stop_is_still_true():
    program = trace(lambda z: jnp.sin(200 * z) * z)
    found = supremum_of_program(program, 0.0, 10.0, max_evaluations=30)
    z = np.linspace(0, 10, 100_001)
    assert np.abs(np.sin(200 * z) * z).max() <= found.upper
    assert found.lower <= found.upper


def test_poles_are_infinite():
    found = supremum_of_program(trace(lambda z: 1 / (z - 0.3)), 0.0, 1.0, max_evaluations=400)
    assert found.upper == math.inf


def test_bad_input():
    program = trace(jnp.tanh)
    for start, end in ((1.0, 1.0), (2.0, 1.0), (0.0, math.inf), (math.nan, 1.0)):
        with pytest.raises(DomainError, match=r"given: .*; expected: .*; do: "):
            supremum_of_program(program, start, end)
    with pytest.raises(ToleranceError, match=r"given: .*; expected: .*; do: "):
        supremum_of_program(program, 0.0, 1.0, rel=0.0)


def test_floats_are_rounded_outward():
    third = flint.arb(1) / 3
    assert flint.arb(upper_float(third)) > flint.arb(lower_float(third))
    assert flint.arb(lower_float(third)) <= third <= flint.arb(upper_float(third))
    assert lower_float(flint.arb(0, 1)) == 0.0
    assert upper_float(flint.arb("nan")) == math.inf
    assert upper_float(flint.arb(2) ** -2000) > 0.0
