"""Trace a call once: which arguments are arrays, which steer Python, and the jaxpr between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxbarron.errors import JaxbarronError, TraceError, UsageError

__all__ = ["Call", "Traced", "check_callable", "split_call", "trace"]

_NONE = object()


@dataclass(frozen=True, eq=False)
class Call:
    """The arguments of a call: arrays, the places of the others, and how to put them together."""

    arrays: tuple[Any, ...]
    statics: tuple[Any, ...]  # _NONE where an array stands
    tree: Any

    def rebuild(self, arrays: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments with these arrays in their places."""
        rest = iter(arrays)
        leaves = [next(rest) if x is _NONE else x for x in self.statics]
        return jax.tree.unflatten(self.tree, leaves)


@dataclass(frozen=True, eq=False)
class Traced:
    """A closed jaxpr of a call's arrays, and what is needed to give the result its form again."""

    jaxpr: Any
    out_tree: Any
    out_statics: tuple[Any, ...]

    def result(self, arrays: Sequence[Any]) -> Any:
        """The function's result with these arrays in their places."""
        rest = iter(arrays)
        leaves = [next(rest) if x is _NONE else x for x in self.out_statics]
        return jax.tree.unflatten(self.out_tree, leaves)


def split_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """Arrays are traced; Python numbers, strings and objects are not: they may steer control flow.

    A call without any array is one of a scalar function: there Python floats are the arrays.
    """
    leaves, tree = jax.tree.flatten((args, kwargs))
    traced = [_is_array(x) for x in leaves]
    if not any(traced):
        traced = [isinstance(x, float) for x in leaves]
    arrays = tuple(x for x, array in zip(leaves, traced, strict=True) if array)
    statics = (_NONE if array else x for x, array in zip(leaves, traced, strict=True))
    return Call(arrays, tuple(statics), tree)


def check_callable(fn: Any) -> None:
    """Raise UsageError unless ``fn`` can be called."""
    if not callable(fn):
        raise UsageError(
            f"given: {fn!r} as a function; expected: a callable; do: pass model.apply or the model"
        )


def trace(fn: Callable[..., Any], call: Call) -> Traced:
    """The jaxpr of a call in the arrays among its arguments.

    Raises:
        TraceError: JAX cannot trace it.
        UsageError: ``fn`` is not callable.
    """
    check_callable(fn)
    form: dict[str, Any] = {}

    def flat(*arrays: Any) -> list[Any]:
        args, kwargs = call.rebuild(arrays)
        leaves, form["tree"] = jax.tree.flatten(fn(*args, **kwargs))
        form["statics"] = tuple(_NONE if _is_array(x) else x for x in leaves)
        return [x for x in leaves if _is_array(x)]

    try:
        jaxpr = jax.make_jaxpr(flat)(*call.arrays)
    except JaxbarronError:
        raise
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise TraceError(
            f"given: {getattr(fn, '__name__', type(fn).__name__)!r}, which JAX cannot trace on "
            f"these arguments ({type(error).__name__}: {first}); expected: a JAX function of "
            "arrays; do: try jax.make_jaxpr(fn)(*args), and pass the state of a model that changes "
            "itself as an argument"
        ) from error
    return Traced(jaxpr, form["tree"], form["statics"])


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)
