"""Margins of the level float: the same evidence in ball arithmetic, and networks that cancel."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.integrate

import jaxbarron as jb
from jaxbarron.activations import activation
from jaxbarron.bounds.gauge_body import GaugeBody
from jaxbarron.bounds.interval_float import float_bounds, rounding_of, solve_table
from jaxbarron.bounds.interval_norm import interval_norm
from jaxbarron.bounds.interval_problem import Problem
from jaxbarron.bounds.interval_rigorous import Evidence, rigorous_bounds
from jaxbarron.bounds.interval_table import tabulated
from jaxbarron.bounds.norm_bracket import norm_bracket
from jaxbarron.measures import ParticleMeasure

CLOSE = np.array([1.0, -1.0]), np.array([1.5, 1.5 + 2.0**-27]), np.array([0.25, 0.25])
SINGLE = np.ones(1), np.array([1.25]), np.array([0.5])


def networks():
    """(activation, s, weight, network): one neuron, pairs that cancel, tails, fast waves."""
    for s in (1, 2, 3, 4):
        yield "tanh", s, "homogeneous", CLOSE
        yield "softplus", s, "homogeneous", SINGLE
    for s, weight, w, b in (
        (2, "bias_free", 1.5, -8.25), (4, "bias_free", 2.5, -8.0),
        (2, "homogeneous", 0.125, -7.5), (4, "homogeneous", 0.125, -7.5),
    ):  # fmt: skip
        yield "gelu_tanh", s, weight, (np.ones(1), np.array([w]), np.array([b]))
    yield "tanh", 2, "l2", CLOSE  # for odd s balls do not resolve what cancels
    yield "cos", 3, "l2", (np.ones(1), np.array([25.0]), np.array([0.75]))
    yield "sin", 1, "l2", (np.ones(1), np.array([29.0]), np.array([0.0]))


def with_balls(problem: Problem, body: GaugeBody, found) -> tuple[float, float]:
    """Both bounds from all the numbers of the search, as they stand."""
    edges, shares = (np.asarray(v, float) for v in (found.edges, found.shares))
    cells = [
        (left, share)
        for left, right, share in zip(edges[:-1], edges[1:], shares, strict=False)
        if right > left
    ]
    evidence = Evidence(
        tuple(map(float, found.moments)), tuple(float(t) for t, _ in cells[1:]),
        tuple(float(np.clip(v, -0.5, 0.5)) for _, v in cells), (),
        tuple(map(float, found.nodes)), tuple(map(float, found.particles)),
    )  # fmt: skip
    sigma, w, b = problem.single()
    proved = rigorous_bounds(sigma, body, w, b, evidence)
    assert not proved.reason
    return proved.lower, proved.upper


def test_each_bound_is_what_its_evidence_proves_up_to_the_margin() -> None:
    used, old = 0.0, 0.0
    for name, s, weight, network in networks():
        problem, body = Problem(activation(name), *network), GaugeBody(s, weight)
        found = solve_table(body, problem.kinks, 1e-10, tabulated(problem, s))
        lower, upper = with_balls(problem, body, found)
        off = max(float(found.lower) - lower, upper - float(found.upper))
        rounding = rounding_of(problem, body)
        used = max(used, off / (rounding.share * max(upper, rounding.size)))
        old = max(old, max(float(found.lower) - upper, lower - float(found.upper)) / upper)
        wide = rounding.widened(float(found.lower), float(found.upper))
        assert wide[0] <= lower
        assert wide[1] >= upper
    assert used < 0.5
    # a planted fault: a margin in proportion to the norm alone is false for some of these
    assert old > 2.0**-35


def test_a_margin_without_the_size_of_the_terms_is_refuted() -> None:
    problem, body = Problem(activation("tanh"), *CLOSE), GaugeBody(1)
    found, low, high = float_bounds(problem, body, 1e-10)
    lower, upper = with_balls(problem, body, found)
    assert low <= lower <= upper <= high
    blind = dataclasses.replace(rounding_of(problem, body), size=0.0)
    low, high = blind.widened(float(found.lower), float(found.upper))
    assert not (low <= lower and upper <= high)


@pytest.mark.parametrize("s", [1, 3])
def test_every_public_bracket_of_a_pair_that_cancels_is_true(s: int) -> None:
    a, w, b = CLOSE
    one = ParticleMeasure(a[:, None], w[:, None], b)
    plane = ParticleMeasure(a[:, None], w[:, None] * np.array([0.6, -0.8]), b)
    sharp = interval_norm(one, s, sigma="tanh", level="rigorous")
    assert sharp.gap < 1e-4
    for found in (
        interval_norm(one, s, sigma="tanh"),
        norm_bracket(plane, "tanh", target=jb.repu(s), chords=0),
        jb.tighten(one, jb.repu(s), sigma="tanh", steps=50),
    ):
        assert found.lower <= sharp.upper
        assert found.upper >= sharp.lower
        assert found.upper <= sharp.upper * (1 + 1e-2)


def test_the_density_of_many_steep_neurons_by_scipy() -> None:
    # 12 neurons: resolving the first eight is not enough
    rng = np.random.default_rng(0)
    a, w = rng.normal(size=12), np.exp(rng.uniform(1, 4, 12))
    problem = Problem(activation("tanh"), a, w, -w * np.linspace(-0.9, 0.9, 12))

    def density(t: float) -> float:
        return abs(float(problem.derivative(2, np.array([t]))[0])) * (1 + t * t) ** 0.5

    table = tabulated(problem, 1)
    ends = np.unique(table.edges)
    exact = sum(
        scipy.integrate.quad(density, p, q, epsabs=1e-13, epsrel=1e-13, limit=200)[0]
        for p, q in itertools.pairwise(ends)
    )
    assert table.smooth == pytest.approx(exact, rel=1e-12)
    mu = ParticleMeasure(a[:, None], w[:, None], problem.offsets)
    for found in (
        interval_norm(mu, 1, sigma="tanh", weight="l2"),
        jb.tighten(mu, "relu", sigma="tanh", weight="l2", steps=50),
    ):
        assert found.lower <= exact * (1 + 1e-12) + 1e-9 or found.lower >= exact
        assert found.upper >= exact * (1 - 1e-12)


def test_a_table_that_ran_out_of_cells_widens_the_bracket() -> None:
    body = GaugeBody(1)
    wild = Problem(activation("sin"), np.ones(1), np.array([20000.0]), np.zeros(1))
    table = tabulated(wild, 1)
    assert table.off > 1e-12
    found, lower, upper = float_bounds(wild, body, 1e-10)
    assert lower == 0.0
    assert upper > float(found.upper) * (1 + table.off)
