"""What each primitive is in a network: moved numbers, linear maps, scalar functions, products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from jaxbarron.bounds.networks.cells import Cells, Pair
from jaxbarron.bounds.networks.constants import fold_reals
from jaxbarron.bounds.networks.maps import Blocks, Sparse, scaling, selection
from jaxbarron.bounds.networks.masks import Masked, added, apply_masked, masked_or_real
from jaxbarron.bounds.networks.primitives import bound, parameters
from jaxbarron.bounds.networks.reading import (
    Known,
    NoRule,
    Reader,
    Unknown,
    Value,
    finite,
    known,
)
from jaxbarron.bounds.networks.shifts import Relative, apply_relative, peak
from jaxbarron.devices import double_on_cpu
from jaxbarron.programs import ARITY, Operation, Program, Register

__all__ = ["RULES", "fold", "with_relative"]

Rule = Callable[[Reader, Any, list[Any]], list[Value]]

# Real arithmetic knows no dtypes, devices, or orders of evaluation.
_IDENTITIES = ("convert_element_type", "copy", "copy_p", "reduce_precision", "optimization_barrier",
               "sharding_constraint", "stop_gradient", "pvary")  # fmt: skip
_MOVES = ("broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "slice", "rev",
          "concatenate", "pad", "select_n", "gather", "dynamic_slice", "dynamic_update_slice",
          "split", "tile", "stack")  # fmt: skip
_PROBED = ("conv_general_dilated", "reduce_window_sum", "cumsum")
_MOST_PROBED = 1 << 28  # numbers in the matrix of a linear primitive, before zeros are dropped


# Of exact numbers these give exact numbers.
_EXACT = {"reduce_max", "reduce_min", "argmax", "argmin", "sort", "floor", "ceil", "round", "rem",
          "bitcast_convert_type"}  # fmt: skip


def fold(eqn: Any, operands: Sequence[Known]) -> list[Value]:
    """An equation whose operands are all known."""
    name, reals = eqn.primitive.name, [x for x in operands if x.is_real]
    if name in _IDENTITIES and operands[0].is_real and _gives_reals(eqn):
        return list(operands)
    if not reals and not _gives_reals(eqn):
        return [known(x) for x in bound(eqn, [x.value for x in operands])]
    if name == "convert_element_type" and jnp.issubdtype(operands[0].value.dtype, jnp.integer):
        return [_as_double(operands[0].value)]
    if name == "convert_element_type" and any(x.radius is not None for x in reals):
        raise NoRule(f"{name}: a number known up to rounding, as an integer")
    if name == "convert_element_type" and reals:
        _check_fits(operands[0].value, eqn.params["new_dtype"])
    if name == "bitcast_convert_type" and reals:
        raise NoRule(f"{name}: the bits of a real number")
    exact = all(x.radius is None for x in operands)
    if name in ("convert_element_type", "iota") or (name in _EXACT and exact):
        return [known(x) for x in bound(eqn, [x.value for x in operands])]
    if name in _MOVES:
        values = bound(eqn, [x.value for x in operands])
        if all(x.radius is None for x in operands):
            return [known(x) for x in values]
        radii = bound(eqn, [_radius(x) if x.is_real else x.value for x in operands])
        return [Known(np.asarray(x), np.asarray(r)) for x, r in zip(values, radii, strict=True)]
    return fold_reals(eqn, operands)


def _radius(x: Known) -> Any:
    return np.zeros(x.shape) if x.radius is None else x.radius


def _check_fits(value: Any, dtype: Any) -> None:
    """Beyond the integers of a dtype a conversion gives what the compiler likes."""
    if not jnp.issubdtype(dtype, jnp.integer):
        return
    low, high = (float(x) for x in (jnp.iinfo(dtype).min, jnp.iinfo(dtype).max))
    if not np.all((np.trunc(value) >= low) & (np.trunc(value) <= high) & (value < 2.0**63)):
        raise NoRule(f"convert_element_type: a number that {jnp.dtype(dtype).name} does not hold")


def _as_double(x: Any) -> Known:
    """Integers as reals: exact up to 2**53."""
    value = x.astype(np.float64)
    if x.size and max(abs(int(x.max())), abs(int(x.min()))) > 1 << 53:
        return Known(value, np.abs(value) * 2.0**-52)
    return Known(value)


def _gives_reals(eqn: Any) -> bool:
    return any(jnp.issubdtype(var.aval.dtype, jnp.floating) for var in eqn.outvars)


# ------------------------------------------------------------------------ moves


def _identity(reader: Reader, eqn: Any, operands: list[Any]) -> list[Value]:
    del reader
    for var in eqn.outvars:
        if not jnp.issubdtype(var.aval.dtype, jnp.floating):
            raise NoRule(f"{eqn.primitive.name}: reals to {var.aval.dtype}")
    return list(operands)


def _move(reader: Reader, eqn: Any, operands: list[Any]) -> list[Value]:
    """Each number that comes out is one that went in: follow their places."""
    if eqn.params.get("fill_value") is not None:
        raise NoRule(f"{eqn.primitive.name}: a fill value")
    tagged: list[Any] = []
    places: list[tuple[Any, int, int]] = []
    count = 0
    for x in operands:
        if isinstance(x, Known) and not x.is_real:
            tagged.append(x.value)
            continue
        size = math.prod(x.shape)
        places.append((x, count, size))
        tagged.append(np.arange(count, count + size).reshape(x.shape))
        count += size
    return [_from_places(reader, eqn, np.asarray(ids), places) for ids in bound(eqn, tagged)]


def _from_places(reader: Reader, eqn: Any, ids: Any, places: Sequence[tuple[Any, int, int]]) -> Any:
    flat = ids.reshape(-1)
    if flat.size and (flat.min() < 0 or flat.max() >= sum(size for _, _, size in places)):
        raise NoRule(f"{eqn.primitive.name}: places outside of its operand")
    bias, radius = np.zeros(flat.size), np.zeros(flat.size)
    gone = np.zeros(flat.size, bool)
    terms: list[tuple[int, Any]] = []
    for x, start, size in places:
        mine = (flat >= start) & (flat < start + size)
        if not mine.any():
            continue
        here = flat[mine] - start
        if isinstance(x, Known):
            numbers = np.asarray(x.value).reshape(-1)[here]
            if x.radius is not None:
                radius[mine] = x.radius.reshape(-1)[here]
            gone[mine] = (numbers == -np.inf) & (radius[mine] == 0)
            bias[mine] = finite(eqn.primitive.name, np.where(gone[mine], 0.0, numbers))
            continue
        if isinstance(x, Masked):
            gone[mine] = x.gone.reshape(-1)[here]
        node = x.base.node if isinstance(x, Masked) else x.node
        terms.append((node, selection(np.where(mine, flat - start, -1), size)))
    node = reader.build.affine(terms, flat.size, bias, radius)
    return masked_or_real(Unknown(node, tuple(ids.shape)), gone.reshape(ids.shape))


# ------------------------------------------------------------------ linear maps


def _add(reader: Reader, eqn: Any, operands: list[Any]) -> list[Value]:
    sign = -1.0 if eqn.primitive.name == "sub" else 1.0
    shape = eqn.outvars[0].aval.shape
    spread = [_spread(reader, x, shape) for x in operands]
    mask = added(reader, spread, shape) if sign > 0 else None
    if mask is not None:
        return mask
    return reader.sum([(spread[0], 1.0), (spread[1], sign)], shape)


def _spread(reader: Reader, x: Any, shape: Sequence[int]) -> Any:
    """Scalars beside arrays are spread to their shape."""
    if tuple(x.shape) == tuple(shape):
        return x
    if isinstance(x, Known):
        radius = None if x.radius is None else np.broadcast_to(x.radius, shape)
        return Known(np.broadcast_to(x.value, shape), radius)
    ids = np.arange(math.prod(x.shape)).reshape(x.shape)
    return reader.selected(x, np.broadcast_to(ids, shape))


def _negative(reader: Reader, eqn: Any, operands: list[Any]) -> list[Value]:
    return reader.sum([(operands[0], -1.0)], eqn.outvars[0].aval.shape)


def _multiply(reader: Reader, eqn: Any, operands: list[Any]) -> list[Value]:
    shape = eqn.outvars[0].aval.shape
    left, right = (_spread(reader, x, shape) for x in operands)
    if isinstance(left, Known):
        left, right = right, left
    if isinstance(right, Known) and right.radius is None:
        size = math.prod(shape)
        factors = finite(eqn.primitive.name, np.asarray(right.value, np.float64).reshape(-1))
        return [Unknown(reader.build.affine([(left.node, scaling(factors))], size), tuple(shape))]
    return reader.product(left, right, shape)


def _divide(reader: Reader, eqn: Any, operands: list[Any]) -> list[Value]:
    shape = eqn.outvars[0].aval.shape
    top, below = (_spread(reader, x, shape) for x in operands)
    if isinstance(below, Known):
        (inverse,) = fold_reals(eqn, [Known(np.ones(below.shape)), below])
        exact = np.frexp(below.value)[0]
        if below.radius is None and np.all(np.abs(exact) == 0.5):
            inverse = Known(1 / below.value)
        return _multiply(reader, eqn, [top, inverse])
    inverse = _scalar_function(reader, below, Operation("div", (1.0, Register(0))))[0]
    if isinstance(top, Known):
        return _multiply(reader, eqn, [inverse, top])
    return reader.product(top, inverse, shape)


def _reduce_sum(reader: Reader, eqn: Any, operands: list[Any]) -> list[Value]:
    (x,) = operands
    axes = eqn.params["axes"]
    kept = [1 if k in axes else n for k, n in enumerate(x.shape)]
    targets = np.broadcast_to(np.arange(math.prod(kept)).reshape(kept), x.shape).reshape(-1)
    entries = (np.ones(targets.size), (targets, np.arange(targets.size)))
    matrix = scipy.sparse.csr_array(entries, shape=(math.prod(kept), targets.size))
    node = reader.build.affine([(x.node, Sparse(matrix))], math.prod(kept))
    return [Unknown(node, tuple(eqn.outvars[0].aval.shape))]


def _dot_general(reader: Reader, eqn: Any, operands: list[Any]) -> list[Value]:
    (contract_l, contract_r), (batch_l, batch_r) = eqn.params["dimension_numbers"]
    left, right = operands
    shape = tuple(eqn.outvars[0].aval.shape)
    for x in operands:
        if isinstance(x, Known):
            finite("dot_general", x.value)
    if isinstance(left, Known) and left.radius is None and isinstance(right, Unknown):
        return [_with_weights(reader, right, left, contract_r, contract_l, batch_r, batch_l, shape,
                              swapped=True)]  # fmt: skip
    if isinstance(right, Known) and right.radius is None and isinstance(left, Unknown):
        return [_with_weights(reader, left, right, contract_l, contract_r, batch_l, batch_r, shape)]
    return _both_unknown(reader, operands, eqn.params["dimension_numbers"], shape)


def _with_weights(
    reader: Reader,
    x: Unknown,
    weights: Known,
    contract_x: Sequence[int],
    contract_w: Sequence[int],
    batch_x: Sequence[int],
    batch_w: Sequence[int],
    shape: tuple[int, ...],
    *,
    swapped: bool = False,
) -> Unknown:
    free_x = [k for k in range(len(x.shape)) if k not in (*contract_x, *batch_x)]
    free_w = [k for k in range(len(weights.shape)) if k not in (*contract_w, *batch_w)]
    blocks = math.prod(x.shape[k] for k in batch_x)
    inner = math.prod(x.shape[k] for k in contract_x)
    free = math.prod(x.shape[k] for k in free_x)
    order = np.arange(math.prod(x.shape)).reshape(x.shape)
    order = order.transpose(*batch_x, *free_x, *contract_x).reshape(-1)
    matrix = weights.value.transpose(*batch_w, *contract_w, *free_w).reshape(blocks, inner, -1)
    outer = matrix.shape[2]
    made = np.arange(blocks * free * outer).reshape(blocks, free, outer)
    if swapped:  # the output's axes are batch, free of the left, free of the right
        made = made.swapaxes(1, 2)
    linear = Blocks(
        np.ascontiguousarray(matrix), free, _unless_in_order(order), _unless_in_order(made)
    )
    return Unknown(reader.build.affine([(x.node, linear)], made.size), shape)


def _unless_in_order(order: Any) -> Any:
    flat = order.reshape(-1)
    return None if np.array_equal(flat, np.arange(flat.size)) else flat


def _both_unknown(
    reader: Reader, operands: list[Any], numbers: Any, shape: tuple[int, ...]
) -> list[Value]:
    (contract_l, contract_r), (batch_l, batch_r) = numbers
    left, right = operands
    places: list[Any] = []
    for x, contracted, batch in ((left, contract_l, batch_l), (right, contract_r, batch_r)):
        free = [k for k in range(len(x.shape)) if k not in (*contracted, *batch)]
        ids = np.arange(math.prod(x.shape)).reshape(x.shape).transpose(*batch, *free, *contracted)
        sizes = [math.prod(x.shape[k] for k in axes) for axes in (batch, free, contracted)]
        places.append(ids.reshape(sizes))
    first, second = np.broadcast_arrays(places[0][:, :, None, :], places[1][:, None, :, :])
    picked = _picked(reader, left, first), _picked(reader, right, second)
    (products,) = reader.product(picked[0], picked[1], first.shape)
    assert isinstance(products, Unknown)
    inner, outer = first.shape[-1], math.prod(shape)
    matrix = scipy.sparse.csr_array(np.ones((1, inner)))
    matrix = scipy.sparse.kron(scipy.sparse.eye_array(outer), matrix, format="csr")
    node = reader.build.affine([(products.node, Sparse(matrix))], outer)
    return [Unknown(node, shape)]


def _picked(reader: Reader, x: Any, ids: Any) -> Any:
    if isinstance(x, Known):
        radius = None if x.radius is None else x.radius.reshape(-1)[ids]
        return Known(x.value.reshape(-1)[ids], radius)
    return reader.selected(x, ids)


def _probe(reader: Reader, eqn: Any, operands: list[Any]) -> list[Value]:
    """A primitive that is linear in its one unknown: its matrix, column by column.

    Each number of a column is one product with 1 and sums of zeros, which no arithmetic rounds.
    """
    unknown = [k for k, x in enumerate(operands) if isinstance(x, Unknown)]
    if len(unknown) != 1 or any(x.radius is not None for x in operands if isinstance(x, Known)):
        raise NoRule(f"{eqn.primitive.name}: both operands depend on the input")
    (at,) = unknown
    x, out = operands[at], eqn.outvars[0].aval
    size, outer = math.prod(x.shape), math.prod(out.shape)
    if size * outer > _MOST_PROBED:
        raise NoRule(f"{eqn.primitive.name}: too large ({size} to {outer} numbers)")
    others = [None if k == at else finite(eqn.primitive.name, y.value)
              for k, y in enumerate(operands)]  # fmt: skip
    params = parameters(eqn)

    def column(basis: Any) -> Any:
        values = [basis.reshape(x.shape) if y is None else jnp.asarray(y) for y in others]
        return eqn.primitive.bind(*values, **params).reshape(-1)

    rows: list[Any] = []
    step = max(1, (1 << 24) // outer)
    with double_on_cpu():
        columns = jax.jit(jax.vmap(column))
        for start in range(0, size, step):
            basis = np.zeros((step, size))
            here = np.arange(start, min(start + step, size))
            basis[here - start, here] = 1.0
            rows.append(scipy.sparse.csr_array(np.asarray(columns(basis))[: len(here)]))
    matrix = scipy.sparse.vstack(rows).T.tocsr()
    node = reader.build.affine([(x.node, Sparse(matrix))], outer)
    return [Unknown(node, tuple(out.shape))]


# -------------------------------------------------------------- scalar functions


def _scalar_function(reader: Reader, x: Unknown, operation: Operation) -> list[Value]:
    cells = Cells(Pair(Program((operation,), Register(1))))
    return [Unknown(reader.build.elementwise(x.node, cells, operation.name), x.shape)]


def _unary(reader: Reader, eqn: Any, operands: list[Any]) -> list[Value]:
    name, arguments = eqn.primitive.name, (Register(0),)
    if name == "integer_pow":
        arguments = (Register(0), float(eqn.params["y"]))
    return _scalar_function(reader, operands[0], Operation(name, arguments))


def _with_number(reader: Reader, eqn: Any, operands: list[Any]) -> list[Value]:
    """A function of one unknown array and known numbers that are the same in all places."""
    unknown = [x for x in operands if isinstance(x, Unknown)]
    name = eqn.primitive.name
    if len(unknown) != 1:
        raise NoRule(f"{name}: of two arrays that depend on the input")
    arguments: list[Any] = []
    for x in operands:
        if isinstance(x, Unknown):
            arguments.append(Register(0))
            continue
        if x.radius is not None or x.value.size == 0 or np.any(x.value != x.value.flat[0]):
            raise NoRule(f"{name}: with other numbers in other places")
        arguments.append(float(x.value.flat[0]))
    (x,) = unknown
    if tuple(x.shape) != tuple(eqn.outvars[0].aval.shape):
        raise NoRule(f"{name}: of a scalar and an array")
    return _scalar_function(reader, x, Operation(name, tuple(arguments)))


_LINEAR: dict[str, Rule] = {
    "add": _add, "add_any": _add, "sub": _add, "neg": _negative, "mul": _multiply, "div": _divide,
    "reduce_sum": _reduce_sum, "dot_general": _dot_general,
}  # fmt: skip
_BOOLEAN = {"gt", "ge", "lt", "le", "eq", "ne", "and", "or", "xor", "not", "is_finite"}
_UNARY = {name for name, arity in ARITY.items() if arity == 1} - _BOOLEAN - {"neg"}

RULES: dict[str, Rule] = {
    **dict.fromkeys(_IDENTITIES, _identity),
    **dict.fromkeys(_MOVES, _move),
    **dict.fromkeys(_PROBED, _probe),
    **dict.fromkeys((*_UNARY, "integer_pow"), _unary),
    **dict.fromkeys(("max", "min", "pow", "clamp"), _with_number),
    **_LINEAR,
    "reduce_max": peak,
}


def with_relative(reader: Reader, eqn: Any, operands: list[Any]) -> list[Value]:
    """An equation of numbers that are known up to a maximum, or masked."""

    def apply(values: list[Any]) -> list[Value]:
        if all(isinstance(x, Known) for x in values):
            return fold(eqn, values)
        name = eqn.primitive.name
        if name not in RULES:
            raise NoRule(f"{name}: no rule for this primitive")
        if name not in _MOVES and any(isinstance(x, Masked) for x in values):
            return apply_masked(reader, eqn, values, apply)
        return RULES[name](reader, eqn, values)

    if any(isinstance(x, Relative) for x in operands):
        return apply_relative(eqn, operands, apply, bound)
    return apply(operands)
