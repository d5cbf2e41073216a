"""Masks: numbers of which some are -inf, wherever the input is.

``where(mask, scores, -inf)`` is followed as two arrays: reals, and which places are gone.  An
exponential makes 0 of what is gone; a maximum over numbers that are not all gone is a real.
Everything else needs reals, and is refused (THEORY.md, Theorem Differential propagation).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxbarron.bounds.networks.maps import selection
from jaxbarron.bounds.networks.reading import Known, NoRule, Reader, Unknown

__all__ = ["Masked", "added", "apply_masked", "masked_or_real"]

Apply = Callable[[list[Any]], list[Any]]

_KEEPERS = ("convert_element_type", "copy", "copy_p", "stop_gradient", "reduce_precision")


@dataclass(frozen=True, eq=False)
class Masked:
    """-inf where ``gone``, else the numbers of ``base``, which are reals everywhere."""

    base: Any
    gone: Any

    reason = "numbers that a mask made infinite"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.gone.shape)


def masked_or_real(base: Any, gone: Any) -> Any:
    """The numbers with those that are gone."""
    return Masked(base, gone) if gone.any() else base


def apply_masked(reader: Reader, eqn: Any, operands: list[Any], apply: Apply) -> list[Any]:
    """An equation of which an operand is masked; ``apply`` is its rule for reals."""
    name, shape = eqn.primitive.name, tuple(eqn.outvars[0].aval.shape)
    first = operands[0]
    if name in _KEEPERS and jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating):
        return list(operands)
    if name == "exp":
        (whole,) = apply([first.base])
        places = np.where(first.gone.reshape(-1), -1, np.arange(first.gone.size))
        terms = [(whole.node, selection(places, first.gone.size))]
        return [Unknown(reader.build.affine(terms, first.gone.size), shape)]
    if name == "reduce_max":
        if first.gone.all(axis=tuple(eqn.params["axes"])).any():
            raise NoRule("reduce_max: of numbers that a mask made all infinite")
        return apply([first.base])
    if name in ("add", "sub", "mul", "div") and _keeps_infinity(name, *operands):
        parts = [x.base if isinstance(x, Masked) else x for x in operands]
        gone = next(x.gone for x in operands if isinstance(x, Masked))
        return [Masked(apply(parts)[0], np.broadcast_to(gone, shape))]
    raise NoRule(f"{name}: of {Masked.reason}")


def _keeps_infinity(name: str, x: Any, y: Any) -> bool:
    """Whether -inf stays -inf: beside a real, and times a number that is positive."""
    if isinstance(y, Masked):
        x, y = y, x
        if name in ("sub", "div"):
            return False
    if name in ("add", "sub"):
        return isinstance(y, Unknown) or (isinstance(y, Known) and bool(np.isfinite(y.value).all()))
    radius = getattr(y, "radius", None)
    least = 0.0 if radius is None else radius
    return isinstance(y, Known) and bool(np.all((y.value > least) & np.isfinite(y.value)))


def added(reader: Reader, operands: list[Any], shape: Sequence[int]) -> list[Any] | None:
    """A sum in which a mask of -inf is added; None where there is none."""
    for k, x in enumerate(operands):
        gone = x.value == -np.inf if isinstance(x, Known) and x.radius is None else np.zeros(0)
        if gone.any():
            parts = [*operands[:k], Known(np.where(gone, 0.0, x.value)), *operands[k + 1 :]]
            return [Masked(reader.sum([(y, 1.0) for y in parts], shape)[0], gone)]
    return None
