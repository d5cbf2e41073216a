"""Softmax: numbers known up to a maximum that cancels in the end.

``exp(x - max x) / sum exp(x - max x)`` does not depend on the maximum, and neither do the bounds
(nor does ``max x + log sum exp(x - max x)``):
what was taken off is remembered place by place, and must have gone before anything else is done.
Other numbers than the maximum would do as well, so nothing has to be known of it but that it is
finite: it is, since no other number enters a network (:mod:`jaxbarron.bounds.networks.reading`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxbarron.bounds.networks.reading import Known, NoRule, Reader, Unknown, Value

__all__ = ["MOVES", "Relative", "apply_relative", "peak"]

# Of one operand: each number that comes out is one that went in.
MOVES = ("broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "slice", "rev")
_KEEPERS = ("convert_element_type", "copy", "copy_p", "stop_gradient", "reduce_precision")

Apply = Callable[[list[Any]], list[Value]]  # the same primitive, of other operands
Bound = Callable[[Any, Sequence[Any]], list[Any]]


@dataclass(frozen=True, eq=False)
class Relative:
    """Numbers up to those that ``rows`` names: ``base - M`` (a shift) or ``base exp(-M)``.

    ``base`` is None for the numbers M themselves.
    """

    base: Any
    rows: Any
    shift: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.rows.shape)


def peak(reader: Reader, eqn: Any, operands: list[Any]) -> list[Any]:
    """The maximum over axes, under a new name for each row."""
    del operands
    shape = tuple(eqn.outvars[0].aval.shape)
    rows = reader.new_rows(int(np.prod(shape))).reshape(shape)
    return [Relative(None, rows, True)]


def apply_relative(eqn: Any, operands: list[Any], apply: Apply, bound: Bound) -> list[Any]:
    """An equation of which an operand is relative."""
    name, shape = eqn.primitive.name, tuple(eqn.outvars[0].aval.shape)
    first = operands[0]
    if name in _KEEPERS and jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating):
        return list(operands)
    if name == "max" and _is_minus_infinity(first):
        return [operands[1]]
    if name == "is_finite" and isinstance(first, Relative):
        return [Known(np.ones(shape, bool))]  # the maximum of reals is one
    if name == "select_n" and isinstance(first, Known) and not first.is_real:
        taken = {int(x) for x in np.unique(first.value)}
        if len(taken) == 1:  # the same operand everywhere
            return [operands[1 + taken.pop()]]
        return [_selected(operands, apply)]
    if name in MOVES and isinstance(first, Relative):
        (rows,) = bound(eqn, [first.rows])
        base = None if first.base is None else apply([first.base])[0]
        return [Relative(base, np.asarray(rows), first.shift)]
    if isinstance(first, Relative) and first.base is not None:
        if name == "exp" and first.shift:
            return [Relative(apply([first.base])[0], first.rows, False)]
        if name == "abs" and not first.shift:
            return [Relative(apply([first.base])[0], first.rows, False)]
        if name == "log" and not first.shift:
            return [Relative(apply([first.base])[0], first.rows, True)]
        if name == "reduce_sum" and not first.shift:
            axes = tuple(eqn.params["axes"])
            rows = first.rows.min(axis=axes)
            if np.array_equal(rows, first.rows.max(axis=axes)):
                return [Relative(apply([first.base])[0], rows, False)]
    if name == "add" and all(isinstance(x, Relative) for x in operands):
        return [_whole_again(*operands)]
    if name in ("sub", "div", "mul") and len(operands) == 2:
        found = _of_two(eqn, operands, apply, shape)
        if found is not None:
            return [found]
    raise NoRule(f"{name}: of numbers relative to a maximum, which it would need to know")


def _selected(operands: list[Any], apply: Apply) -> Relative:
    """Numbers relative to one maximum, or known ones that are so too: ``0 exp(-M)``, -inf - M."""
    relative = [x for x in operands if isinstance(x, Relative)]
    first = relative[0]
    same = all(
        x.shift == first.shift and x.base is not None and np.array_equal(x.rows, first.rows)
        for x in relative
    )
    others = [x for x in operands[1:] if not isinstance(x, Relative)]
    fixed = -np.inf if first.shift else 0.0
    known = all(isinstance(x, Known) and x.radius is None and np.all(x.value == fixed)
                for x in others)  # fmt: skip
    if not (same and known):
        raise NoRule("select_n: of numbers relative to a maximum, which it would need to know")
    bases = [x.base if isinstance(x, Relative) else x for x in operands]
    return Relative(apply(bases)[0], first.rows, first.shift)


def _whole_again(x: Relative, y: Relative) -> Any:
    """``(base - M) + M``: what a logarithm of a sum of exponentials ends with."""
    if x.base is None:
        x, y = y, x
    if x.base is None or y.base is not None or not x.shift or not np.array_equal(x.rows, y.rows):
        raise NoRule("add: of numbers relative to a maximum, which it would need to know")
    return x.base


def _is_minus_infinity(x: Any) -> bool:
    return isinstance(x, Known) and bool(np.all(x.value == -np.inf))


def _of_two(eqn: Any, operands: list[Any], apply: Apply, shape: tuple[int, ...]) -> Any:
    name, (x, y) = eqn.primitive.name, operands
    if not isinstance(x, Relative):
        if name == "sub" and y.base is None:
            return Relative(x, np.broadcast_to(y.rows, shape), True)
        if name == "mul" and not y.shift:
            base = apply([x, y.base])[0]
            return Relative(base, np.broadcast_to(y.rows, shape), False)
        return None
    if x.base is None:
        return None
    if isinstance(y, Known | Unknown):
        if name in ("mul", "div") and not x.shift:
            base = apply([x.base, y])[0]
            return Relative(base, np.broadcast_to(x.rows, shape), False)
        return None
    if not isinstance(y, Relative):
        return None
    cancels = name == ("sub" if x.shift else "div") and x.shift == y.shift
    if cancels and y.base is not None and np.all(x.rows == y.rows):
        return apply([x.base, y.base])[0]
    return None
