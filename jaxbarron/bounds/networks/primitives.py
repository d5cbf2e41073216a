"""A primitive itself, on numbers in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxbarron.devices import double_on_cpu

__all__ = ["bound", "parameters"]


def parameters(eqn: Any) -> dict[str, Any]:
    """Those with which the equation's primitive works in double precision.

    A product may ask for an algorithm (``jax.lax.DotAlgorithmPreset``) that rounds its factors:
    that is an order to the machine, not part of the real function.
    """
    params = dict(eqn.primitive.get_bind_params(eqn.params))
    if eqn.primitive.name in ("dot_general", "conv_general_dilated"):
        params["precision"] = None
    if params.get("preferred_element_type") is not None:
        params["preferred_element_type"] = np.dtype(np.float64)
    return params


def bound(eqn: Any, values: Sequence[Any]) -> list[Any]:
    """The results of the equation's primitive on these arrays, on the CPU."""
    with double_on_cpu():
        results = eqn.primitive.bind(*(jnp.asarray(x) for x in values), **parameters(eqn))
    return list(results) if eqn.primitive.multiple_results else [results]
