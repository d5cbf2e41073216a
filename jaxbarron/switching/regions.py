"""Which argument varies, and in which region."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.bounds.networks.regions import Around, Region
from jaxbarron.domains import Ball, Box
from jaxbarron.errors import UsageError
from jaxbarron.switching.tracing import Call, split_call

__all__ = ["place_of", "region_of"]


def region_of(args: tuple[Any, ...], argument: int, box: Box | None, ball: Ball | None) -> Region:
    """The region that the options speak of."""
    if (box is None) == (ball is None):
        raise UsageError(
            "given: both or none of box and ball; expected: one of them; do: e.g. "
            "box=jb.Box(x.ravel() - r, x.ravel() + r), or ball=jb.Ball(r, ord=2)"
        )
    if box is not None:
        return box
    assert ball is not None
    centre = np.asarray(args[argument], np.float64).ravel()
    return Around(tuple(centre.tolist()), ball)


def place_of(call: Call, args: tuple[Any, ...], argument: int) -> int:
    """The position of the chosen argument among the arrays of the call."""
    if not 0 <= argument < len(args):
        raise UsageError(
            f"given: argument={argument} of {len(args)}; expected: the position of the input among "
            "the arguments; do: e.g. argument=0"
        )
    leaves = [len(split_call((x,), {}).arrays) for x in args]
    chosen = args[argument]
    if not hasattr(chosen, "shape") or not jnp.issubdtype(chosen.dtype, jnp.floating):
        raise UsageError(
            f"given: a {type(chosen).__name__} as the input; expected: one array of floats; do: "
            "choose another argument, or wrap the function so that the input is one array"
        )
    return sum(count for count, x in zip(leaves[:argument], args, strict=False) if _has_arrays(x))


def _has_arrays(x: Any) -> bool:
    return any(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(x))
