"""The bodies of the primitives that have one: how inputs reach them, how they are bound again.

Each rule is stated twice, side by side: :func:`bodies_of` says what flows into the bodies of an
equation, :func:`bind_with` emits the equation with other bodies, by JAX's public transformations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.core
import jax.extend.core as jex
import jax.numpy as jnp

from jaxbarron.programs import INLINED_CALLS, scan_split
from jaxbarron.switching.flow import Node, Value, label, parts

__all__ = ["Body", "bind", "bind_with", "bodies_of", "is_opaque"]

# A rewritten body: the inputs of the body to its outputs, both flat.
Emit = Callable[..., Sequence[Any]]
_REMAT = ("checkpoint", "remat2")


@dataclass(frozen=True, eq=False)
class Body:
    """A jaxpr within an equation; ``inputs`` are what is known of its inputs.

    ``slices`` are the inputs that are one element of an array (of a scan), None if there are none.
    """

    label: str
    jaxpr: Any
    consts: Sequence[Any]
    known: tuple[float | bool | None, ...]
    depends: tuple[bool, ...]
    slices: tuple[Any, ...] | None = None


def bodies_of(node: Node) -> tuple[Body, ...]:
    """The bodies of an equation, in a fixed order; an opaque primitive's are among them."""
    name, params, inputs = node.name, node.eqn.params, node.inputs
    if name in INLINED_CALLS:
        return (_body(label(node.eqn), params[INLINED_CALLS[name]], inputs),)
    if name == "scan":
        consts, carry, _ = scan_split(node.eqn)
        moving = any(x.depends for x in inputs)
        jaxpr, _ = parts(params["jaxpr"])
        inner = _body("scan", params["jaxpr"], inputs)
        known = inner.known[:consts] + (None,) * (len(inputs) - consts)
        depends = inner.depends[:consts] + (moving,) * carry + inner.depends[consts + carry :]
        slices = tuple(var.aval for var in jaxpr.invars[consts + carry :])
        return (Body("scan", inner.jaxpr, inner.consts, known, depends, slices),)
    if name == "while":
        n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
        carry = inputs[n_cond + n_body :]
        return (
            _loop("while.cond", params["cond_jaxpr"], inputs[:n_cond], carry, inputs),
            _loop("while.body", params["body_jaxpr"], inputs[n_cond : n_cond + n_body], carry,
                  inputs),
        )  # fmt: skip
    if name == "cond":
        return tuple(
            _body(f"cond.branch{index}", branch, inputs[1:])
            for index, branch in enumerate(params["branches"])
        )
    if name == "shard_map":
        return (_body("shard_map", params["jaxpr"], inputs),)
    return tuple(_unrelated(label(node.eqn), jaxpr) for jaxpr in jex.jaxprs_in_params(params))


def is_opaque(node: Node) -> bool:
    """Whether an equation's bodies can be read but not rewritten."""
    if node.name == "cond":  # a choice by platform: the other platforms' branches stay unlowered
        return node.eqn.params.get("branches_platforms") is not None
    return node.name not in (*INLINED_CALLS, "scan", "while", "shard_map")


def bind(eqn: Any, values: Sequence[Any]) -> list[Any]:
    """The equation on other inputs, as it is."""
    params = dict(eqn.primitive.get_bind_params(eqn.params))
    results = eqn.primitive.bind(*values, **params)
    return list(results) if eqn.primitive.multiple_results else [results]


