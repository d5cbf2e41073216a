"""Outward rounding of forms against exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxbarron as jb
from jaxbarron.bounds.networks import forms
from jaxbarron.bounds.networks.forms import Form, affine, contract, form_of, interval, multiply
from jaxbarron.bounds.networks.maps import Blocks, Sparse, scaling, selection
from jaxbarron.bounds.networks.rounding import norm_by_moduli, raised, spectral_norm

SYMBOLS, SIZE, ROWS = 3, 5, 2


def numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Doubles of very different sizes, so that sums cancel and round."""
    return rng.normal(size=shape) * 10.0 ** rng.integers(-9, 9, size=shape)


def random_form(rng: np.random.Generator, *lead: int) -> Form:
    radius = np.abs(numbers(rng, *lead, SIZE)) * 1e-12
    return form_of(numbers(rng, *lead, SIZE), numbers(rng, *lead, SYMBOLS, SIZE), radius)


def exact_member(form: Form, symbols: list[Fraction], at: tuple[int, ...], end: int) -> Fraction:
    """A value that the form allows, at an end of its remainder; only one remainder is used."""
    value = Fraction(form.centre[at])
    slopes = np.moveaxis(form.slopes, -2, -1)[at]
    value += sum((Fraction(s) * t for s, t in zip(slopes, symbols, strict=False)), Fraction(0))
    return value + end * Fraction(form.radius[at])


def assert_member(form: Form, symbols: list[Fraction], at: tuple[int, ...], value: Fraction):
    """The value lies in the form at these symbols."""
    inner = exact_member(form, symbols, at, 0)
    assert abs(value - inner) <= Fraction(form.radius[at])
    low, high = interval(form)
    assert Fraction(low[at]) <= value <= Fraction(high[at])


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.random.Generator, list[Fraction], int]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    symbols = [Fraction(draw(st.integers(-8, 8)), 8) for _ in range(SYMBOLS)]
    return rng, symbols, draw(st.sampled_from((-1, 0, 1)))


@settings(max_examples=60, deadline=None)
@given(cases())
def test_affine_maps_hold_the_exact_value(case) -> None:
    rng, symbols, end = case
    first, second = random_form(rng), random_form(rng)
    weights = numbers(rng, 1, SIZE, SIZE)
    factors = numbers(rng, SIZE)
    bias = numbers(rng, SIZE)
    terms = [(Blocks(weights, 1), first), (scaling(factors), second)]
    found = affine(terms, bias, np.zeros(SIZE))
    exact = [[exact_member(x, symbols, (i,), end) for i in range(SIZE)] for x in (first, second)]
    for j in range(SIZE):
        value = Fraction(bias[j]) + Fraction(factors[j]) * exact[1][j]
        value += sum(Fraction(weights[0, i, j]) * exact[0][i] for i in range(SIZE))
        assert_member(found, symbols, (j,), value)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_products_hold_the_exact_value(case) -> None:
    rng, symbols, end = case
    first, second = random_form(rng, ROWS), random_form(rng)
    found = multiply(first, second)
    summed = contract(first, second)
    for row in range(ROWS):
        total = Fraction(0)
        for i in range(SIZE):
            value = exact_member(first, symbols, (row, i), end)
            value *= exact_member(second, symbols, (i,), -end)
            assert_member(found, symbols, (row, i), value)
            total += value
        assert_member(summed, symbols, (row,), total)


def test_an_omitted_allowance_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.array([[[1e16], [1.0], [-1e16]]])
    form = form_of(np.ones(3), np.zeros((0, 3)), np.zeros(3))
    honest = affine([(Blocks(weights, 1), form)], np.zeros(1), np.zeros(1))
    low, high = interval(honest)
    assert low[0] <= 1.0 <= high[0]
    monkeypatch.setattr(forms, "allowance", lambda magnitude, roundings: 0.0 * magnitude)
    faulty = affine([(Blocks(weights, 1), form)], np.zeros(1), np.zeros(1))
    low, high = interval(faulty)
    assert not low[0] <= 1.0 <= high[0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 6))
def test_spectral_norms_are_upper_bounds(seed: int, rows: int, columns: int) -> None:
    matrix = numbers(np.random.default_rng(seed), rows, columns)
    bound = spectral_norm(matrix)
    # |W x| / |x| <= norm, exactly, at the best direction that floats find
    x = np.linalg.svd(matrix)[2][0]
    exact = [sum(Fraction(w) * Fraction(t) for w, t in zip(row, x, strict=True)) for row in matrix]
    length = sum(Fraction(t) ** 2 for t in x)
    assert sum(y**2 for y in exact) <= Fraction(bound) ** 2 * length
    assert bound <= np.linalg.norm(matrix, 2) * (1 + 1e-6)
    assert norm_by_moduli(np.abs(matrix)) >= np.linalg.norm(matrix, 2) * (1 - 1e-12)


def test_an_orthogonal_basis_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(0).normal(size=(6, 6))
    true = np.linalg.norm(matrix, 2)
    wrong = np.random.default_rng(1).normal(size=(6, 6)) * 0.01 + np.eye(6) * 0.97
    monkeypatch.setattr(np.linalg, "eigh", lambda gram: (np.zeros(6), wrong))
    assert spectral_norm(matrix) >= true


def test_maps_and_their_transposes_agree() -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(2 * 3 * 4)
    blocks = Blocks(rng.normal(size=(2, 4, 5)), 3, order, rng.permutation(2 * 3 * 5))
    sparse = selection([0, -1, 2, 2], 4)
    for linear, size in ((blocks, 24), (sparse, 4), (Sparse(abs(sparse.matrix)), 4)):
        matrix = linear.forward(np.eye(size))
        assert np.allclose(linear.backward(np.eye(matrix.shape[1])), matrix.T)
        assert np.allclose(linear.modulus().forward(np.eye(size)), np.abs(matrix))
        assert linear.terms >= max((matrix != 0).sum(0).max(), (matrix != 0).sum(1).max())
        assert linear.norm() >= np.linalg.norm(matrix, 2) * (1 - 1e-12)


def test_raised_sums_are_upper_bounds() -> None:
    terms = [0.1] * 1000
    computed = np.float64(0.0)
    for term in terms:
        computed += term
    exact = sum(map(Fraction, terms))
    assert Fraction(float(raised(computed, 1000))) >= exact
    assert math.isclose(raised(computed, 1000), 100.0, rel_tol=1e-11)


@pytest.mark.parametrize("algorithm", ["F32_F32_F32", "BF16_BF16_F32"])
def test_what_a_product_asks_of_the_machine_does_not_round_the_certificate(algorithm: str):
    """The matrix that is read is the real one, though the machine is told to round its factors."""
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(5, 3)), rng.normal(size=(3, 4))
    preset = jax.lax.DotAlgorithmPreset[algorithm]

    def bound(precision):
        def fn(x, first, second):
            weights = jnp.matmul(first, second, precision=precision)
            return jnp.tanh(jnp.matmul(x, weights, precision=precision))

        box = jb.Box(np.full(5, -0.1), np.full(5, 0.1))
        args = jnp.zeros(5), jnp.asarray(first), jnp.asarray(second)
        return jb.end_to_end_bound(fn, {"tanh": "relu"}, *args, particles=8, box=box)

    with jax.enable_x64(True):
        wanted, given = bound(None), bound(preset)
    np.testing.assert_array_equal(given.upper, wanted.upper)
    np.testing.assert_array_equal(given.lower, wanted.lower)
