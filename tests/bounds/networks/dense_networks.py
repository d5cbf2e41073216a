"""Random dense networks for the attacks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Function = Callable[[Any], Any]


def dense(sizes: Sequence[int], act: Function, seed: int, *, residual: bool = False) -> Function:
    rng = np.random.default_rng(seed)
    layers = [(rng.normal(size=(a, b)) / np.sqrt(a), 0.3 * rng.normal(size=b))
              for a, b in itertools.pairwise(sizes)]  # fmt: skip

    def network(x: Any) -> Any:
        for k, (weights, bias) in enumerate(layers):
            y = x @ weights + bias
            y = act(y) if k + 1 < len(layers) else y
            x = x + y if residual and x.shape == y.shape else y
        return x

    return network
