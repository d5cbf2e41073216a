"""Norms of many activations and orders in one call against single calls and linear programs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbarron.bounds.interval_norm import interval_norm
from jaxbarron.bounds.norm_family import norm_family, norm_grid
from jaxbarron.errors import UsageError

SIGMAS, ORDERS = ("heaviside", "gelu"), (0, 1)  # heaviside in RePU_1: infinite


@pytest.mark.usefixtures("x64")
def test_one_call_agrees_with_single_calls() -> None:
    rng = np.random.default_rng(0)
    w, b = np.exp(rng.uniform(-2, 2, 4)), rng.normal(size=4)
    found = jax.jit(norm_grid(SIGMAS, ORDERS, rel_gap=1e-3))(jnp.asarray(w), jnp.asarray(b))
    assert found.lower.shape == (2, 2, 4)
    assert found.moments.shape == (2, 2, 4, 2)
    assert found.lower.dtype == jnp.float64
    for i, name in enumerate(SIGMAS):
        for j, s in enumerate(ORDERS):
            for k in range(4):
                exact = interval_norm(name, s, spread=w[k], offset=b[k])
                lower, upper = (float(v[i, j, k]) for v in (found.lower, found.upper))
                assert lower * (1 - 1e-12) <= exact.upper
                assert exact.lower <= upper * (1 + 1e-12)
                if np.isfinite(exact.upper):
                    assert upper - lower <= 1e-3 * upper
                else:
                    assert np.isinf(lower)


@pytest.mark.usefixtures("x64")
def test_slopes_against_finite_differences_of_the_exact_norm() -> None:
    family = norm_family(("tanh", "gelu"), (1,), rel_gap=1e-3)
    slopes = jax.jit(jax.grad(lambda w, b: family(1, 0, w, b).lower, (0, 1)))(1.3, 0.4)
    h = 1e-4
    by_w = [interval_norm("gelu", 1, spread=1.3 + d, offset=0.4).upper for d in (h, -h)]
    by_b = [interval_norm("gelu", 1, spread=1.3, offset=0.4 + d).upper for d in (h, -h)]
    # at a gap of a thousandth M is known to about the root of it
    for slope, (up, down) in zip(slopes, (by_w, by_b), strict=True):
        assert float(slope) == pytest.approx((up - down) / (2 * h), rel=0.05)


def test_bad_input() -> None:
    with pytest.raises(UsageError, match=r"given: 0 activations.*do: "):
        norm_family((), (1,))
    with pytest.raises(UsageError, match=r"given: 1 activations and 0 orders"):
        norm_family(("tanh",), ())
    with pytest.raises(UsageError, match="s=5"):
        norm_family(("tanh",), (5,))
