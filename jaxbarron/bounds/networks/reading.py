"""From a jaxpr to a network: equations are read one by one, known numbers folded exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.dtypes
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from jaxbarron.bounds.networks.graph import Builder, Constant, Network, Node, Product, Site, is_site
from jaxbarron.bounds.networks.maps import scaling, selection
from jaxbarron.programs import INLINED_CALLS, scan_split

__all__ = [
    "Known",
    "Missing",
    "NoRule",
    "Reader",
    "Unknown",
    "Value",
    "finite",
    "network_of",
    "walked",
]

_MOST_STEPS = 4096  # of loops that are written out
_MAXIMUM = "a maximum over an axis: no rule for its value"


class NoRule(Exception):
    """A primitive without a rule for these operands; the text says which and why."""


@dataclass(frozen=True, eq=False)
class Known:
    """Numbers that do not depend on the input: reals up to ``radius`` (None: exact), or others."""

    value: Any
    radius: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.value.shape)

    @property
    def is_real(self) -> bool:
        """Whether the numbers are reals."""
        return bool(jnp.issubdtype(self.value.dtype, jnp.floating))


@dataclass(frozen=True, eq=False)
class Unknown:
    """Numbers that depend on the input: a node, and the shape of the array."""

    node: int
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Missing:
    """What lies beyond a primitive without a rule."""

    reason: str


# Beside these, numbers relative to a maximum (shifts) and numbers with a mask (masks).
Value = Known | Unknown | Missing | Any
Rule = Callable[["Reader", Any, list[Any]], list[Value]]


def network_of(closed: Any, inputs: Sequence[Any], sites: Sequence[Site]) -> Network:
    """The network of a jaxpr with marked sites.

    Args:
        closed: a closed jaxpr.
        inputs: the concrete arrays of its inputs, None for the one that is the network's input.
        sites: what stands at each marked site.

    Returns:
        The network; an output that needs a primitive without a rule is None, and ``ends_at`` names
        the first such primitive.

    Example:
        >>> import jax
        >>> closed = jax.make_jaxpr(lambda x: 2.0 * x + 1.0)(jnp.zeros(3))
        >>> network = network_of(closed, [None], [])
        >>> network.outputs, network.ends_at
        (((2, (3,)),), None)
    """
    (free,) = (k for k, x in enumerate(inputs) if x is None)
    shape = tuple(closed.jaxpr.invars[free].aval.shape)
    reader = Reader(Builder(int(np.prod(shape)), sites))
    values: list[Value] = [known(x) if x is not None else Unknown(0, shape) for x in inputs]
    results = reader.run(closed.jaxpr, closed.consts, values)
    outputs: list[tuple[int, tuple[int, ...]] | None] = []
    ends_at: str | None = None
    for result in map(_of_reals, results):
        if isinstance(result, Missing):
            outputs.append(None)
            ends_at = ends_at or result.reason
        elif isinstance(result, Known) and not result.is_real:
            # no real number, but the same in both networks
            outputs.append((reader.node(Known(np.zeros(result.shape))), result.shape))
        elif isinstance(result, Known | Unknown):
            outputs.append((reader.node(result), result.shape))
        else:
            outputs.append(None)
            ends_at = ends_at or _why(result)
    return Network(tuple(reader.build.nodes), tuple(outputs), reader.build.sites, ends_at)


def _why(value: Any) -> str:
    """Why numbers that are no reals, or not known, are refused."""
    return getattr(value, "reason", _MAXIMUM)


def _of_reals(result: Value) -> Value:
    if isinstance(result, Known) and result.is_real and not np.isfinite(result.value).all():
        return Missing("an output that is not finite")
    return result


def walked(
    jaxpr: Any,
    consts: Sequence[Any],
    inputs: Sequence[Any],
    known: Callable[[Any], Any],
    apply: Callable[[Any, list[Any]], Sequence[Any]],
) -> list[Any]:
    """The outputs of a jaxpr whose equations are read by ``apply``, its constants by ``known``."""
    values: dict[Any, Any] = dict(zip(jaxpr.invars, inputs, strict=True))
    values.update((var, known(x)) for var, x in zip(jaxpr.constvars, consts, strict=True))

    def read(atom: Any) -> Any:
        return known(atom.val) if isinstance(atom, jex.Literal) else values[atom]

    for eqn in jaxpr.eqns:
        found = apply(eqn, [read(atom) for atom in eqn.invars])
        values.update(zip(eqn.outvars, found, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def known(value: Any) -> Known:
    """A concrete array; floats become the doubles that they are, random keys stay JAX arrays."""
    if jnp.issubdtype(getattr(value, "dtype", bool), jax.dtypes.prng_key):
        return Known(value)
    array = np.asarray(value)
    return Known(array.astype(np.float64) if jnp.issubdtype(array.dtype, jnp.floating) else array)


def finite(name: str, numbers: Any) -> Any:
    """The same known numbers; refused where one is infinite or not a number.

    Differences are of reals: ``inf - inf`` is none, nor is ``0 * inf``, which sparse maps would
    leave out (THEORY.md, Theorem Differential propagation).  A mask's -inf is followed apart.
    """
    if not np.isfinite(numbers).all():
        raise NoRule(f"{name}: of a known number that is not finite")
    return numbers


def _empty(aval: Any) -> Known:
    """An array without numbers: it depends on nothing."""
    real = jnp.issubdtype(aval.dtype, jnp.floating)
    return Known(np.zeros(aval.shape, np.float64 if real else aval.dtype))


class Reader:
    """Reads equations into a builder's nodes."""

    def __init__(self, build: Builder) -> None:
        self.build = build
        self._rows = 0

    def new_rows(self, count: int) -> Any:
        """Names for so many numbers that are not known."""
        self._rows += count
        return np.arange(self._rows - count, self._rows)

    def run(self, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Value]) -> list[Value]:
        """The outputs of a jaxpr."""
        return walked(jaxpr, consts, inputs, known, self._apply)

    def _apply(self, eqn: Any, operands: list[Value]) -> list[Value]:
        # The rules build on the reader: this is where the circle closes.
        from jaxbarron.bounds.networks.rules import RULES, fold, with_relative

        name = eqn.primitive.name
        lost = next((x for x in operands if isinstance(x, Missing)), None)
        try:
            if name in INLINED_CALLS:
                body = eqn.params[INLINED_CALLS[name]]
                return self.run(getattr(body, "jaxpr", body), getattr(body, "consts", ()), operands)
            if all(math.prod(getattr(x.aval, "shape", (1,))) == 0 for x in eqn.outvars):
                return [_empty(var.aval) for var in eqn.outvars]
            if name in _LOOPS:
                return _LOOPS[name](self, eqn, operands)
            if lost is not None:
                return [lost] * len(eqn.outvars)
            if is_site(eqn):
                (source,) = operands
                if not isinstance(source, Known | Unknown):
                    raise NoRule(f"an activation: {_why(source)}")
                node = self.build.at_site(self.node(source), eqn.params["index"])
                return [Unknown(node, source.shape)]
            if any(not isinstance(x, Known | Unknown) for x in operands):
                return with_relative(self, eqn, operands)
            if all(isinstance(x, Known) for x in operands):
                return fold(eqn, [x for x in operands if isinstance(x, Known)])
            if name not in RULES:
                raise NoRule(f"{name}: no rule for this primitive")
            return RULES[name](self, eqn, operands)
        except NoRule as reason:
            return [Missing(str(reason))] * len(eqn.outvars)

    def node(self, value: Value) -> int:
        """The node that holds a value; a new one for known numbers."""
        if isinstance(value, Unknown):
            return value.node
        assert isinstance(value, Known)
        centre = finite("a constant", np.asarray(value.value, np.float64).reshape(-1))
        radius = np.zeros(centre.size) if value.radius is None else value.radius.reshape(-1)
        return self.build.append(Constant(centre.size, centre, radius))

    def emit(self, node: Node, shape: Sequence[int]) -> list[Value]:
        """One new node as the only output of an equation."""
        return [Unknown(self.build.append(node), tuple(shape))]

    def product(self, left: Value, right: Value, shape: Sequence[int]) -> list[Value]:
        """The products of two arrays of one shape."""
        size = int(np.prod(shape))
        return self.emit(Product(size, self.node(left), self.node(right)), shape)

    def sum(self, parts: Sequence[tuple[Value, float]], shape: Sequence[int]) -> list[Value]:
        """A sum with signs; all parts are of one shape."""
        size, bias, radius = int(np.prod(shape)), np.zeros(int(np.prod(shape))), None
        terms: list[tuple[int, Any]] = []
        for value, sign in parts:
            if isinstance(value, Known):
                added = finite("add", np.asarray(value.value, np.float64).reshape(-1))
                bias = bias + sign * added
                radius = None if value.radius is None else value.radius.reshape(-1)
            else:
                terms.append((self.node(value), scaling(np.full(size, sign))))
        return [Unknown(self.build.affine(terms, size, bias, radius), tuple(shape))]

    def selected(self, value: Unknown, ids: Any) -> Unknown:
        """The numbers at these flat places, in the shape of ``ids``."""
        size = int(np.prod(value.shape))
        terms = [(value.node, selection(ids, size))]
        return Unknown(self.build.affine(terms, int(ids.size)), tuple(ids.shape))

    def joined(self, values: Sequence[Value]) -> Value:
        """Arrays of one shape stacked along a new first axis."""
        shape = (len(values), *getattr(values[0], "shape", ()))
        if all(isinstance(x, Known) for x in values):
            arrays = [x for x in values if isinstance(x, Known)]
            radii = [np.zeros(x.shape) if x.radius is None else x.radius for x in arrays]
            inexact = any(x.radius is not None for x in arrays)
            return Known(np.stack([x.value for x in arrays]), np.stack(radii) if inexact else None)
        total = int(np.prod(shape))
        part = total // len(values)
        terms: list[tuple[int, Any]] = []
        for k, x in enumerate(values):
            places = np.full(total, -1)
            places[k * part : (k + 1) * part] = np.arange(part)
            terms.append((self.node(x), selection(places, part)))
        return Unknown(self.build.affine(terms, total), shape)