def bind_with(eqn: Any, values: Sequence[Any], emits: Sequence[Emit]) -> list[Any]:
    """The equation with rewritten bodies, one for each of :func:`bodies_of`, in that order.

    A jitted function is bound again by :mod:`jaxbarron.switching.rewrite`, which shares its body.
    """
    name, params = eqn.primitive.name, eqn.params
    if name in _REMAT:
        return _remat(eqn, values, emits[0])
    if name in INLINED_CALLS:
        # A custom derivative speaks of the old activation: the new body is differentiated itself.
        return list(emits[0](*values))
    if name == "scan":
        return _scan(eqn, values, emits[0])
    if name == "while":
        return _while(eqn, values, *emits)
    if name == "cond":
        branches = [lambda *args, emit=emit: list(emit(*args)) for emit in emits]
        return list(jax.lax.switch(values[0], branches, *values[1:]))
    if name == "shard_map":
        mapped = jax.shard_map(
            lambda *args: tuple(emits[0](*args)),
            mesh=params["mesh"],
            in_specs=tuple(params["in_specs"]),
            out_specs=tuple(params["out_specs"]),
            axis_names=params["newly_manual_axes"],
            check_vma=params["check_vma"],
        )
        return list(mapped(*values))
    raise AssertionError(f"no rule to rewrite {name}")


def _body(name: str, jaxpr: Any, inputs: Sequence[Value]) -> Body:
    known, depends = tuple(x.const for x in inputs), tuple(x.depends for x in inputs)
    return Body(name, *parts(jaxpr), known, depends)


def _loop(
    name: str, jaxpr: Any, consts: Sequence[Value], carry: Sequence[Value], inputs: Sequence[Value]
) -> Body:
    """A loop's body: what is carried changes, and anything may flow into it."""
    moving = any(x.depends for x in inputs)
    known = (*(x.const for x in consts), *(None for _ in carry))
    depends = (*(x.depends for x in consts), *(moving for _ in carry))
    return Body(name, *parts(jaxpr), known, depends)


def _unrelated(name: str, jaxpr: Any) -> Body:
    inner, consts = parts(jaxpr)
    consts = consts or [None] * len(inner.constvars)
    return Body(name, inner, consts, (None,) * len(inner.invars), (True,) * len(inner.invars))


# --------------------------------------------------------------- loops and remat


def _scan(eqn: Any, values: Sequence[Any], emit: Emit) -> list[Any]:
    consts, carry, _ = scan_split(eqn)
    fixed, rest = values[:consts], values[consts:]
    first, slices = rest[:carry], rest[carry:]
    types = [var.aval for var in parts(eqn.params["jaxpr"])[0].invars[consts : consts + carry]]

    def step(state: Sequence[Any], x: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        outputs = list(emit(*fixed, *state, *x))
        return outputs[:carry], outputs[carry:]

    last, stacked = jax.lax.scan(
        step, _typed(first, types), list(slices), length=eqn.params["length"],
        reverse=eqn.params["reverse"], unroll=eqn.params["unroll"],
    )  # fmt: skip
    return [*last, *stacked]


def _while(eqn: Any, values: Sequence[Any], condition: Emit, body: Emit) -> list[Any]:
    n_cond, n_body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
    for_cond, for_body = values[:n_cond], values[n_cond : n_cond + n_body]
    types = [var.aval for var in eqn.invars[n_cond + n_body :]]
    return list(
        jax.lax.while_loop(
            lambda state: condition(*for_cond, *state)[0],
            lambda state: list(body(*for_body, *state)),
            _typed(values[n_cond + n_body :], types),
        )
    )


def _typed(values: Sequence[Any], avals: Sequence[Any]) -> list[Any]:
    """Arrays of exactly the given dtypes: a carried value must not change its type."""
    return [
        x if getattr(x, "dtype", None) == aval.dtype else jnp.asarray(x, aval.dtype)
        for x, aval in zip(values, avals, strict=True)
    ]


def _remat(eqn: Any, values: Sequence[Any], emit: Emit) -> list[Any]:
    """Bound again with its policy; its body must be closed, so that new constants are inputs."""
    traced = jax.make_jaxpr(lambda *args: list(emit(*args)))(*values)
    jaxpr, consts = parts(traced)
    count = len(consts)
    closed = jax.make_jaxpr(lambda *args: jax.core.eval_jaxpr(jaxpr, args[:count], *args[count:]))(
        *consts, *values
    )
    params = {**eqn.params, "jaxpr": parts(closed)[0]}
    return bind(eqn.replace(params=params), [*consts, *values])
