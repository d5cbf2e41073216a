"""The inner problem against an independent linear program and against Chebyshev's theorem."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array

from jaxbarron.activations import activation
from jaxbarron.kernels.knots import knot_columns, optimised
from jaxbarron.kernels.minimax import best_spline, minimax_step, peaks
from jaxbarron.kernels.spline_space import Space, Target
from jaxbarron.programs import evaluate_program


def on_the_line(name: str, s: int) -> Target:
    sigma = activation(name)
    return Target(
        lambda z: evaluate_program(sigma.program, z),
        s, sigma.left, sigma.right, -math.inf, math.inf,
    )  # fmt: skip


def test_step_is_the_constant_of_least_deviation():
    x, value, multipliers = minimax_step(
        np.array([1.0, 5.0, 2.0]), csr_array(np.ones((3, 1))), np.array([np.inf])
    )
    assert x == pytest.approx([3.0])
    assert value == pytest.approx(2.0)
    assert multipliers == pytest.approx([-0.5, 0.5, 0.0])


@pytest.mark.parametrize("s", [1, 2, 3])
@pytest.mark.parametrize("name", ["tanh", "gelu", "log_cosh"])
def test_value_equals_the_program_in_truncated_powers(name: str, s: int):
    """The same minimum from the textbook form: c_k at (z - t_k)_+^s, moments as equations."""
    target = on_the_line(name, s)
    knots = np.linspace(-3.0, 2.5, 9)
    fit = best_spline(target, knots, exchanges=0)
    z = fit.rows.points
    z = z[np.isfinite(z) & (np.abs(z) < 40)]
    powers = np.maximum(z[:, None] - knots, 0.0) ** s
    left, right = target.left, target.right
    assert left is not None
    assert right is not None
    residual = target.f(z) - left.slope * z - left.intercept
    # one more variable for the left constant, one more for the error; rows for both limits
    limit = (-knots) ** s
    free = 0.0 if target.left_is_zero else 1.0
    matrix = np.vstack(
        [
            np.hstack([powers, np.full((len(z), 1), free)]),
            [*limit, free],
            [*(0.0 * limit), free],
        ]
    )
    residual = np.concatenate([residual, [right.intercept - left.intercept, 0.0]])
    ones = np.ones((len(residual), 1))
    moments = np.array([knots**j for j in range(s)])
    rise = (-1) ** (s - 1) * (right.slope - left.slope) / s
    solved = linprog(
        [*np.zeros(len(knots) + 1), 1.0],
        A_ub=np.vstack([np.hstack([-matrix, -ones]), np.hstack([matrix, -ones])]),
        b_ub=np.concatenate([-residual, residual]),
        A_eq=np.hstack([moments, np.zeros((s, 2))]),
        b_eq=[0.0] * (s - 1) + [rise],
        bounds=[(None, None)] * (len(knots) + 2),
    )
    assert fit.error == pytest.approx(solved.fun, rel=1e-4)


@pytest.mark.parametrize("s", [1, 2, 3])
def test_no_other_spline_on_the_knots_is_better(s: int):
    target = on_the_line("silu", s)
    fit = best_spline(target, np.linspace(-5.0, 5.0, 12), exchanges=4)
    random = np.random.default_rng(0)
    for size in (1e-6, 1e-4, 1e-2):
        for _ in range(30):
            other = fit.x + size * random.standard_normal(len(fit.x))
            error = np.max(np.abs(fit.rows.residual - fit.rows.basis @ other))
            assert error >= fit.error * (1 - 1e-7)


@pytest.mark.parametrize("s", [1, 2, 3])
def test_tails_join_their_lines_smoothly(s: int):
    space = Space(on_the_line("gelu", s), np.linspace(-3.0, 3.0, 10))
    x = np.random.default_rng(1).standard_normal(space.size)
    jumps = space.jumps(x)
    for j in range(s - 1):
        assert np.sum(jumps * space.knots**j) == pytest.approx(0.0, abs=1e-10)
    assert s * (-1) ** (s - 1) * np.sum(jumps * space.knots ** (s - 1)) == pytest.approx(1.0)


@pytest.mark.parametrize("s", [1, 2, 3])
@pytest.mark.parametrize("reach", [None, 2.0])
def test_envelope_gradient_against_finite_differences(s: int, reach: float | None):
    target = on_the_line("tanh", s)
    if reach is not None:
        target = Target(target.f, s, None, None, -reach, reach)
    knots = np.array([-1.4, -1.0, -0.45, 0.1, 0.65, 1.2, 1.5])
    fit = best_spline(target, knots, exchanges=0)
    gradient = -fit.multipliers @ knot_columns(fit)
    for k in range(len(knots)):
        shift = np.zeros(len(knots))
        shift[k] = 1e-6
        up = best_spline(target, knots + shift, exchanges=0).error
        down = best_spline(target, knots - shift, exchanges=0).error
        assert gradient[k] == pytest.approx((up - down) / 2e-6, abs=2e-4 + 2e-3 * abs(gradient[k]))


def test_exchange_finds_the_extrema_between_the_points():
    fit = best_spline(on_the_line("tanh", 1), np.linspace(-2.0, 2.0, 6), exchanges=4)
    z = np.linspace(-2.0, 2.0, 200_001)
    basis, start = fit.space.inside(z)
    assert np.max(np.abs(np.tanh(z) - start - basis @ fit.x)) <= fit.error * (1 + 1e-3)


def test_peaks_of_a_parabola():
    where, value = peaks(lambda z: 1 - (z - 0.3217) ** 2, np.array([0.0, 1.0]))
    assert where == pytest.approx([0.3217], abs=1e-6)
    assert value == pytest.approx(1.0)


@pytest.mark.parametrize("s", [1, 2, 3])
def test_moving_the_knots_never_raises_the_error_and_helps(s: int):
    target = on_the_line("tanh", s)
    knots = np.linspace(-2.0, 2.0, 12)
    before, after = best_spline(target, knots), optimised(target, knots)
    assert after.error < 0.8 * before.error
    assert np.all(np.diff(after.space.knots) > 0)


def test_optimised_error_equioscillates():
    """tanh, s = 1: 2 K + 1 extrema of one size, as a free-knot optimum with free constant has."""
    fit = optimised(on_the_line("tanh", 1), np.linspace(-2.0, 2.0, 8))
    z = np.linspace(fit.space.breaks[0], fit.space.breaks[-1], 40_001)
    basis, start = fit.space.inside(z)
    error = (np.tanh(z) - start - basis @ fit.x) / fit.error
    signs = np.sign(error[np.abs(error) > 0.98])
    assert np.sum(np.diff(signs) != 0) + 1 >= 2 * 8 - 1