# ------------------------------------------------------------------------ loops


def _scan(reader: Reader, eqn: Any, operands: list[Value]) -> list[Value]:
    params = eqn.params
    body, length = params["jaxpr"], params["length"]
    n_consts, n_carry, _ = scan_split(eqn)
    if length > _MOST_STEPS:
        raise NoRule(f"scan: more than {_MOST_STEPS} steps")
    consts, carry = operands[:n_consts], operands[n_consts : n_consts + n_carry]
    rows: list[list[Value]] = []
    for step in reversed(range(length)) if params["reverse"] else range(length):
        slices = [_row(reader, x, step) for x in operands[n_consts + n_carry :]]
        results = reader.run(body.jaxpr, body.consts, [*consts, *carry, *slices])
        carry = results[:n_carry]
        rows.append(results[n_carry:])
    if params["reverse"]:
        rows.reverse()
    made = [_empty(var.aval) for var in eqn.outvars[n_carry:]]
    if rows:
        made = [_stacked(reader, [row[k] for row in rows]) for k in range(len(made))]
    return [*carry, *made]


def _while(reader: Reader, eqn: Any, operands: list[Value]) -> list[Value]:
    params = eqn.params
    n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
    test, body = params["cond_jaxpr"], params["body_jaxpr"]
    carry = operands[n_cond + n_body :]
    for _ in range(_MOST_STEPS):
        (more,) = reader.run(test.jaxpr, test.consts, [*operands[:n_cond], *carry])
        if not isinstance(more, Known):
            raise NoRule("while: how often it runs depends on the input")
        if not bool(more.value):
            return list(carry)
        carry = reader.run(body.jaxpr, body.consts, [*operands[n_cond : n_cond + n_body], *carry])
    raise NoRule(f"while: more than {_MOST_STEPS} steps")


