"""The body of moments: its gauge against dense grids, its roots against NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbarron.bounds.gauge_body import GaugeBody, rigorous_gauge
from jaxbarron.bounds.polynomial_roots import polynomial_value, real_roots
from jaxbarron.errors import NonFiniteError, UsageError

WEIGHTS = ("homogeneous", "l2", "bias_free")


def by_hand(s: int, weight: str, moments: np.ndarray, t: np.ndarray) -> np.ndarray:
    """|Q_M(t)| / price at finite kinks t, from the definition alone."""
    kept = [s] if weight == "bias_free" else range(s + 1)
    binomial = np.polynomial.Polynomial([1, 1]) ** s
    q = sum(binomial.coef[k] * m * (-t) ** (s - k) for m, k in zip(moments, kept, strict=True))
    if weight == "bias_free":
        q, v = moments[0] * np.ones_like(t), np.ones_like(t)
    else:
        v = (1 + np.abs(t)) ** s if weight == "homogeneous" else (1 + t * t) ** (s / 2)
    return np.abs(q) / np.where((np.abs(t) < 1) & (s > 0), 2 * v, v)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("s", [1, 2, 3, 4])
def test_the_gauge_is_the_largest_ratio(s: int, weight: str) -> None:
    body, rng = GaugeBody(s, weight), np.random.default_rng(s)  # pyright: ignore[reportArgumentType]
    t = np.tan(np.linspace(-1.5707963, 1.5707963, 40001))
    moments = rng.normal(size=(8, body.size))
    found = jax.jit(jax.vmap(body.gauge))(jnp.asarray(moments))
    for m, value in zip(moments, found, strict=True):
        dense = by_hand(s, weight, m, t).max()
        assert dense <= value
        assert value <= dense * (1 + 1e-4)
        rigorous = rigorous_gauge(body, m)
        assert dense <= rigorous <= value
        assert rigorous == pytest.approx(float(value), rel=1e-13)


@pytest.mark.usefixtures("x64")
def test_a_gauge_that_forgets_the_outside_would_be_found() -> None:
    body, t = GaugeBody(2), np.tan(np.linspace(-1.57, 1.57, 4001))
    m = np.array([1.0, 0.0, 0.3])
    inside = np.abs(t) < 1
    assert by_hand(2, "homogeneous", m, t[inside]).max() < 0.9 * float(body.gauge(jnp.asarray(m)))


@pytest.mark.usefixtures("x64")
def test_known_extreme_points() -> None:
    # nu = delta_y has M_k = y^k and Q_M = (alpha y + beta)^s, of gauge 1 at y = 1, less inside
    for s in (1, 2, 3, 4):
        body = GaugeBody(s)
        assert float(body.gauge(jnp.ones(s + 1))) == pytest.approx(1, abs=1e-13)
        assert float(body.gauge(jnp.asarray([0.5**k for k in range(s + 1)]))) == pytest.approx(1)


@pytest.mark.usefixtures("x64")
def test_roots_against_numpy() -> None:
    rng, solve = np.random.default_rng(0), jax.jit(lambda p: real_roots(p, -1.0, 1.0))
    for _ in range(200):
        degree = int(rng.integers(1, 5))
        p = rng.normal(size=degree + 1)
        exact = np.roots(p[::-1])
        exact = np.sort(exact[np.abs(exact.imag) < 1e-9].real)
        exact = exact[np.abs(exact) < 1]
        found = np.asarray(solve(jnp.asarray(p)))
        assert found.shape == (degree,)
        assert np.allclose(found[: exact.size], exact, atol=1e-9)
        assert np.all(found[exact.size :] == 1)


@pytest.mark.usefixtures("x64")
def test_degenerate_polynomials_have_no_false_roots() -> None:
    for p in ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0, 1.0]):
        found = real_roots(jnp.asarray(p), -1.0, 1.0)
        assert bool(jnp.all(jnp.isfinite(found)))
        assert bool(jnp.all(found == 1))
    p = jnp.asarray([0.25, -1.25, 1.0, 0.0, 0.0])  # (y - 1/4)(y - 1), leading zeros
    assert np.allclose(real_roots(p, -1.0, 1.0), [0.25, 1, 1, 1])
    assert float(polynomial_value(p, jnp.asarray(0.25))) == 0


def test_the_dtype_is_kept() -> None:
    assert GaugeBody(2).gauge(jnp.ones(3, jnp.float32)).dtype == jnp.float32


@pytest.mark.parametrize(
    ("s", "weight"), [(5, "homogeneous"), (True, "l2"), (1, "total_variation"), (1, "nothing")]
)
def test_bad_input(s: int, weight: str) -> None:
    with pytest.raises(UsageError, match=r"given: .*expected: .*do: "):
        GaugeBody(s, weight)  # pyright: ignore[reportArgumentType]


def test_moments_that_are_not_finite() -> None:
    with pytest.raises(NonFiniteError, match="given"):
        rigorous_gauge(GaugeBody(1), [float("nan"), 1.0])
