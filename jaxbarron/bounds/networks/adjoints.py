"""What a difference at a node is worth at the outputs: linear forms, and remainders kept apart.

A remainder that arises at one node is a vector in a box and in a ball.  It is not bounded again at
each layer, where the product of the layers' norms would count, but carried through the layers by
the matrix of their weights and of the slopes' centres: the norm of one product of matrices is far
less than the product of their norms (THEORY.md, Theorem Differential propagation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxbarron.bounds.networks.forms import (
    Form,
    add,
    affine,
    contract,
    euclidean,
    form_of,
    multiply,
    total,
)
from jaxbarron.bounds.networks.maps import LinearMap
from jaxbarron.bounds.networks.rounding import allowance, norm_by_moduli, raised, spectral_norm

__all__ = ["Adjoint", "contracted", "joined", "seed", "through_map", "through_slopes",
           "without_centre"]  # fmt: skip

_LARGEST = 512  # numbers at a node between which remainders are carried by dense matrices


@dataclass(frozen=True, eq=False)
class _Carried:
    """A remainder ``rho`` (rows, k) with its bounds, seen at a node through ``rho @ matrix``."""

    radius: Any  # (rows, k): of each number
    norm: Any  # (rows,): of the vector
    matrix: Any  # (k, n)

    def bounds(self) -> tuple[Any, Any]:
        """Bounds of each number (rows, n) and of the vector's norm, at the present node."""
        moduli, size = np.abs(self.matrix), max(self.matrix.shape) + 4
        columns = euclidean(moduli.T)
        radius = np.minimum(
            raised(self.radius @ moduli, size), raised(self.norm[:, None] * columns, 4)
        )
        spread = min(norm_by_moduli(moduli), spectral_norm(self.matrix))
        return radius, np.minimum(raised(self.norm * spread, 4), euclidean(radius))


@dataclass(frozen=True, eq=False)
class Adjoint:
    """Coefficients (rows, n) of the differences at a node, up to the carried remainders."""

    form: Form
    carried: Mapping[int, _Carried]


def seed(matrix: Any) -> Adjoint:
    """Each row of an array of exact doubles is a sum over a node, with its entries as weights."""
    rows, size = matrix.shape
    return Adjoint(form_of(matrix, np.zeros((rows, 0, size)), np.zeros_like(matrix)), {})


def joined(first: Adjoint, second: Adjoint) -> Adjoint:
    """The sum, where two paths meet."""
    form, carried = add(first.form, second.form), dict(first.carried)
    for key, mine in second.carried.items():
        if key not in carried:
            carried[key] = mine
            continue
        matrix = carried[key].matrix + mine.matrix
        moduli = np.abs(carried[key].matrix) + np.abs(mine.matrix)
        form = _with_rounding(form, mine, allowance(moduli, 4))
        carried[key] = _Carried(mine.radius, mine.norm, matrix)
    return Adjoint(form, carried)


def through_map(adjoint: Adjoint, linear: LinearMap, size: int) -> Adjoint:
    """Through the transpose of a linear map, to a node of this size."""
    zero = np.zeros((adjoint.form.centre.shape[0], size))
    form = affine([(linear, adjoint.form)], zero, zero, adjoint=True)
    carried: dict[int, _Carried] = {}
    if size > _LARGEST:
        for x in adjoint.carried.values():
            radius, norm = x.bounds()
            moved = raised(linear.modulus().backward(radius), linear.terms + 2)
            form = _with_remainder(form, moved, raised(norm * linear.norm(), 4))
        return Adjoint(form, carried)
    for key, x in adjoint.carried.items():
        matrix = linear.backward(x.matrix)
        rounding = allowance(linear.modulus().backward(np.abs(x.matrix)), linear.terms + 2)
        form = _with_rounding(form, x, rounding)
        carried[key] = _Carried(x.radius, x.norm, matrix)
    return Adjoint(form, carried)


def through_slopes(adjoint: Adjoint, slope: Form, key: int) -> Adjoint:
    """Times the slopes of an elementwise step; the new remainder is carried under ``key``."""
    form = multiply(adjoint.form, slope)
    away = raised(total(slope) + slope.radius, 4)
    carried: dict[int, _Carried] = {}
    for old, x in adjoint.carried.items():
        radius, norm = x.bounds()
        form = _with_remainder(
            form, raised(radius * away, 4), raised(norm * np.max(away, initial=0.0), 4)
        )
        matrix = x.matrix * slope.centre
        form = _with_rounding(form, x, allowance(np.abs(matrix), 4))
        carried[old] = _Carried(x.radius, x.norm, matrix)
    size = form.centre.shape[-1]
    if size > _LARGEST:
        return Adjoint(form, carried)
    carried[key] = _Carried(form.radius, form.norm, np.eye(size))
    rest = np.zeros_like(form.radius)
    return Adjoint(form_of(form.centre, form.slopes, rest, group=form.group), carried)


def contracted(adjoint: Adjoint, values: Form) -> Form:
    """The sums over a node of coefficient times value, one for each row."""
    result = contract(adjoint.form, values)
    sizes = raised(np.abs(values.centre) + total(values) + values.radius, 4)
    extra = np.zeros(result.radius.shape)
    for x in adjoint.carried.values():
        radius, norm = x.bounds()
        extra = extra + np.minimum(
            raised(radius @ sizes, len(sizes) + 4), raised(norm * euclidean(sizes), 4)
        )
    extra = raised(result.radius + extra, len(adjoint.carried) + 4)
    return form_of(result.centre, result.slopes, extra, group=result.group)


def without_centre(adjoint: Adjoint) -> Adjoint:
    """What is left of the coefficients when the doubles at their centres are taken off."""
    form = adjoint.form
    zero = np.zeros_like(form.centre)
    return Adjoint(form_of(zero, form.slopes, form.radius, form.norm, form.group), adjoint.carried)


def _with_remainder(form: Form, radius: Any, norm: Any) -> Form:
    return form_of(
        form.centre,
        form.slopes,
        raised(form.radius + radius, 4),
        raised(form.norm + norm, 4),
        form.group,
    )


def _with_rounding(form: Form, x: _Carried, rounding: Any) -> Form:
    """The matrix of a carried remainder is off by at most ``rounding``, entry by entry."""
    columns = euclidean(rounding.T)
    return _with_remainder(
        form,
        raised(x.norm[:, None] * columns, 4),
        raised(x.norm * euclidean(columns), 4),
    )
