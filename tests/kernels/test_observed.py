"""Kernels fitted to data: less mean-square error than the minimax kernel, a proved sup norm."""

from __future__ import annotations

import numpy as np
import pytest

import jaxbarron as jb
from jaxbarron.errors import ShapeError, UsageError
from jaxbarron.kernels.observed import observed_kernel

RNG = np.random.default_rng(0)


def root_mean_square(kernel: jb.ParticleMeasure, name: str, s: int, z: np.ndarray) -> float:
    inner = kernel.directions[:, 0] * z[:, None] + kernel.offsets
    error = np.maximum(inner, 0.0) ** s @ kernel.weights[:, 0] - np.asarray(jb.activation(name)(z))
    return float(np.sqrt(np.mean(error**2)))


@pytest.mark.parametrize(
    ("name", "s", "centre", "spread", "gain"),
    [("gelu", 1, -0.3, 0.5, 1.5), ("tanh", 2, 1.0, 0.4, 2.0), ("silu", 1, 0.0, 3.0, 1.1)],
)
def test_better_on_new_data_and_certified(name, s, centre, spread, gain, x64):
    z = centre + spread * RNG.normal(size=8000)
    kernel = observed_kernel(name, s, z[:4000], particles=10)
    assert kernel.particles <= 10
    minimax, sharp = jb.certified_kernel(name, jb.repu(s), particles=10)
    ours, theirs = (root_mean_square(k, name, s, z[4000:]) for k in (kernel, minimax))
    assert gain * ours <= theirs
    certificate = jb.kernel_certificate(kernel, name, jb.repu(s))
    assert sharp.upper <= certificate.upper < 0.1  # finite on all of R: the tails are exact
    assert certificate.level == "rigorous"
    assert jb.verify(certificate)


def test_a_kink_keeps_its_knot(x64):
    z = 1.0 + RNG.normal(size=500)
    kernel = observed_kernel("elu", 1, z, particles=12)
    assert jb.kernel_certificate(kernel, "elu", "relu").upper < 0.2
    assert root_mean_square(kernel, "elu", 1, z) < 0.01


def test_bad_input():
    with pytest.raises(ShapeError, match="two"):
        observed_kernel("gelu", 1, np.ones(1), particles=10)
    with pytest.raises(ShapeError, match="finite"):
        observed_kernel("gelu", 1, np.array([1.0, np.nan]), particles=10)
    with pytest.raises(UsageError, match="particles=1"):
        observed_kernel("gelu", 1, np.ones(5), particles=1)
