"""From a function and rules to the bound on the change of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from jaxbarron.bounds.networks.arithmetic import Arithmetic
from jaxbarron.bounds.networks.bound import DifferenceBound
from jaxbarron.bounds.networks.branching import branched_difference
from jaxbarron.domains import Ball, Box
from jaxbarron.switching.evaluation import float32_error
from jaxbarron.switching.networks import network_with_rules
from jaxbarron.switching.regions import region_of
from jaxbarron.switching.rules import Demand, Source, Target
from jaxbarron.switching.transform import switch

__all__ = ["end_to_end_bound"]


def end_to_end_bound(
    fn: Callable[..., Any],
    rules: Mapping[Source, Target],
    *args: Any,
    box: Box | None = None,
    ball: Ball | None = None,
    argument: int = 0,
    classes: bool = False,
    joint: int = 0,
    branches: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    float32: bool | Arithmetic = False,
    tol: float | None = None,
    particles: int | None = None,
    reach: float | None = None,
    direct: bool = False,
) -> DifferenceBound:
    """Bounds on ``switch(fn, rules, ...)(*args) - fn(*args)`` for every input in a box or ball.

    The bound is about the real functions that the floats define: the original with its own
    constants, the switched one with the kernels' doubles (THEORY.md, Theorem Differential
    propagation).  Rounding in an evaluation of either comes on top.

    Args:
        fn: any JAX function.
        rules: as for :func:`jaxbarron.switch`.
        args: the arguments of ``fn``; all but the chosen one are what they are.
        box: of the chosen argument, in the order of its flat array.
        ball: instead: how far the chosen argument may be from the one given, in which norm.
        argument: which positional argument varies; it must be one array.
        classes: bound differences of two outputs too, along the last axis of the first output: the
            largest margin that the switch can overturn (THEORY.md, Theorem Class margin).
        joint: steps in search of a smaller bound over all neurons together (THEORY.md, Theorem
            Joint parabolas), for each number of the outputs; 0: none.  150 are often enough; for
            dense and convolutional networks without products, else it changes nothing.
        branches: in how many parts the region may be cut (branch and bound over the input;
            THEORY.md, Theorem Branching): the largest bound of all parts counts.  A part costs
            what the whole does; it helps most for few inputs, up to about 16.
        progress: given (parts, parts wanted) after each cut.
        float32: bound the errors of evaluating both functions in float32 too (THEORY.md, Theorem
            Evaluation error), under the assumptions of a ``jb.Arithmetic``; see
            ``.evaluation`` and ``.largest_evaluated`` of the result.
        tol: as for :func:`jaxbarron.switch`; so are ``particles``, ``reach`` and ``direct``.

    Returns:
        The bound.  Where it meets a primitive without a rule it says so in ``ends_at``, its level
        is ``"sampled"`` and the outputs beyond are bounded by infinity.

    Raises:
        ShapeError: the box does not fit the argument.
        UsageError: the chosen argument is not one array of reals, or not one of ``box`` and
            ``ball`` is given, or ``joint`` is negative, or
            ``branches`` less than 1.
        The errors of :func:`jaxbarron.switch`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxbarron.domains import Box
        >>> net = lambda x: jnp.sum(jnp.tanh(3 * x))
        >>> box = Box([-0.1, -0.1], [0.1, 0.1])
        >>> bound = end_to_end_bound(net, {"tanh": "relu"}, jnp.zeros(2), box=box, tol=1e-2)
        >>> bound.level, bound.largest <= 2e-2
        ('rigorous', True)
    """
    demand = Demand(tol, particles, reach, direct)
    network, planned = network_with_rules(fn, rules, args, argument, demand)
    region = region_of(args, argument, box, ball)
    bound = branched_difference(
        network, region, branches, classes=classes, joint=joint, progress=progress
    )
    if float32 is False:
        return bound
    given: Mapping[Source, Target] = {x.site.path: (x.kernel, x.target) for x in planned}
    errors = [
        float32_error(f, *args, box=box, ball=ball, argument=argument,
                      arithmetic=None if float32 is True else float32)
        for f in (fn, switch(fn, given))
    ]  # fmt: skip
    return replace(bound, evaluation=(errors[0], errors[1]))
