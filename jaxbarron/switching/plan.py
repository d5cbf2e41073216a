"""What a switch would do: sites, kernels, certificates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jaxbarron.switching.rules import (
    Demand,
    Replacement,
    Rules,
    Source,
    Target,
    plan_replacements,
    read_rules,
)
from jaxbarron.switching.sites import Scope, opaque_paths, scope_of, sites_of
from jaxbarron.switching.tracing import check_callable, split_call, trace

__all__ = ["plan_of", "plan_switch"]


def plan_switch(
    fn: Callable[..., Any],
    rules: Mapping[Source, Target],
    *args: Any,
    tol: float | None = None,
    particles: int | None = None,
    reach: float | None = None,
    direct: bool = False,
    **kwargs: Any,
) -> tuple[Replacement, ...]:
    """What :func:`switch` would do to ``fn(*args, **kwargs)``, without running it.

    Returns:
        For each site that a rule speaks of ``(site, target, kernel, certificate)``.

    Raises:
        The errors of :func:`switch`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> (plan,) = plan_switch(jax.nn.gelu, {"gelu": "relu"}, jnp.ones(3), tol=1e-2)
        >>> plan.site.name, plan.kernel.particles, plan.certificate.upper <= 1e-2
        ('gelu_tanh', 8, True)
    """
    check_callable(fn)
    read = read_rules(rules, Demand(tol, particles, reach, direct))
    return plan_of(read, scope_of(trace(fn, split_call(args, kwargs)), read.own))


def plan_of(rules: Rules, scope: Scope) -> tuple[Replacement, ...]:
    """What becomes of the sites of a function that was traced."""
    return plan_replacements(rules, tuple(sites_of(scope)), tuple(opaque_paths(scope)))
