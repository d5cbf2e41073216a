"""Rules: which site becomes what, and the kernels that do it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax

from jaxbarron.activations import (
    Activation,
    activation,
    is_registered,
    registered_activations,
)
from jaxbarron.errors import NoSiteError, UnreachableTargetError, UsageError
from jaxbarron.kernels.factored import kernel_as_activation
from jaxbarron.measures import ParticleMeasure, check_kernel
from jaxbarron.switching.recognise import same_function
from jaxbarron.switching.sites import Site

__all__ = [
    "Demand",
    "Replacement",
    "Rules",
    "Source",
    "Target",
    "function_of",
    "plan_replacements",
    "read_rules",
]

Source = str | Activation | Callable[[Any], Any]
Target = str | Activation | tuple[ParticleMeasure, str | Activation]


class Replacement(NamedTuple):
    """One planned replacement: ``site`` becomes ``sum_k c_k target(alpha_k z + beta_k)``.

    ``certificate`` bounds the error of ``kernel``; it is None for a kernel given by the user.
    """

    site: Site
    target: Activation
    kernel: ParticleMeasure
    certificate: Any


@dataclass(frozen=True)
class Demand:
    """What the kernels must achieve: the options of :func:`jaxbarron.certified_kernel`."""

    tol: float | None = None
    particles: int | None = None
    reach: float | None = None
    direct: bool = False


@dataclass(frozen=True)
class _Rule:
    """``source`` is None for a path and for "unknown"; ``family`` where the text names one."""

    text: str
    source: Activation | None
    family: str | None
    target: Activation
    kernel: ParticleMeasure | None


@dataclass(frozen=True, eq=False)
class Rules:
    """Rules that were read and checked, and what their kernels must achieve."""

    rules: tuple[_Rule, ...]
    demand: Demand
    kernels: dict[Any, tuple[ParticleMeasure, Any]] = field(
        default_factory=dict[Any, tuple[ParticleMeasure, Any]]
    )
    functions: dict[Any, Callable[[Any], Any]] = field(
        default_factory=dict[Any, Callable[[Any], Any]]
    )

    @property
    def own(self) -> tuple[Activation, ...]:
        """The sources that no registered name stands for."""
        sources = [rule.source for rule in self.rules if rule.source is not None]
        return tuple(source for source in sources if not is_registered(source))


def read_rules(rules: Mapping[Source, Target], demand: Demand) -> Rules:
    """Check rules before any function is traced.

    Raises:
        UnknownActivationError: a name that no activation bears.
        UsageError: no rules, or something that is no rule.
        ToleranceError: a tolerance that is not positive.
        DomainError: a reach that is not positive.
        ShapeError: a given kernel is no kernel.
    """
    if not isinstance(rules, Mapping) or not rules:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            f"given: {rules!r} as rules; expected: a mapping from activations to targets; "
            'do: e.g. {"gelu": "relu"}'
        )
    read = Rules(tuple(_read(x, y) for x, y in rules.items()), demand)
    if any(rule.kernel is None for rule in read.rules):
        # what is wrong with the demand itself is wrong for the easiest pair too
        _certified(activation("relu"), activation("relu"), demand)
    return read


def plan_replacements(
    rules: Rules, sites: Sequence[Site], opaque: Sequence[str]
) -> tuple[Replacement, ...]:
    """What becomes of which site, in the order of the sites.

    Of several rules that speak of a site the narrowest counts: its path, its name, its values, its
    family, ``"unknown"``.

    Raises:
        NoSiteError: no rule speaks of any site, or a path is not there.
        UnreachableTargetError: no kernel is known, or none without an error for a PReLU whose slope
            is an array.
    """
    planned: list[Replacement] = []
    for site in sites:
        rule = _rule_for(rules, site)
        if rule is not None:
            planned.append(Replacement(site, rule.target, *_kernel(rules, rule, site)))
    missing = {rule.text for rule in rules.rules if _is_path(rule.text)} - {x.path for x in sites}
    if missing or not planned:
        wanted = sorted(missing) or [rule.text for rule in rules.rules]
        listed = "; ".join(f"{site.name} {site.shape} at {site.path}" for site in sites) or "none"
        closed = f" (not rewritable: {', '.join(opaque)})" if opaque else ""
        raise NoSiteError(
            f"given: rules for {', '.join(wanted)}; expected: one of the activations of the "
            f"function: {listed}{closed}; do: see find_activations"
        )
    return tuple(planned)


def function_of(rules: Rules, planned: Replacement) -> Callable[[Any], Any]:
    """The elementwise function that replaces a site; one object for one kernel and target.

    It is a jitted function of its own, so that a call outside of jit runs one fused loop, and all
    sites share its compilation.
    """
    key = (id(planned.kernel), planned.target)
    if key not in rules.functions:
        factored = kernel_as_activation(planned.kernel, planned.target)

        def switched(z: Any) -> Any:
            return factored(z)

        switched.__name__ = f"{planned.site.activation.family}_as_{planned.target.family}"
        rules.functions[key] = jax.jit(switched)
    return rules.functions[key]


# --------------------------------------------------------------------- reading


def _read(source: Source, target: Target) -> _Rule:
    kernel: ParticleMeasure | None = None
    if isinstance(target, tuple):
        if len(target) != 2 or not isinstance(target[0], ParticleMeasure):  # pyright: ignore[reportUnnecessaryIsInstance, reportUnnecessaryComparison]
            raise UsageError(
                f"given: {target!r} as a target; expected: a name, an Activation, or the pair of a "
                'kernel and its target; do: e.g. {"gelu": (kernel, "relu")}'
            )
        kernel, target = target
        check_kernel(kernel)
    tau = activation(target)
    if not isinstance(source, str):
        own = activation(source)
        return _Rule(own.name, own, None, tau, kernel)
    text = source.strip()
    if _is_path(text) or text == "unknown":
        return _Rule(text, None, None, tau, kernel)
    sigma = activation(text)
    plain = text.lower().replace("-", "_").replace(" ", "_")
    return _Rule(sigma.name, sigma, plain if plain in _families() else None, tau, kernel)


def _is_path(text: str) -> bool:
    return "[" in text


@functools.cache
def _families() -> frozenset[str]:
    return frozenset(sigma.family for sigma in registered_activations())


# -------------------------------------------------------------------- matching


def _rule_for(rules: Rules, site: Site) -> _Rule | None:
    if site.slopes is not None:  # no rule for one fixed slope speaks of it, nor one for ReLU
        families = [x for y in ("prelu", "leaky_relu") for x in rules.rules if x.family == y]
        at_path = [x for x in rules.rules if x.text == site.path]
        return next(iter(at_path + families), None)
    tests: tuple[Callable[[_Rule], bool], ...] = (
        lambda rule: rule.text == site.path,
        lambda rule: rule.source is not None and rule.source.name == site.name,
        lambda rule: rule.source is not None and same_function(rule.source, site.activation),
        lambda rule: rule.family is not None and _plain(rule.family) == site.activation.family,
        lambda rule: rule.text == "unknown" == site.name,
    )
    return next((rule for test in tests for rule in rules.rules if test(rule)), None)


def _plain(family: str) -> str:
    return "leaky_relu" if family == "prelu" else family  # one family under two names


def _kernel(rules: Rules, rule: _Rule, site: Site) -> tuple[ParticleMeasure, Any]:
    if rule.kernel is not None:
        return rule.kernel, None
    key = (site.activation, rule.target)
    if key not in rules.kernels:
        rules.kernels[key] = _certified(*key, rules.demand)
    kernel, certificate = rules.kernels[key]
    if site.slopes is not None and certificate.upper > 0:
        raise UnreachableTargetError(
            f"given: {site.name} with an array of slopes at {site.path} -> {rule.target.name}; "
            "expected: a target that represents ReLU without an error, which the slopes would "
            f'multiply; do: switch {{"prelu": "relu"}} first, then {{"relu": "{rule.target.name}"}}'
        )
    return kernel, certificate


def _certified(
    source: Activation, target: Activation, demand: Demand
) -> tuple[ParticleMeasure, Any]:
    # Imported where a kernel is wanted: to find sites needs no ball arithmetic.
    from jaxbarron.certify import certified_kernel

    return certified_kernel(source, target, **dataclasses.asdict(demand))
