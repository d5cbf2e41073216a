"""Exact arithmetic on what is stored: the tail conditions hold as equations of rationals."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxbarron.kernels.exact_tails import (
    DyadicSpline,
    kernel_of_spline,
    line_particles,
    nearest_dyadic,
)


def truncated(spline: DyadicSpline, z: Fraction) -> Fraction:
    """The spline by its definition, in rationals."""
    total = Fraction(spline.constant) + spline.left_slope * z
    for n, tau in zip(spline.n, spline.tau, strict=True):
        step = z - Fraction(tau, 2**spline.a)
        total += Fraction(n) / Fraction(2) ** spline.b * max(step, Fraction(0)) ** spline.s
    return total


@pytest.mark.parametrize("s", [1, 2, 3])
def test_value_and_right_tail_are_those_of_the_definition(s: int):
    spline = DyadicSpline(s, (3, -7, 5, 2), 4, (-9, -2, 3, 8), 2, slope=0.5, constant=0.25)
    points = [Fraction(k, 8) for k in range(-40, 60)]
    exact = np.array([float(truncated(spline, z)) for z in points])
    assert np.allclose(spline.value(np.array([float(z) for z in points])), exact, atol=1e-12)
    far = Fraction(1000)
    tail = sum(c * far**j for j, c in enumerate(spline.right_tail()))
    assert tail == truncated(spline, far)


@settings(max_examples=40, deadline=None)
@given(
    s=st.sampled_from([1, 2, 3]),
    seed=st.integers(0, 10**6),
    rise=st.sampled_from([0, 3, -6, 1, 2]),
    count=st.integers(6, 20),
)
def test_nearest_dyadic_meets_the_moments_and_stays_near(s: int, seed: int, rise: int, count: int):
    random = np.random.default_rng(seed)
    tau = np.sort(random.choice(2**14, count, replace=False) - 2**13)
    a, b = 11, 40
    knots = tau / 2.0**a
    jumps = random.standard_normal(count)
    # move the real coefficients onto the conditions first, so that near integers exist
    moments = np.array([knots**j for j in range(s)])
    wanted = np.zeros(s)
    wanted[-1] = (-1) ** (s - 1) * rise / s
    jumps -= np.linalg.pinv(moments) @ (moments @ jumps - wanted)
    points = (knots[:-1, None] + np.diff(knots)[:, None] * np.array([0.2, 0.5, 0.8])).ravel()
    n = nearest_dyadic(jumps, [int(t) for t in tau], a, b, s, Fraction(rise), points)
    spline = DyadicSpline(s, n, b, tuple(int(t) for t in tau), a)
    tail = spline.right_tail()
    assert all(x == 0 for x in tail[2:])
    # the moments that integers reach are the multiples of a gcd; a power of two divides the goal
    gaps = math.gcd(*(int(x) for x in np.diff(tau)))
    if rise == 0 or s == 1 or (s == 2 and gaps & (gaps - 1) == 0):
        assert tail[1] == rise
    assert abs(tail[1] - rise) < 1e-9
    real = np.maximum(points[:, None] - knots, 0.0) ** s @ jumps
    assert np.max(np.abs(spline.value(points) - real)) < 1e-5


def test_no_cubic_of_dyadics_has_slope_one():
    """3 * dyadic is never 1, so the best grid still leaves a defect, a small one."""
    tau = [-3000, -1711, -400, 350, 1777, 2900]
    knots = np.array(tau) / 1024
    moments = np.array([knots**j for j in range(3)])
    jumps = np.linalg.pinv(moments) @ np.array([0.0, 0.0, 1 / 3])
    n = nearest_dyadic(jumps, tau, 10, 30, 3, Fraction(1), np.linspace(-3, 3, 40))
    slope = DyadicSpline(3, n, 30, tuple(tau), 10).right_tail()[1]
    assert slope != 1
    assert abs(slope - 1) <= Fraction(1, 2**40)


def test_a_planted_fault_breaks_the_tail():
    """One unit in one coefficient is 2^-b of slope or curvature: the check must see it."""
    tau = (-5, -1, 2, 6)
    n = nearest_dyadic(np.array([0.3, 0.2, -0.4, -0.1]), tau, 1, 20, 2, Fraction(0), np.arange(4.0))
    good = DyadicSpline(2, n, 20, tau, 1)
    assert good.right_tail()[1:] == (0, 0)
    bad = DyadicSpline(2, (n[0] + 1, *n[1:]), 20, tau, 1)
    assert bad.right_tail()[1:] != (0, 0)


def test_on_a_reach_no_condition_is_imposed():
    jumps = np.array([0.5, 0.25, 0.125])
    n = nearest_dyadic(jumps, [-4, 0, 4], 1, 3, 3, None, np.linspace(-2, 4, 20))
    assert n == (4, 2, 1)


@pytest.mark.parametrize("s", [1, 2, 3])
@pytest.mark.parametrize(("slope", "constant"), [(0.0, 0.0), (0.0, -0.5), (-1.5, 0.25), (3.0, 0.0)])
def test_line_particles_are_the_line(s: int, slope: float, constant: float):
    z = np.linspace(-7.0, 7.0, 57)
    total = np.zeros_like(z)
    for weight, direction, offset in line_particles(s, slope, constant):
        total += weight * np.maximum(direction * z + offset, 0.0) ** s
    assert np.allclose(total, slope * z + constant, atol=1e-12)


def test_kernel_holds_the_same_numbers():
    spline = DyadicSpline(1, (3, -5), 2, (-1, 4), 1, slope=0.5, constant=0.25)
    kernel = kernel_of_spline(spline)
    assert kernel.weights[:, 0].tolist() == [0.75, -1.25, 0.5, -0.5, 0.25]
    assert kernel.directions[:, 0].tolist() == [1.0, 1.0, 1.0, -1.0, 0.0]
    assert kernel.offsets.tolist() == [0.5, -2.0, 0.0, 0.0, 1.0]
    assert kernel.weights.dtype == np.float64
