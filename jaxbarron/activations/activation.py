"""An activation: a scalar function together with the facts that the theory needs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxbarron.programs import Program, trace

__all__ = ["Activation", "Growth", "Kink", "Line"]


@dataclass(frozen=True)
class Line:
    """The line ``slope * z + intercept`` to which an activation tends at an infinity."""

    slope: float
    intercept: float


@dataclass(frozen=True)
class Kink:
    """A point where a derivative jumps.

    ``jumps[j]`` is sigma^(j)(location + 0) - sigma^(j)(location - 0), j = 0, ..., 3.
    These are the atoms of sigma', ..., sigma'''' (THEORY.md, Theorem Taylor kernel).
    """

    location: float
    jumps: tuple[float, float, float, float]


@dataclass(frozen=True)
class Growth:
    """The inequality ``|sigma(z)| <= constant + factor * |z|**order`` for all real z."""

    constant: float
    factor: float
    order: int


@dataclass(frozen=True)
class Activation:
    """A scalar function sigma: R -> R, applied elementwise, and what is known of it.

    Get one from :func:`jaxbarron.activation` or :func:`jaxbarron.repu` rather than from here.

    Attributes:
        name: canonical name, such as ``"gelu"`` or ``"leaky_relu(0.2)"``; for a registered
            activation ``activation(name)`` gives the same object back.
        fn: the function itself, in JAX.
        family: the name shared by the variants of one activation (``"gelu"`` and
            ``"gelu_tanh"``; ``"softplus"`` for every softplus(beta)).
        kinks: the points where one of the first four derivatives jumps, ascending.
        left: the asymptotic line at -infinity, None where there is none or none is known.
        right: the same at +infinity.
        parity: ``"even"``, ``"odd"`` or None.
        homogeneity: s if the function is RePU_s(z) = max(0, z)**s, else None.
        growth: a bound on the function on all of R, None where none is known.
        elementwise: whether ``fn`` takes arrays of any shape; False for a user's own scalar
            function, which is then vectorised.
    """

    name: str
    fn: Callable[[Any], Any]
    family: str
    kinks: tuple[Kink, ...] = ()
    left: Line | None = None
    right: Line | None = None
    parity: Literal["even", "odd"] | None = None
    homogeneity: int | None = None
    growth: Growth | None = None
    elementwise: bool = True

    def __call__(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Sigma applied elementwise, in the dtype of ``z``."""
        fn = self.fn if self.elementwise else jnp.vectorize(self.fn)
        return fn(z)

    def __repr__(self) -> str:
        return f"Activation({self.name!r})"

    @functools.cached_property
    def program(self) -> Program:
        """The function as a scalar program, traced in double precision.

        Raises:
            TraceError: JAX cannot trace the function on a scalar.
            UnsupportedPrimitiveError: a primitive has no rule; the message names it.
        """
        return trace(self.fn)

    def derivative(self, order: int = 1) -> Activation:
        """The derivative sigma^(order) as an activation of its own, by automatic differentiation.

        For RePU_s use :func:`jaxbarron.derivative` on the measure, which stays within RePU.
        """
        fn = self.fn
        for _ in range(order):
            fn = _differentiated(fn)
        name = f"{self.name}{chr(39) * order}" if order else self.name
        parity = self.parity
        if parity is not None and order % 2:
            parity = "odd" if parity == "even" else "even"
        return Activation(name, fn, family=name, parity=parity)


def _differentiated(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def derivative(z: Any) -> Any:
        z = jnp.asarray(z)
        return jax.jvp(fn, (z,), (jnp.ones_like(z),))[1]

    return derivative