def _cond(reader: Reader, eqn: Any, operands: list[Value]) -> list[Value]:
    index, branches = operands[0], eqn.params["branches"]
    if not isinstance(index, Known):
        raise NoRule("cond: which branch is taken depends on the input")
    branch = branches[int(np.clip(int(index.value), 0, len(branches) - 1))]
    return reader.run(branch.jaxpr, branch.consts, operands[1:])


_LOOPS: dict[str, Rule] = {"scan": _scan, "while": _while, "cond": _cond}


def _row(reader: Reader, value: Value, step: int) -> Value:
    if isinstance(value, Missing):
        return value
    if not isinstance(value, Known | Unknown):
        return Missing(_why(value))
    if isinstance(value, Known):
        radius = None if value.radius is None else value.radius[step]
        return Known(value.value[step], radius)
    ids = np.arange(int(np.prod(value.shape))).reshape(value.shape)[step]
    return reader.selected(value, ids)


def _stacked(reader: Reader, values: Sequence[Value]) -> Value:
    lost = next((x for x in values if isinstance(x, Missing)), None)
    if lost is None and any(not isinstance(x, Known | Unknown) for x in values):
        lost = Missing(next(_why(x) for x in values if not isinstance(x, Known | Unknown)))
    return lost if lost is not None else reader.joined(values)
