"""A function read as a network, with what stands at its sites before and after a switch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxbarron.activations import Activation
from jaxbarron.bounds.networks.cells import Pair
from jaxbarron.bounds.networks.graph import Network, Site, mark_site
from jaxbarron.bounds.networks.reading import network_of
from jaxbarron.bounds.replacements import Composite, Spline, exact_particles
from jaxbarron.bounds.replacements import Replacement as Replaced
from jaxbarron.measures import ParticleMeasure
from jaxbarron.switching.regions import place_of
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

__all__ = ["exactly", "network_of_function", "network_with_rules"]


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
