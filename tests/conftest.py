"""Shared by all tests: evaluation in double precision of its own, and the command line."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest

from jaxbarron.activations import Activation
from jaxbarron.cli import main
from jaxbarron.measures import ParticleMeasure
from jaxbarron.programs import evaluate_program

# An accelerator multiplies float32 matrices in TF32 or bfloat16 unless told otherwise; what is
# compared here with a reference is the library's arithmetic, not the device's.
if jax.default_backend() != "cpu":
    jax.config.update("jax_default_matmul_precision", "highest")


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


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line as a process would: (exit status, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["jaxbarron", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return run
