"""The kernel of least norm against interval_norm, linear programs and its own certificate."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from conftest import kernel_values

import jaxbarron as jb
from jaxbarron.bounds.interval_norm import interval_norm
from jaxbarron.errors import DomainError, ToleranceError, UnreachableTargetError, UsageError
from jaxbarron.kernels.matched_cells import matched_nodes
from jaxbarron.kernels.sharp import sharp_kernel
from jaxbarron.programs import evaluate_program


def cost(kernel: jb.ParticleMeasure, s: int, reach: float) -> float:
    reaches = np.abs(kernel.directions[:, 0]) * reach + np.abs(kernel.offsets)
    return float(np.sum(np.abs(kernel.weights[:, 0]) * reaches**s))


def error(kernel: jb.ParticleMeasure, name: str, s: int, reach: float) -> float:
    z = np.linspace(-reach, reach, 4001)
    values = kernel_values(kernel, jb.repu(s), z)
    return float(np.max(np.abs(values - evaluate_program(jb.activation(name).program, z))))


def is_refuted(kernel: jb.ParticleMeasure, name: str, s: int, reach: float, claim: float) -> bool:
    """Whether some point is off by more than the claim."""
    return error(kernel, name, s, reach) > claim * (1 + 1e-9) + 1e-12


# For gelu into relu at reach 1 shares and powers both matter, for tanh at 4 shares alone.
@pytest.mark.parametrize(
    ("name", "s", "reach", "factors"),
    [("gelu", 1, 1.0, (3e-3, 4e-4, 6e-5)), ("tanh", 2, 4.0, (1e-11,) * 3)],
)
def test_norm_tends_to_the_least_and_the_error_is_certified(name, s, reach, factors) -> None:
    least = interval_norm(name, s, spread=reach)
    errors = []
    for particles, factor in zip((12, 24, 48), factors, strict=True):
        kernel, certificate = jb.certified_kernel(
            name, jb.repu(s), particles=particles, reach=reach, minimise="norm"
        )
        assert kernel.particles <= particles
        assert 1 - 1e-9 <= cost(kernel, s, reach) / least.lower <= 1 + factor
        assert certificate.level == "rigorous"
        assert jb.verify(certificate)
        assert certificate.lower <= certificate.upper
        assert not is_refuted(kernel, name, s, reach, certificate.upper)
        errors.append(certificate.upper)
    # error * K^(s+1) settles
    assert errors[0] / errors[1] > 0.5 * 2 ** (s + 1)
    assert errors[1] / errors[2] > 0.7 * 2 ** (s + 1)


def test_planted_faults_are_caught() -> None:
    kernel = sharp_kernel("tanh", 3, 2.0, particles=40)
    claim = error(kernel, "tanh", 3, 2.0)
    assert not is_refuted(kernel, "tanh", 3, 2.0, claim)
    weights = kernel.weights.copy()
    weights[3] *= 1 + 1e-4
    assert is_refuted(dataclasses.replace(kernel, weights=weights), "tanh", 3, 2.0, claim)
    offsets = kernel.offsets.copy()
    offsets[3] += 1e-3
    assert is_refuted(dataclasses.replace(kernel, offsets=offsets), "tanh", 3, 2.0, claim)


def test_cells_have_the_moments_of_the_density() -> None:
    # int t^j sigma'''(t)/2 dt by parts: values of sigma, sigma', sigma''
    nodes = matched_nodes(jb.activation("tanh"), 2, 3.0, 10)
    zero, one, two = (lambda t: np.tanh(t), lambda t: 1 - np.tanh(t) ** 2,
                      lambda t: -2 * np.tanh(t) * (1 - np.tanh(t) ** 2))  # fmt: skip
    ends = [
        two,
        lambda t: t * two(t) - one(t),
        lambda t: t**2 * two(t) - 2 * t * one(t) + 2 * zero(t),
    ]
    for j, end in enumerate(ends):
        exact = (end(3.0) - end(-3.0)) / 2
        assert np.sum(nodes.masses * nodes.places**j) == pytest.approx(exact, abs=1e-12)


def test_a_tolerance_and_exact_sources() -> None:
    _, certificate = jb.certified_kernel("silu", "relu", tol=1e-2, reach=6.0, minimise="norm")
    assert certificate.upper <= 1e-2
    assert math.isclose(cost(sharp_kernel("relu", 1, 2.0, particles=3), 1, 2.0), 2.0)
    hard = sharp_kernel("hard_tanh", 1, 3.0, particles=8)
    assert error(hard, "hard_tanh", 1, 3.0) < 1e-14
    assert math.isclose(cost(hard, 1, 3.0), 8.0)  # two kinks of weight 1, at +-1: 3 + 1 each


def test_it_is_pushed_forward_like_any_other() -> None:
    reach = 2.5
    kernel = sharp_kernel("tanh", 1, reach, particles=32)
    mu = jb.ParticleMeasure(
        np.array([[1.0], [-2.0]]), np.array([[1.0, 0.5], [-0.3, 1.0]]), np.array([0.2, -0.4])
    )
    nu = jb.push_forward(kernel, mu)
    x = np.random.default_rng(0).uniform(-0.7, 0.7, (50, 2))
    change = np.abs(np.asarray(jb.evaluate(nu, "relu", x)) - np.asarray(jb.evaluate(mu, "tanh", x)))
    assert change.max() <= 3 * error(kernel, "tanh", 1, reach) + 1e-5  # sum |a_i| = 3; float32


def test_trade_off_between_error_and_norm() -> None:
    curve = jb.trade_off_curve("tanh", "relu", 4.0, knots=12, points=5)
    norms, errors = [p.norm for p in curve], [p.error for p in curve]
    assert norms == sorted(norms)
    assert errors == sorted(errors, reverse=True)
    # convex: each point lies on or below the chord of its neighbours, to the margin of the errors
    for k in range(1, len(curve) - 1):
        share = (errors[k] - errors[k + 1]) / (errors[k - 1] - errors[k + 1])
        assert norms[k] <= (share * norms[k - 1] + (1 - share) * norms[k + 1]) * (1 + 2e-2)
    for point in curve:
        assert point.certificate.level == "rigorous"
        assert not is_refuted(point.kernel, "tanh", 1, 4.0, point.error)
        assert math.isclose(point.norm, cost(point.kernel, 1, 4.0))
    # int (4 + |t|) |tanh''(t)| dt over [-4, 4], the norm of tanh itself: there is no excess
    exact = 2 * (np.tanh(4) + 4 - 8 / np.cosh(4) ** 2)
    assert norms[-1] <= exact * (1 + 1e-2)


def test_bad_input() -> None:
    for reach in (0.0, math.inf, math.nan):
        with pytest.raises(DomainError, match="given"):
            jb.certified_kernel("tanh", "relu", tol=1e-2, reach=reach, minimise="norm")
        with pytest.raises(DomainError, match="given"):
            jb.trade_off_curve("tanh", "relu", reach)
    with pytest.raises(DomainError, match="without a reach"):
        jb.certified_kernel("tanh", "relu", tol=1e-2, minimise="norm")
    with pytest.raises(UnreachableTargetError, match="order 1 jumps"):
        jb.certified_kernel("relu", jb.repu(2), particles=20, reach=1.0, minimise="norm")
    with pytest.raises(UsageError, match="minimise"):
        jb.certified_kernel("tanh", "relu", tol=1e-2, reach=1.0, minimise="both")  # pyright: ignore
    with pytest.raises(UsageError, match="allow more"):
        jb.certified_kernel("gelu", jb.repu(3), particles=2, reach=1.0, minimise="norm")
    with pytest.raises(ToleranceError, match="raise tol"):
        jb.certified_kernel("tanh", "relu", tol=1e-9, reach=1.0, minimise="norm")
    with pytest.raises(ToleranceError, match="more than"):
        jb.trade_off_curve("tanh", "relu", 1.0, knots=4, errors=[1e-6])
    with pytest.raises(UsageError, match="RePU_s"):
        jb.trade_off_curve("relu", "tanh", 1.0)
