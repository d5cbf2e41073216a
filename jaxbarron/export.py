"""Particle measures as safetensors files: plain arrays, never code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from jaxbarron.certificates import write_atomically
from jaxbarron.errors import ShapeError
from jaxbarron.measures import ParticleMeasure

__all__ = ["load_measure", "save_measure"]

_FIELDS = ("weights", "directions", "offsets")


def save_measure(
    mu: ParticleMeasure,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a measure as the arrays ``weights``, ``directions``, ``offsets``; never half a file.

    Args:
        mu: n particles, known numbers; dtypes are kept.
        path: the file, by custom ``*.safetensors``.
        metadata: strings to keep beside the arrays.

    Raises:
        OSError: the file cannot be written.
    """
    arrays = {name: np.ascontiguousarray(getattr(mu, name)) for name in _FIELDS}
    content = safetensors.numpy.save(arrays, metadata=dict(metadata or {}))
    write_atomically(Path(path), content)


def load_measure(path: str | os.PathLike[str]) -> ParticleMeasure:
    """The measure in a file of :func:`save_measure`, with NumPy arrays, bit by bit.

    Raises:
        OSError: the file cannot be read.
        ShapeError: it holds no measure.

    Example:
        >>> import tempfile
        >>> from jaxbarron.measures import unit_kernel
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_measure(unit_kernel(), f"{folder}/unit.safetensors")
        ...     load_measure(f"{folder}/unit.safetensors").particles
        1
    """
    content = Path(path).read_bytes()
    try:
        arrays = safetensors.numpy.load(content)
        return ParticleMeasure(*(arrays[name] for name in _FIELDS))
    except (SafetensorError, KeyError) as error:
        raise ShapeError(
            f"given: {path}, which holds no particle measure ({error}); expected: a safetensors "
            "file with weights, directions and offsets; do: write it with save_measure"
        ) from None
