"""A scalar program run by NumPy or JAX, elementwise."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from jaxbarron.programs.program import Operand, Program, Register

__all__ = ["evaluate_program"]


def evaluate_program(program: Program, z: Any) -> Any:
    """The program's value at ``z`` (any shape), elementwise, in the dtype of ``z``.

    A NumPy array is evaluated by NumPy, anything else by JAX.

    Example:
        >>> from jaxbarron.programs import trace
        >>> float(evaluate_program(trace(lambda z: z * z), np.float64(3.0)))
        9.0
    """
    numpy_like = isinstance(z, np.ndarray | np.generic | float)
    table = _numpy_table() if numpy_like else _jax_table()
    value = np.asarray(z) if numpy_like else jnp.asarray(z)
    dtype = value.dtype
    registers: list[Any] = [value]

    def read(operand: Operand) -> Any:
        if isinstance(operand, Register):
            return registers[operand.index]
        return operand if isinstance(operand, bool) else np.asarray(operand, dtype=dtype)

    with np.errstate(all="ignore"):
        for op in program.operations:
            registers.append(table[op.name](*(read(x) for x in op.operands)))
        result = read(program.output)
    if numpy_like:
        return np.broadcast_to(np.asarray(result, dtype=dtype), value.shape)
    return jnp.broadcast_to(jnp.asarray(result, dtype=dtype), value.shape)


def _shared_table(xp: Any) -> dict[str, Callable[..., Any]]:
    names = {
        "add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "max": "maximum",
        "min": "minimum", "pow": "power", "gt": "greater", "ge": "greater_equal", "lt": "less",
        "le": "less_equal", "eq": "equal", "ne": "not_equal", "and": "logical_and",
        "or": "logical_or", "xor": "logical_xor", "not": "logical_not", "neg": "negative",
        "abs": "abs", "sign": "sign", "square": "square", "sqrt": "sqrt", "cbrt": "cbrt",
        "exp": "exp", "exp2": "exp2", "expm1": "expm1", "log": "log", "log1p": "log1p",
        "sin": "sin", "cos": "cos", "tan": "tan", "asin": "arcsin", "acos": "arccos",
        "atan": "arctan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "asinh": "arcsinh",
        "acosh": "arccosh", "atanh": "arctanh", "logaddexp": "logaddexp", "is_finite": "isfinite",
    }  # fmt: skip
    table: dict[str, Callable[..., Any]] = {key: getattr(xp, name) for key, name in names.items()}
    table["rsqrt"] = lambda x: 1 / xp.sqrt(x)
    table["select_n"] = lambda p, no, yes: xp.where(p, yes, no)
    table["clamp"] = lambda low, x, high: xp.minimum(xp.maximum(x, low), high)
    return table


@functools.cache
def _numpy_table() -> dict[str, Callable[..., Any]]:
    table = _shared_table(np)
    table["erf"], table["erfc"] = scipy.special.erf, scipy.special.erfc
    table["logistic"] = scipy.special.expit
    table["integer_pow"] = lambda x, n: x ** int(n)
    return table


@functools.cache
def _jax_table() -> dict[str, Callable[..., Any]]:
    table = _shared_table(jnp)
    table["erf"], table["erfc"] = jax.scipy.special.erf, jax.scipy.special.erfc
    table["logistic"] = jax.nn.sigmoid
    table["rsqrt"] = jax.lax.rsqrt
    table["integer_pow"] = lambda x, n: jax.lax.integer_pow(x, int(n))
    return table
