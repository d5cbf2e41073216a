"""From a JAX function or a jaxpr to a scalar program: calls inlined, literals kept bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from jaxbarron.errors import TraceError, UnsupportedPrimitiveError
from jaxbarron.programs.program import ARITY, Operand, Operation, Program, Register
from jaxbarron.programs.reals import in_the_reals, without_dead_code

__all__ = ["INLINED_CALLS", "program_of_jaxpr", "trace"]

_IDENTITIES = frozenset(
    {
        "convert_element_type",
        "copy",
        "copy_p",
        "stop_gradient",
        "reduce_precision",
        "broadcast_in_dim",
        "reshape",
        "squeeze",
        "pvary",
        "optimization_barrier",
        "real",
    }
)
# The calls that merely wrap a jaxpr, with the parameter that holds it.
INLINED_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
}


def trace(fn: Callable[[Any], Any]) -> Program:
    """The program of a scalar JAX function, traced in double precision.

    Args:
        fn: maps a real scalar, shape (), to a real scalar.

    Raises:
        TraceError: JAX cannot trace ``fn`` on a scalar, or the result is no scalar.
        UnsupportedPrimitiveError: ``fn`` uses a primitive that has no rule; it is named.

    Example:
        >>> len(trace(lambda z: z * z).operations)
        1
    """
    try:
        with jax.enable_x64(True):
            closed = jax.make_jaxpr(fn)(jax.ShapeDtypeStruct((), jnp.float64))
    except Exception as error:
        raise TraceError(
            f"given: {getattr(fn, '__name__', fn)!r}, which JAX cannot trace on a float64 scalar "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); "
            "expected: a scalar JAX function; do: call it under jax.make_jaxpr to see the cause"
        ) from error
    if len(closed.out_avals) != 1 or closed.out_avals[0].shape != ():
        raise TraceError(
            f"given: a function whose result is {[str(a) for a in closed.out_avals]}; "
            "expected: one scalar for a scalar; do: pass an elementwise function of one array"
        )
    return program_of_jaxpr(closed.jaxpr, closed.consts)


def program_of_jaxpr(jaxpr: Any, consts: Sequence[Any]) -> Program:
    """The program of a jaxpr with one scalar-like input and one output.

    Shapes are ignored: every equation must act elementwise.
    """
    operations: list[Operation] = []
    known: dict[Operation, Register] = {}

    def emit(name: str, operands: tuple[Operand, ...]) -> Operand:
        operation, folded = in_the_reals(Operation(name, operands), operations)
        if operation is None:
            return folded
        if operation not in known:
            operations.append(operation)
            known[operation] = Register(len(operations))
        return known[operation]

    def run(
        inner: Any, inner_consts: Sequence[Operand], arguments: Sequence[Operand]
    ) -> list[Operand]:
        environment: dict[Any, Operand] = {}
        environment.update(zip(inner.constvars, inner_consts, strict=True))
        environment.update(zip(inner.invars, arguments, strict=True))

        def read(atom: Any) -> Operand:
            return _constant(atom.val) if isinstance(atom, jex.Literal) else environment[atom]

        for eqn in inner.eqns:
            name = eqn.primitive.name
            operands = [read(v) for v in eqn.invars]
            results: list[Operand]
            if _is_exp_of_minus_square(eqn):
                results = [emit("exp", (emit("neg", (emit("square", tuple(operands)),)),))]
            elif _is_guard_of_exp_of_minus_square(eqn):
                results = operands[2:]
            elif name == "one_minus_square":
                results = [emit("sub", (1.0, emit("square", tuple(operands))))]
            elif name in INLINED_CALLS:
                sub = eqn.params[INLINED_CALLS[name]]
                closed = isinstance(sub, jex.ClosedJaxpr)
                sub_consts = [_constant(c) for c in sub.consts] if closed else []
                results = run(sub.jaxpr if closed else sub, sub_consts, operands)
            elif name == "convert_element_type" and eqn.invars[0].aval.dtype == np.bool_:
                results = [emit("select_n", (operands[0], 0.0, 1.0))]
            elif name in _IDENTITIES:
                _refuse_rounding(eqn)
                results = list(operands)
            else:
                name = "add" if name == "add_any" else name
                if name == "integer_pow":
                    operands.append(float(eqn.params["y"]))
                if name not in ARITY or len(operands) != ARITY[name]:
                    raise UnsupportedPrimitiveError(
                        f"given: a scalar function that uses the primitive {name!r}; expected: one "
                        f"of {', '.join(sorted(ARITY))}; do: write the function with those"
                    )
                # x ** n with a whole n is the one real operation with an integer in it
                _refuse_integers(eqn, eqn.invars[:1] if name == "pow" else eqn.invars)
                results = [emit(name, tuple(operands))]
            environment.update(zip(eqn.outvars, results, strict=True))
        return [read(v) for v in inner.outvars]

    (output,) = run(jaxpr, [_constant(c) for c in consts], [Register(0)])
    return without_dead_code(Program(tuple(operations), output))


def _is_exp_of_minus_square(eqn: Any) -> bool:
    # JAX 0.12 computes exp(-x^2), the derivative of erf, with masks on the bits of x: rounding that
    # the real function exp(-x^2) does not have.
    body = eqn.params.get("call_jaxpr")
    info = getattr(getattr(body, "jaxpr", None), "debug_info", None)
    return (
        eqn.primitive.name == "custom_jvp_call"
        and getattr(info, "func_name", None) == "exp_neg_sq"
        and len(eqn.invars) == 1
    )


def _is_guard_of_exp_of_minus_square(eqn: Any) -> bool:
    # Its rule for derivatives selects x where |x| < 28 and 0 beyond, lest inf * 0 be computed.  The
    # select is known by who wrote it, not by its form, which a user's own function may have.
    traceback = getattr(eqn.source_info, "traceback", None)
    return (
        eqn.primitive.name == "select_n"
        and traceback is not None
        and any(frame.function_name == "_exp_neg_sq_jvp" for frame in traceback.frames)
    )


def _refuse_integers(eqn: Any, atoms: Sequence[Any]) -> None:
    # 7 // 2, 200 + 100 in eight bits, 6 & 3: none of these is real arithmetic
    for atom in atoms:
        dtype = atom.aval.dtype
        if dtype != np.bool_ and not jnp.issubdtype(dtype, jnp.floating):
            raise UnsupportedPrimitiveError(
                f"given: a scalar function that uses {eqn.primitive.name!r} on {dtype}; expected: "
                "real arithmetic throughout; do: compute integers outside the function, or use "
                "floating-point numbers"
            )


def _refuse_rounding(eqn: Any) -> None:
    if eqn.primitive.name != "convert_element_type":
        return
    source, target = eqn.invars[0].aval.dtype, np.dtype(eqn.params["new_dtype"])
    if jnp.issubdtype(source, jnp.floating) and not jnp.issubdtype(target, jnp.floating):
        raise UnsupportedPrimitiveError(
            f"given: a scalar function that converts {source} to {target}; expected: real "
            "arithmetic throughout; do: use jnp.where instead of integer arithmetic"
        )


def _constant(value: Any) -> Operand:
    array = np.asarray(value)
    if array.size != 1:
        raise UnsupportedPrimitiveError(
            f"given: a scalar function with a constant array of shape {array.shape}; expected: "
            "scalar constants; do: index the array before the function is traced"
        )
    item = array.reshape(()).astype(np.float64) if array.dtype != np.bool_ else array.reshape(())
    return bool(item) if array.dtype == np.bool_ else float(item)
