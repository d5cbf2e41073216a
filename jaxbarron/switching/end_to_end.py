"""From a function and rules to the bound on the change of its outputs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from jaxbarron.activations import Activation
from jaxbarron.bounds.networks.bound import DifferenceBound, network_difference
from jaxbarron.bounds.networks.cells import Pair
from jaxbarron.bounds.networks.floating import Arithmetic
from jaxbarron.bounds.networks.graph import Network, Site, mark_site
from jaxbarron.bounds.networks.reading import network_of
from jaxbarron.bounds.replacements import Composite, Spline, exact_particles
from jaxbarron.bounds.replacements import Replacement as Replaced
from jaxbarron.domains import Ball, Box
from jaxbarron.errors import UsageError
from jaxbarron.measures import ParticleMeasure
from jaxbarron.switching.evaluation import float32_error
from jaxbarron.switching.regions import place_of, region_of
from jaxbarron.switching.rewrite import rewrite
from jaxbarron.switching.rules import (
    Demand,
    Replacement,
    Source,
    Target,
    plan_replacements,
    read_rules,
)
from jaxbarron.switching.sites import Scope, opaque_paths, scope_of, sites_of
from jaxbarron.switching.tracing import Call, check_callable, split_call, trace
from jaxbarron.switching.transform import switch

__all__ = [
    "end_to_end_bound",
    "exactly",
    "network_of_function",
    "network_with_rules",
]


def end_to_end_bound(
    fn: Callable[..., Any],
    rules: Mapping[Source, Target],
    *args: Any,
    box: Box | None = None,
    ball: Ball | None = None,
    argument: int = 0,
    classes: bool = False,
    joint: int = 0,
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
            ``ball`` is given, or ``joint`` is negative.
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
    if joint < 0:
        raise UsageError(
            f"given: joint={joint}; expected: a number of steps >= 0; do: e.g. joint=150"
        )
    region = region_of(args, argument, box, ball)
    bound = network_difference(network, region, classes=classes, joint=joint)
    if float32 is False:
        return bound
    given: Mapping[Source, Target] = {x.site.path: (x.kernel, x.target) for x in planned}
    errors = [
        float32_error(f, *args, box=box, ball=ball, argument=argument,
                      arithmetic=None if float32 is True else float32)
        for f in (fn, switch(fn, given))
    ]  # fmt: skip
    return replace(bound, evaluation=(errors[0], errors[1]))


def network_with_rules(
    fn: Callable[..., Any],
    rules: Mapping[Source, Target],
    args: tuple[Any, ...],
    argument: int,
    demand: Demand,
) -> tuple[Network, tuple[Replacement, ...]]:
    """The graph of a function with what stands at its sites before and after, and the plan."""
    check_callable(fn)
    read = read_rules(rules, demand)
    call = split_call(args, {})
    free = place_of(call, args, argument)
    scope = scope_of(trace(fn, call), read.own)
    planned = plan_replacements(read, tuple(sites_of(scope)), tuple(opaque_paths(scope)))
    kernels = {x.site.path: exactly(x.kernel, x.target) for x in planned}
    return _marked(scope, call, free, kernels), planned


def network_of_function(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    argument: int,
    kernels: Mapping[str, Replaced],
) -> Network:
    """The graph of a function with these kernels at its sites, by their paths."""
    check_callable(fn)
    call = split_call(args, {})
    free = place_of(call, args, argument)
    return _marked(scope_of(trace(fn, call), ()), call, free, kernels)


def exactly(kernel: ParticleMeasure, target: Activation) -> Replaced:
    """A kernel as the rational numbers that its floats are."""
    leaves = (kernel.weights, kernel.directions, kernel.offsets)
    particles = exact_particles(*(np.asarray(leaf, np.float64).ravel() for leaf in leaves))
    if target.homogeneity is not None:
        return Spline(particles, target.homogeneity)
    return Composite(particles, target.program, [k.location for k in target.kinks])


def _marked(scope: Scope, call: Call, free: int, kernels: Mapping[str, Replaced]) -> Network:
    """The function with every site marked, as a network."""
    paths = [site.path for site in sites_of(scope)]
    programs = {site.path: segment.program for inner in _scopes(scope)
                for segment, site in inner.segments}  # fmt: skip
    sites = [Site(path, Pair(programs[path], kernels.get(path))) for path in paths]
    marks = {path: functools.partial(mark_site, index=k) for k, path in enumerate(paths)}
    closed = jax.make_jaxpr(rewrite(scope, marks, {}))(*call.arrays)
    values = [None if k == free else x for k, x in enumerate(call.arrays)]
    return network_of(closed, values, sites)


def _scopes(scope: Scope) -> list[Scope]:
    inner = [x for bodies in scope.bodies.values() for body in bodies for x in _scopes(body)]
    return [scope, *inner]
