"""What evaluating a function in float32 adds to the certificates, which speak of real functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxbarron.bounds.networks.arithmetic import Arithmetic, device_arithmetic
from jaxbarron.bounds.networks.floating import EvaluationError, evaluation_errors
from jaxbarron.bounds.networks.regions import Region
from jaxbarron.domains import Ball, Box
from jaxbarron.errors import ShapeError, UsageError
from jaxbarron.switching.regions import place_of, region_of
from jaxbarron.switching.tracing import split_call, trace

__all__ = ["float32_error"]


def float32_error(
    fn: Callable[..., Any],
    *args: Any,
    box: Box | None = None,
    ball: Ball | None = None,
    argument: int = 0,
    arithmetic: Arithmetic | None = None,
) -> EvaluationError:
    """Bounds on ``|computed fn(*args) - real fn(*args)|`` for all float32 inputs in a box or ball.

    Real is the function that the float32 constants define in exact arithmetic; a switched site is
    its kernel.  Sums may be added in any order, fused or not (THEORY.md, Theorem Evaluation error).

    Args:
        fn: a function of float32 arrays, before a switch or after it.
        args: its arguments; all but the chosen one are what they are.
        box: of the chosen argument, in the order of its flat array.
        ball: instead: how far the chosen argument may be from the one given.
        argument: which positional argument varies; it must be one array.
        arithmetic: what is assumed of the machine; None: ``jb.device_arithmetic()``, in which
            products of matrices on a GPU are in TF32 unless the highest precision is asked for.

    Returns:
        The bounds, with what they assume.  Where a primitive has no rule ``ends_at`` names it.

    Raises:
        ShapeError: the box does not fit the argument.
        UsageError: the chosen argument is not one array of float32, or not one of ``box`` and
            ``ball`` is given.
        The errors of tracing the function.

    Example:
        >>> import jax.numpy as jnp
        >>> net = lambda x: jnp.sum(jnp.tanh(3 * x))
        >>> x = jnp.zeros(2, jnp.float32)
        >>> error = float32_error(net, x, box=Box([-0.1, -0.1], [0.1, 0.1]))
        >>> error.level, 0 < error.largest < 2e-6
        ('float', True)
    """
    call = split_call(args, {})
    free = place_of(call, args, argument)
    if np.dtype(args[argument].dtype) != np.float32:
        raise UsageError(
            f"given: an input of dtype {args[argument].dtype}; expected: float32; do: convert it "
            "with x.astype(jnp.float32)"
        )
    shape = np.shape(args[argument])
    low, high = _ends(region_of(args, argument, box, ball))
    if low.size != int(np.prod(shape)):
        raise ShapeError(
            f"given: a box in dimension {low.size} for an input of {int(np.prod(shape))} numbers; "
            "expected: one interval for each number; do: build it from x.ravel() - r"
        )
    ends = low.reshape(shape), high.reshape(shape)
    inputs = [ends if k == free else x for k, x in enumerate(call.arrays)]
    arithmetic = device_arithmetic() if arithmetic is None else arithmetic
    found, ends_at = evaluation_errors(trace(fn, call).jaxpr, inputs, arithmetic)
    level = "float" if ends_at is None else "sampled"
    return EvaluationError(tuple(found), arithmetic, level, ends_at)


def _ends(region: Region) -> tuple[Any, Any]:
    if isinstance(region, Box):
        return np.asarray(region.lower, np.float64), np.asarray(region.upper, np.float64)
    centre, radius = np.asarray(region.centre, np.float64), float(region.ball.radius)
    return np.nextafter(centre - radius, -np.inf), np.nextafter(centre + radius, np.inf)
