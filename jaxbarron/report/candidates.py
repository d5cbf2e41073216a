"""The ways to change the activation that the report holds beside each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxbarron.certificates import Certificate, kernel_certificate
from jaxbarron.errors import JaxbarronError
from jaxbarron.measures import ParticleMeasure
from jaxbarron.plots import knots_of
from jaxbarron.report.data import Kind
from jaxbarron.report.recording import Observed
from jaxbarron.report.single_particle import fitted_particle
from jaxbarron.report.subject import OwnModel
from jaxbarron.switching import Replacement, plan_switch, switch

__all__ = ["Way", "asked_way", "other_ways", "size_in_words"]


@dataclass(frozen=True, eq=False)
class Way:
    """One way: its name, and what becomes of each site.

    A kernel of one particle with factor and slope 1 and no offset is the plain replacement.
    """

    name: str
    planned: tuple[Replacement, ...]

    @property
    def kind(self) -> Kind:
        """A single particle a site replaces the function; more of them keep it."""
        return "kernel switch" if self.particles > 1 or self.exact else "plain replacement"

    @property
    def exact(self) -> bool:
        """Whether every kernel is the activation itself, up to the rounding of its floats."""
        return all(c is not None and c.upper < 1e-6 for c in self.certificates)

    @property
    def certificates(self) -> tuple[Certificate | None, ...]:
        """One for each site."""
        return tuple(plan.certificate for plan in self.planned)

    @property
    def worst(self) -> Certificate | None:
        """The certificate with the largest error; None where a kernel has none."""
        found = [c for c in self.certificates if c is not None]
        return max(found, key=lambda c: c.upper) if len(found) == len(self.planned) else None

    @property
    def particles(self) -> int:
        """The largest number at a site."""
        return max(plan.kernel.particles for plan in self.planned)

    @property
    def numbers(self) -> int:
        """How many numbers the kernels hold, site by site."""
        return sum(3 * plan.kernel.particles for plan in self.planned if not _is_plain(plan.kernel))

    @property
    def words(self) -> str:
        """What stands at the sites."""
        first, *others = dict.fromkeys(size_in_words(plan) for plan in self.planned)
        return first if not others else f"{first}, and {len(others)} more, site by site"

    def switched(self, apply: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """The switched model."""
        rules: dict[Any, Any] = {
            plan.site.path: (plan.kernel, plan.target) for plan in self.planned
        }
        return switch(apply, rules)


def size_in_words(plan: Replacement) -> str:
    """A kernel's size: one for one, one particle with its numbers, or how many knots."""
    kernel, target = plan.kernel, plan.target
    if _is_plain(kernel):
        return f"{target.name}, one for one"
    if kernel.particles == 1:
        a, alpha, beta = (
            float(np.ravel(x)[0]) for x in (kernel.weights, kernel.directions, kernel.offsets)
        )
        return f"{a:.4g} {target.name}({alpha:.4g} z {'-' if beta < 0 else '+'} {abs(beta):.4g})"
    if target.homogeneity is not None:
        return f"{kernel.particles} particles of {target.name}, {len(knots_of(kernel))} knots"
    return f"{kernel.particles} particles of {target.name}"


def _is_plain(kernel: ParticleMeasure) -> bool:
    leaves = (kernel.weights, kernel.directions, kernel.offsets)
    numbers = [np.ravel(x).tolist() for x in leaves]
    return numbers == [[1.0], [1.0], [0.0]]


def asked_way(planned: Sequence[Replacement]) -> Way:
    """What was asked for."""
    return Way("as asked", tuple(planned))


def other_ways(
    model: OwnModel,
    rules: Mapping[Any, Any],
    reach: float | None,
    asked: Way,
    sizes: Sequence[int],
    found: Mapping[str, Observed],
) -> tuple[list[Way], list[tuple[str, str]]]:
    """The plain replacement, the best single particle, and kernels of fixed sizes.

    Args:
        model: the model on its data.
        rules: as for :func:`jaxbarron.switch`.
        reach: as there.
        asked: what was asked for; a way of the same kernels is left out.
        sizes: numbers of particles.
        found: pre-activations by site, to fit the single particle to; empty: it is left out.

    Returns:
        The ways, and of those that are not to be had name and reason.
    """
    ways: list[Way] = []
    missing: list[tuple[str, str]] = []
    plain = {source: to[1] if isinstance(to, tuple) else to for source, to in rules.items()}

    def add(name: str, make: Callable[[], tuple[Replacement, ...]]) -> None:
        try:
            planned = make()
        except JaxbarronError as refused:
            missing.append((name, str(refused)))
            return
        known = [_numbers(way.planned) for way in (asked, *ways)]
        if _numbers(planned) not in known:
            ways.append(Way(name, planned))

    def planned_with(**demand: Any) -> tuple[Replacement, ...]:
        return plan_switch(model.apply, plain, model.parameters, model.batch, reach=reach, **demand)

    add("one for one", lambda: planned_with(direct=True))
    if found:
        add("one scaled particle", lambda: _fitted(asked.planned, found))
    for size in sorted(set(sizes)):
        add(f"K = {size}", lambda size=size: planned_with(particles=size))
    return ways, missing


def _numbers(planned: Sequence[Replacement]) -> list[Any]:
    return [
        (plan.site.path, *(np.ravel(x).tolist() for x in
         (plan.kernel.weights, plan.kernel.directions, plan.kernel.offsets)))
        for plan in planned
    ]  # fmt: skip


def _fitted(
    planned: Sequence[Replacement], found: Mapping[str, Observed]
) -> tuple[Replacement, ...]:
    made: list[Replacement] = []
    for plan in planned:
        source, sample = plan.site.activation, found[plan.site.path].sample
        kernel = fitted_particle(source, plan.target, sample)
        # Its tails are not the activation's: what is certified holds where the data reaches.
        reach = 2.0 ** math.ceil(math.log2(max(float(np.abs(sample).max()), 1.0)))
        certificate = kernel_certificate(kernel, source, plan.target, reach=reach)
        made.append(plan._replace(kernel=certificate.kernel, certificate=certificate))
    return tuple(made)
