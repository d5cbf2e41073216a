"""Where the library's own numbers are computed: in double precision, on the CPU.

Kernels, relaxations and counts must not depend on the device that a model runs on, nor on how
exactly that device multiplies and rounds.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import jax

from jaxbarron.errors import UsageError

__all__ = ["double_on_cpu", "on_cpu"]


@contextmanager
def on_cpu() -> Generator[None]:
    """JAX runs on the CPU inside the context.

    Raises:
        UsageError: JAX was told to do without the CPU.
    """
    try:
        device = jax.local_devices(backend="cpu")[0]
    except RuntimeError as reason:
        raise UsageError(
            f"given: JAX without its CPU backend ({reason}); expected: the CPU beside the "
            "accelerator, for bounds in double precision; do: name it last, as in "
            "JAX_PLATFORMS=cuda,cpu"
        ) from None
    with jax.default_device(device):
        yield


@contextmanager
def double_on_cpu() -> Generator[None]:
    """JAX runs on the CPU and in double precision inside the context.

    Raises:
        UsageError: JAX was told to do without the CPU.
    """
    with jax.enable_x64(True), on_cpu():
        yield
