"""Where the library computes: on the CPU, also where there is another device."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from jaxbarron.devices import double_on_cpu, on_cpu
from jaxbarron.errors import UsageError


def test_double_precision_on_the_cpu_and_only_there():
    with double_on_cpu():
        x = jnp.ones(2)
        assert (x.dtype, x.devices()) == (jnp.float64, {jax.local_devices(backend="cpu")[0]})
    assert jnp.ones(2).dtype == jnp.float32


def test_without_a_cpu_it_says_what_to_do(monkeypatch):
    def no_cpu(**_):
        raise RuntimeError("Unknown backend cpu")

    monkeypatch.setattr(jax, "local_devices", no_cpu)
    with pytest.raises(UsageError, match="JAX_PLATFORMS=cuda,cpu"), on_cpu():
        pass


def test_a_kernel_does_not_depend_on_the_device():
    """On a second device of the host: the same bits."""
    program = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax, numpy as np, jaxbarron as jb
before = jb.spline_kernel("tanh", 2, particles=12)
with jax.default_device(jax.devices("cpu")[1]):
    after = jb.spline_kernel("tanh", 2, particles=12)
assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after)))
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
