"""Linear forms in shared symbols, with a remainder: values that remember what they depend on.

A form says of a number v, a function of the input x: there are symbols in [-1, 1], functions of x
that all forms of one analysis share, with ``|v - centre - sum_s slopes[s] symbol_s| <= radius``.
The first symbols are the coordinates of the input box.  What each operation does to forms is
Theorem Interval propagation of THEORY.md; each rounds outwards (Theorem Floating-point outward
rounding).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxbarron.bounds.networks.maps import LinearMap
from jaxbarron.bounds.networks.rounding import allowance, raised

__all__ = [
    "Form",
    "Group",
    "add",
    "affine",
    "contract",
    "euclidean",
    "form_of",
    "interval",
    "joint_group",
    "multiply",
    "shortened",
    "total",
]


@dataclass(frozen=True)
class Group:
    """The first ``count`` symbols lie together in the unit ball of the norm ``ord``: 1 or 2."""

    count: int
    ord: float


@dataclass(frozen=True, eq=False)
class Form:
    """An array of forms: centre (..., n), slopes (..., S, n), radius (..., n), norm (...,).

    ``norm`` bounds the Euclidean norm of the n remainders together: sums over neurons
    of many small remainders are then bounded by Cauchy and Schwarz, and matrices by their spectral
    norm, where moduli would add up to far more (THEORY.md, Theorem Differential propagation).
    """

    centre: Any
    slopes: Any
    radius: Any
    norm: Any
    group: Group | None = None

    @property
    def symbols(self) -> int:
        """S; symbols from S on have the slope 0."""
        return int(self.slopes.shape[-2])


def form_of(
    centre: Any, slopes: Any, radius: Any, norm: Any = np.inf, group: Group | None = None
) -> Form:
    """A form whose norm is that of the radii at most, and whose radii are at most the norm."""
    norm = np.minimum(norm, euclidean(radius))
    return Form(centre, slopes, np.minimum(radius, norm[..., None]), norm, group)


def euclidean(radius: Any) -> Any:
    """An upper bound of the Euclidean norm over the last axis."""
    largest = np.max(radius, axis=-1, initial=0.0)
    safe = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    scaled = np.sum((radius / safe[..., None]) ** 2, axis=-1)  # no square underflows unseen
    return raised(safe * np.sqrt(raised(scaled, radius.shape[-1] + 4)), 4)


def total(form: Form) -> Any:
    """An upper bound of ``|sum_s slopes[s] symbol_s|``, shape (..., n).

    Each symbol alone counts with its modulus, those of a ball together with the dual norm.
    """
    if not form.symbols:
        return np.zeros(form.centre.shape)
    count = 0 if form.group is None else min(form.group.count, form.symbols)
    size = np.abs(form.slopes[..., count:, :]).sum(axis=-2)
    if count:
        first = form.slopes[..., :count, :]
        assert form.group is not None
        if form.group.ord == 1:
            size = size + np.max(np.abs(first), axis=-2)
        else:
            size = size + euclidean(np.swapaxes(first, -1, -2))
    return raised(size, form.symbols + 4)


def joint_group(*forms: Form) -> Group | None:
    """What is known of the first symbols: all forms of one analysis speak of the same."""
    return next((form.group for form in forms if form.group is not None), None)


def interval(form: Form) -> tuple[Any, Any]:
    """Lower and upper bounds of the values."""
    half = raised(total(form) + form.radius, 2)
    half = raised(half + allowance(np.abs(form.centre) + half, 2), 2)
    return form.centre - half, form.centre + half


def shortened(full: Form, symbols: int) -> Form:
    """The same with at most so many symbols; the others go into the radius."""
    if full.symbols <= symbols:
        return full
    rest = np.abs(full.slopes[..., symbols:, :]).sum(axis=-2)  # each symbol is in [-1, 1]
    radius = raised(full.radius + rest, full.symbols + 1)
    return form_of(full.centre, full.slopes[..., :symbols, :], radius, group=full.group)


def affine(
    terms: Sequence[tuple[LinearMap, Form]], bias: Any, bias_radius: Any, *, adjoint: bool = False
) -> Form:
    """``bias + sum_k L_k v_k``, or with the transposes; (..., n_in) -> (..., n_out)."""
    symbols = max((v.symbols for _, v in terms), default=0)
    centre, radius, magnitude = bias, bias_radius, np.abs(bias)
    norm = euclidean(bias_radius)
    slopes: Any = None
    count = sum(linear.terms for linear, _ in terms) + len(terms)
    for linear, v in terms:
        apply = linear.backward if adjoint else linear.forward
        bounds = linear.modulus()
        bound = bounds.backward if adjoint else bounds.forward
        centre = centre + apply(v.centre)
        moved = _padded(apply(v.slopes), symbols)
        slopes = moved if slopes is None else slopes + moved
        radius = radius + bound(v.radius)
        norm = norm + linear.norm() * v.norm
        magnitude = magnitude + bound(np.abs(v.centre) + total(v))
    rounding = allowance(magnitude, count)
    radius = raised(raised(radius, count) + rounding, 2)
    norm = raised(raised(norm, 2 * len(terms)) + euclidean(rounding), 2)
    if slopes is None:
        slopes = np.zeros((*centre.shape[:-1], 0, centre.shape[-1]))
    return form_of(centre, slopes, radius, norm, joint_group(*(v for _, v in terms)))


def add(first: Form, second: Form) -> Form:
    """The sum of two arrays of forms of one shape."""
    symbols = max(first.symbols, second.symbols)
    magnitude = np.abs(first.centre) + np.abs(second.centre) + total(first) + total(second)
    rounding = allowance(magnitude, 4)
    return form_of(
        first.centre + second.centre,
        _padded(first.slopes, symbols) + _padded(second.slopes, symbols),
        raised(first.radius + second.radius + rounding, 4),
        raised(first.norm + second.norm + euclidean(rounding), 4),
        joint_group(first, second),
    )


def multiply(first: Form, second: Form) -> Form:
    """The products, elementwise; ``first`` may have leading axes that ``second`` lacks."""
    symbols = max(first.symbols, second.symbols)
    totals, others = total(first), total(second)
    sizes, other_sizes = np.abs(first.centre), np.abs(second.centre)
    slopes = np.zeros((*first.centre.shape[:-1], symbols, first.centre.shape[-1]))
    slopes[..., : second.symbols, :] = first.centre[..., None, :] * second.slopes
    slopes[..., : first.symbols, :] += first.slopes * second.centre
    linear = sizes * other_sizes + sizes * others + totals * other_sizes
    largest = other_sizes + others + second.radius
    new = raised(totals * others + (sizes + totals) * second.radius, 8) + allowance(linear, 8)
    radius = raised(raised(first.radius * largest, 8) + new, 2)
    norm = raised(first.norm * raised(largest, 8).max(axis=-1, initial=0.0) + euclidean(new), 8)
    return form_of(first.centre * second.centre, slopes, radius, norm, joint_group(first, second))


def contract(first: Form, second: Form) -> Form:
    """``sum_n first[..., n] second[n]``: leading axes (o,) to an array of o forms."""
    size = second.centre.shape[-1]
    symbols = max(first.symbols, second.symbols)
    totals, others = total(first), total(second)
    sizes, other_sizes = np.abs(first.centre), np.abs(second.centre)
    slopes = np.zeros((symbols, first.centre.shape[0]))
    slopes[: second.symbols] = second.slopes @ first.centre.T
    slopes[: first.symbols] += (first.slopes @ second.centre).T
    linear = sizes @ (other_sizes + others) + totals @ other_sizes
    largest = raised(other_sizes + others + second.radius, 4)
    remainders = np.minimum(
        raised(first.radius @ largest, size + 4), raised(first.norm * euclidean(largest), 4)
    )
    new = np.minimum(
        raised((sizes + totals) @ second.radius, size + 4),
        raised(euclidean(raised(sizes + totals, 4)) * second.norm, 4),
    )
    radius = raised(totals @ others, size + 4) + new + remainders
    radius = raised(raised(radius, 4) + allowance(linear, size + 8), 2)
    return form_of(first.centre @ second.centre, slopes, radius, group=joint_group(first, second))


def _padded(slopes: Any, symbols: int) -> Any:
    missing = symbols - slopes.shape[-2]
    if not missing:
        return slopes
    empty = np.zeros((*slopes.shape[:-2], missing, slopes.shape[-1]))
    return np.concatenate([slopes, empty], axis=-2)
