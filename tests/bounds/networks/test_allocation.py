"""The geometric program against a general solver and against its own conditions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from jaxbarron.bounds.networks.allocation import allocate, whole_numbers


def problem(seed: int, outputs: int, sites: int = 5) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    costs = 10 ** rng.uniform(0, 3, sites)
    parts = 10 ** rng.uniform(-2, 2, (outputs, sites))
    return costs, parts, rng.integers(2, 5, sites).astype(float), 1e-3, np.full(sites, 2.0)


@pytest.mark.parametrize("outputs", [1, 3, 8])
@pytest.mark.parametrize("seed", range(4))
def test_as_cheap_as_a_general_solver(seed: int, outputs: int) -> None:
    costs, parts, orders, limit, least = problem(seed, outputs)
    found = allocate(costs, parts, orders, limit, least)
    assert np.max(parts @ found**-orders) <= limit * (1 + 1e-9)
    general = minimize(
        lambda u: np.log(costs @ np.exp(u)), np.log(found) + 0.3, method="SLSQP",
        constraints={"type": "ineq", "fun": lambda u: -np.log(parts @ np.exp(-orders * u) / limit)},
        bounds=[(np.log(x), None) for x in least], options={"maxiter": 500, "ftol": 1e-12},
    )  # fmt: skip
    assert costs @ found <= np.exp(general.fun) * (1 + 2e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_one_output_in_closed_form(seed: int) -> None:
    costs, parts, _, limit, _ = problem(seed, 1)
    orders, least = np.full(5, 2.0), np.full(5, 1e-6)
    found = allocate(costs, parts, orders, limit, least)
    shape = (parts[0] / costs) ** (1 / 3)
    assert np.allclose(found / shape, (found / shape)[0], rtol=1e-6)
    equal = np.sqrt(parts[0].sum() / limit)
    assert costs @ found <= costs.sum() * equal * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_whole_numbers_keep_the_limit(seed: int, outputs: int) -> None:
    costs, parts, orders, limit, least = problem(seed, outputs)
    real = allocate(costs, parts, orders, limit, least)
    whole = whole_numbers(real, costs, parts, orders, limit, least)
    assert np.max(parts @ (1.0 * whole) ** -orders) <= limit * (1 + 1e-9)
    assert np.all(whole >= least)
    assert np.all(whole <= np.ceil(real))
    for place in range(5):
        fewer = 1.0 * whole
        fewer[place] -= 1
        assert fewer[place] < least[place] or np.max(parts @ fewer**-orders) > limit


def test_nothing_to_do() -> None:
    one = np.ones(2)
    assert allocate(one, np.zeros((1, 2)), 2 * one, 1e-3, 5 * one).tolist() == [5, 5]
    assert allocate(one, np.full((1, 2), 1e-9), 2 * one, 1e-3, 5 * one).tolist() == [5, 5]
