"""The factored and the flat form of every shipped kernel are one function."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbarron as jb
from jaxbarron.kernels.table import entries, lookup

COARSEST = sorted({(source, s) for source, s, tol in entries() if tol == 1e-2})


@pytest.mark.parametrize(("source", "s"), COARSEST)
def test_flat_and_factored_forms_agree_to_rounding(source: str, s: int, x64) -> None:
    kernel = lookup(source, s, 1e-2)
    assert kernel is not None
    keys = jax.random.split(jax.random.key(s), 4)
    mu = jb.ParticleMeasure(
        jax.random.normal(keys[0], (6, 2)),
        jax.random.normal(keys[1], (6, 3)),
        jax.random.normal(keys[2], (6,)),
    )
    x = 3 * jax.random.normal(keys[3], (50, 3))
    flat = jb.push_forward(kernel, mu)
    factored = jb.kernel_as_activation(kernel, jb.repu(s))
    # what double precision does to the sum of all terms in modulus
    size = jb.evaluate(
        jb.ParticleMeasure(jnp.abs(flat.weights), flat.directions, flat.offsets), jb.repu(s), x
    )
    gap = jnp.abs(jb.evaluate(flat, jb.repu(s), x) - jb.evaluate(mu, factored, x))
    assert float(jnp.max(gap / size)) < 1e-13
    # and both stay within the bound of Theorem Push-forward
    bound = 1e-2 * jnp.sum(jnp.abs(mu.weights), axis=0)
    original = jb.evaluate(mu, source, x)
    assert bool(jnp.all(jnp.abs(jb.evaluate(mu, factored, x) - original) <= bound))


@pytest.mark.parametrize("s", [1, 2, 3])
def test_derivatives_of_the_factored_form(s: int, x64) -> None:
    kernel = lookup("tanh", s, 1e-3)
    assert kernel is not None
    factored = jb.kernel_as_activation(kernel, jb.repu(s))
    z = jnp.linspace(-9.0, 9.0, 1001) + 1e-4  # no point on a knot
    slope = jax.vmap(jax.grad(factored))(z)
    by_hand, step = jb.derivative(kernel, jb.repu(s), 0)
    expected = jb.evaluate(by_hand, step, z[:, None])[:, 0]
    np.testing.assert_allclose(slope, expected, atol=1e-9)
