"""One tolerance at the output, shared out over the sites: how many knots each kernel gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.activations import Activation
from jaxbarron.bounds.networks.allocation import allocate, whole_numbers
from jaxbarron.bounds.networks.bound import propagated
from jaxbarron.bounds.networks.graph import Elementwise, Network, with_kernels
from jaxbarron.bounds.networks.regions import Region
from jaxbarron.certify import certified_kernel
from jaxbarron.domains import Ball, Box
from jaxbarron.errors import (
    NonFiniteError,
    ShapeError,
    ToleranceError,
    UsageError,
)
from jaxbarron.kernels.density import spline_limit
from jaxbarron.kernels.factored import kernel_as_activation
from jaxbarron.measures import ParticleMeasure
from jaxbarron.switching.networks import exactly, network_with_rules
from jaxbarron.switching.plan import plan_switch
from jaxbarron.switching.regions import region_of
from jaxbarron.switching.rewrite import rewrite
from jaxbarron.switching.rules import Demand, Replacement, Source, Target
from jaxbarron.switching.sites import scope_of
from jaxbarron.switching.tracing import split_call, trace

__all__ = ["SharedTolerance", "share_tolerance"]

_PROBE = 16  # particles of the first kernels, from which the sensitivities are taken
_MOST = 256  # particles of a kernel
_CORRECTIONS = 4
_NEAR_ENOUGH = 0.9  # of the tolerance: a particle more or less makes as much
_ROWS = 256  # outputs that the program sees: those that ask most


@dataclass(frozen=True, eq=False)
class SharedTolerance:
    """Kernels for all sites that keep the outputs within one tolerance.

    Attributes:
        rules: for :func:`jaxbarron.switch`, by the paths of the sites.
        particles: of each site's kernel.
        errors: the certified errors of the kernels.
        change: the bound on the change of any output; in sampled mode the largest that was seen.
        level: ``"rigorous"`` or ``"sampled"``.
        cost: the sum over the sites of particles times numbers that they are applied to.
        rounds: how often kernels were made and their true change was computed.
        planned: what becomes of which site, with the kernels' certificates.
        unproved: why nothing was proved on the region, where samples were measured instead.
    """

    rules: Mapping[str, tuple[ParticleMeasure, Activation]]
    particles: tuple[tuple[str, int], ...]
    errors: tuple[tuple[str, float], ...]
    change: float
    level: Literal["rigorous", "sampled"]
    cost: int
    rounds: int
    planned: tuple[Replacement, ...] = ()
    unproved: str | None = None


def share_tolerance(
    fn: Callable[..., Any],
    rules: Mapping[Source, Target],
    *args: Any,
    output_tol: float,
    box: Box | None = None,
    ball: Ball | None = None,
    samples: Any = None,
    argument: int = 0,
) -> SharedTolerance:
    """Choose the particles at each site so that the outputs keep one tolerance at the least cost.

    The change of each output is a sum over the sites of sensitivity times error, and the error of
    a kernel falls like ``c / K^(s+1)``: a geometric program gives the K (THEORY.md, Theorem Shared
    tolerance).  Kernels are made, their true change is computed, and the constants are corrected
    from it.

    Args:
        fn: any JAX function.
        rules: as for :func:`jaxbarron.switch`; a kernel that is given stays as it is.
        args: the arguments of ``fn``.
        output_tol: for every output: ``|switched - original| <= output_tol``.
        box: of the chosen argument: the change is bounded on it, by proof.
        ball: instead: how far the chosen argument may be from the one given.
        samples: instead: inputs, shape (n, ...), at which the change is measured.  Beside a region:
            what counts where the bound on the region ends, or keeps no kernels within the
            tolerance.
        argument: which positional argument varies.

    Returns:
        The kernels, and what was proved or seen of them.

    Raises:
        ToleranceError: the tolerance is not positive, or out of reach of 256 particles a site.
        NonFiniteError: an output is NaN or infinite at a sample.
        UsageError: none of ``box``, ``ball`` and ``samples``, or both of the first two; or,
            without samples, the bound on the region ends at a primitive without a rule.
        The errors of :func:`jaxbarron.switch`.

    Example:
        >>> net = lambda x: jnp.sum(0.01 * jnp.tanh(x)) + jnp.sum(jnp.tanh(jnp.tanh(x)))
        >>> box = Box([-1.0, -1.0], [1.0, 1.0])
        >>> shared = share_tolerance(net, {"tanh": "relu"}, jnp.zeros(2), output_tol=0.02, box=box)
        >>> shared.change <= 0.02, shared.level
        (True, 'rigorous')
        >>> from jaxbarron.switching.transform import switch
        >>> g = switch(net, shared.rules)
    """
    if not (np.isfinite(output_tol) and output_tol > 0):
        raise ToleranceError(
            f"given: output_tol={output_tol}; expected: a finite number > 0; do: e.g. 1e-2"
        )
    regional = box is not None or ball is not None
    if samples is None and not regional:
        raise UsageError(
            "given: none of box, ball and samples; expected: a region for a proof, or samples for "
            "a measurement; do: e.g. box=jb.Box(x.ravel() - r, x.ravel() + r)"
        )
    unproved = None
    if regional:
        region = region_of(args, argument, box, ball)
        network, planned = network_with_rules(fn, rules, args, argument, Demand(particles=_PROBE))
        try:
            return _shared(_OnRegion(network, region, planned), planned, output_tol)
        except (_EndsError, ToleranceError) as error:
            if samples is None:
                raise
            unproved = str(error)
    planned = plan_switch(fn, rules, *args, particles=_PROBE)
    found = _shared(_OnSamples(fn, args, argument, samples, planned), planned, output_tol)
    return replace(found, unproved=unproved)


class _EndsError(UsageError):
    """The bound on the region ends before the outputs."""


class _Problem(Protocol):
    """What kernels at the sites do to the outputs."""

    @property
    def level(self) -> Literal["rigorous", "sampled"]:
        """Of what is measured."""
        ...

    def sizes(self) -> Any:
        """How many numbers each planned site is applied to."""
        ...

    def measured(self, kernels: Sequence[ParticleMeasure]) -> tuple[float, Any]:
        """The change, and what each site adds to each output: shape (outputs, sites)."""
        ...


class _OnRegion:
    level: Literal["rigorous"] = "rigorous"

    def __init__(self, network: Network, region: Region, planned: Sequence[Replacement]) -> None:
        self.network, self.region, self.planned = network, region, planned
        self._places = [
            next(k for k, site in enumerate(network.sites) if site.path == x.site.path)
            for x in planned
        ]

    def sizes(self) -> Any:
        totals = np.zeros(len(self.network.sites))
        for node in self.network.nodes:
            if isinstance(node, Elementwise) and node.site is not None:
                totals[node.site] += node.size
        return np.maximum(totals[self._places], 1)

    def measured(self, kernels: Sequence[ParticleMeasure]) -> tuple[float, Any]:
        given = {
            x.site.path: exactly(kernel, x.target)
            for x, kernel in zip(self.planned, kernels, strict=True)
        }
        found, ends_at = propagated(with_kernels(self.network, given), self.region)
        if ends_at is not None:
            raise _EndsError(
                f"given: a function whose bound on the region ends at {ends_at}; expected: a "
                "bound of every output; do: a smaller region, or samples= for a measurement"
            )
        sizes = [np.max(np.abs(np.stack([x.lower, x.upper])), initial=0.0) for x in found]
        parts = np.concatenate([x.by_site.T for x in found])
        return float(max(sizes, default=0.0)), parts[:, self._places]


class _OnSamples:
    level: Literal["sampled"] = "sampled"

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        argument: int,
        samples: Any,
        planned: Sequence[Replacement],
    ) -> None:
        self.planned, self.argument, self.args = planned, argument, args
        self.samples = jnp.asarray(samples, jnp.asarray(args[argument]).dtype)
        if self.samples.shape[1:] != np.shape(args[argument]) or not len(self.samples):
            raise ShapeError(
                f"given: samples of shape {self.samples.shape} for an argument of shape "
                f"{np.shape(args[argument])}; expected: one more axis, of length >= 1, in front; "
                "do: stack the inputs"
            )
        call = split_call(args, {})
        own = [x.site.activation for x in planned]
        self.scope, self.call = scope_of(trace(fn, call), own), call
        before = [len(split_call((x,), {}).arrays) for x in args[:argument]]
        self.free = sum(before)

    def sizes(self) -> Any:
        return np.array([max(np.prod(x.site.shape), 1) for x in self.planned])

    def measured(self, kernels: Sequence[ParticleMeasure]) -> tuple[float, Any]:
        def blended(x: Any, t: Any) -> list[Any]:
            """The outputs where site l applies ``sigma + t_l (kappa_l - sigma)``."""
            marks: dict[str, Callable[[Any], Any]] = {}
            for k, (plan, kernel) in enumerate(zip(self.planned, kernels, strict=True)):
                new = kernel_as_activation(kernel, plan.target)
                old = plan.site.activation
                marks[plan.site.path] = _blend(old, new, t[k])
            arrays = list(self.call.arrays)
            arrays[self.free] = x
            outputs = rewrite(self.scope, marks, {})(*arrays)
            return [y for y in outputs if jnp.issubdtype(y.dtype, jnp.floating)]

        count = len(kernels)

        def one(x: Any) -> Any:
            dtype = x.dtype
            slopes = jax.jacfwd(lambda t: blended(x, t))(jnp.zeros(count, dtype))
            ends = [blended(x, jnp.full(count, v, dtype)) for v in (0.0, 1.0)]
            change = [jnp.max(jnp.abs(b - a), initial=0.0) for a, b in zip(*ends, strict=True)]
            first = [jnp.max(jnp.abs(s.reshape(-1, count)), axis=0, initial=0.0) for s in slopes]
            return jnp.max(jnp.stack(change)), jnp.max(jnp.stack(first), axis=0)

        change, parts = jax.lax.map(one, self.samples, batch_size=min(64, len(self.samples)))
        if not np.isfinite([float(jnp.max(change)), float(jnp.max(parts))]).all():
            raise NonFiniteError(
                "given: samples at which an output or its change is NaN or infinite; expected: "
                "finite outputs; do: leave these samples out"
            )
        return float(jnp.max(change)), np.asarray(jnp.max(parts, axis=0), float)[None]


def _blend(old: Callable[[Any], Any], new: Callable[[Any], Any], t: Any) -> Callable[[Any], Any]:
    return lambda z: old(z) + t * (new(z) - old(z))


@dataclass(frozen=True, eq=False)
class _Choice:
    """Kernels for all planned sites, and what they do."""

    planned: tuple[Replacement, ...]
    errors: Any  # (L,)
    change: float
    parts: Any  # (outputs, L)
    cost: float

    @property
    def kernels(self) -> tuple[ParticleMeasure, ...]:
        """What stands at the sites."""
        return tuple(x.kernel for x in self.planned)

    @property
    def numbers(self) -> Any:
        """Particles of each kernel."""
        return np.array([kernel.particles for kernel in self.kernels], float)


@dataclass(frozen=True, eq=False)
class _Sites:
    """The planned sites: what a particle costs at each, and how its error falls."""

    planned: Sequence[Replacement]
    problem: _Problem
    sizes: Any

    @property
    def free(self) -> Any:
        """Where there is something to choose: not at a given or an exact kernel."""
        return np.array([x.certificate is not None and x.certificate.upper > 0
                         for x in self.planned])  # fmt: skip

    def choice(self, planned: Sequence[Replacement]) -> _Choice:
        """Their true change."""
        kernels = [x.kernel for x in planned]
        errors = [0.0 if x.certificate is None else x.certificate.upper for x in planned]
        change, parts = self.problem.measured(kernels)
        cost = float(self.sizes @ [kernel.particles for kernel in kernels])
        return _Choice(tuple(planned), np.asarray(errors, float), change, parts, cost)

    def numbers(self, choice: _Choice, tol: float, *, by_limit: bool) -> Any:
        """How many particles each free site needs, by the laws through a choice."""
        free = self.free
        planned = [x for x, movable in zip(self.planned, free, strict=True) if movable]
        orders = np.array([(x.target.homogeneity or 1) + 1.0 for x in planned])
        at_one = choice.numbers[free] ** orders * choice.errors[free]
        if by_limit:
            limits = np.array([_limit_of(x) for x in planned])
            at_one = np.where(limits > 0, limits, at_one)
        rows = choice.parts[:, free] * (at_one / choice.errors[free])
        # What does not move stays; the bound of a sum is less than the sum of the sites' bounds.
        fixed = float(np.max(choice.parts[:, ~free].sum(axis=1), initial=0.0))
        together = float(np.max(choice.parts.sum(axis=1), initial=0.0))
        share = choice.change / together if together > 0 else 1.0
        limit = tol / share - fixed
        if limit <= 0:
            return np.full(len(planned), np.inf)
        rows = rows[np.argsort(-(rows / np.max(rows)).sum(axis=1))[:_ROWS]]
        costs, least = self.sizes[free], np.array([_fewest(x) for x in planned], float)
        wanted = allocate(costs, rows, orders, limit, least)
        return whole_numbers(wanted, costs, rows, orders, limit, least)

    def made(self, choice: _Choice, numbers: Any) -> _Choice:
        """New kernels at the free sites."""
        planned = list(choice.planned)
        for place, number in zip(np.flatnonzero(self.free).tolist(), numbers, strict=True):
            x = self.planned[place]
            kernel, certificate = certified_kernel(
                x.site.activation, x.target, particles=int(number)
            )
            planned[place] = x._replace(kernel=kernel, certificate=certificate)
        return self.choice(planned)


def _shared(problem: _Problem, planned: Sequence[Replacement], tol: float) -> SharedTolerance:
    sites = _Sites(planned, problem, np.asarray(problem.sizes(), float))
    choice = sites.choice(planned)
    best = choice if choice.change <= tol else None
    margin, rounds = 1.0, 1
    while sites.free.any() and rounds <= _CORRECTIONS:
        numbers = sites.numbers(choice, margin * tol, by_limit=rounds == 1)
        if np.max(numbers) > _MOST or np.array_equal(numbers, choice.numbers[sites.free]):
            break
        choice, rounds = sites.made(choice, numbers), rounds + 1
        if not choice.change <= tol:  # a NaN too
            margin *= 0.99
        elif best is None or choice.cost < best.cost:
            best = choice
        if best is choice and choice.change > _NEAR_ENOUGH * tol:
            break
    if best is None:
        raise ToleranceError(
            f"given: output_tol={tol}; expected: a tolerance within reach of {_MOST} particles a "
            f"site (the last choice changes the outputs by {choice.change:.3g}); do: allow more, "
            "or make the region smaller"
        )
    paths = [x.site.path for x in planned]
    return SharedTolerance(
        {p: (kernel, x.target) for p, kernel, x in zip(paths, best.kernels, planned, strict=True)},
        tuple((p, kernel.particles) for p, kernel in zip(paths, best.kernels, strict=True)),
        tuple((p, float(e)) for p, e in zip(paths, best.errors, strict=True)),
        best.change,
        problem.level,
        round(best.cost),
        rounds,
        best.planned,
    )


def _fewest(x: Replacement) -> int:
    """Enough for the lines at both ends of a spline, and for the knots that they ask for."""
    s = x.target.homogeneity
    return _PROBE if s is None else 3 * s + 2


def _limit_of(x: Replacement) -> float:
    """The constant of the law of the errors; 0 where none is known."""
    s = x.target.homogeneity
    if s not in (1, 2, 3):
        return 0.0
    limit = spline_limit(x.site.activation, s)
    return limit if np.isfinite(limit) else 0.0
