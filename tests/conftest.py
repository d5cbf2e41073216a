"""Shared by all tests: evaluation in double precision, independent of the library's own."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jaxbarron.activations import Activation
from jaxbarron.measures import ParticleMeasure
from jaxbarron.programs import evaluate_program


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def kernel_values(kernel: ParticleMeasure, target: Activation, z: np.ndarray) -> np.ndarray:
    """The kernel's function at z in NumPy doubles, one particle after the other."""
    total = np.zeros_like(z)
    columns = (kernel.weights[:, 0], kernel.directions[:, 0], kernel.offsets)
    for c, alpha, beta in zip(*columns, strict=True):
        total += c * evaluate_program(target.program, alpha * z + beta)
    return total
