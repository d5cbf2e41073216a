"""Scalar programs: a function of one real variable as straight-line code.

JAX traces the function once; calls are inlined and every literal is kept as
the exact double that it is.  The same program is then run by NumPy and JAX
(this file), by ball arithmetic (:mod:`jaxbarron.balls.series`) and by the tail
calculus (:mod:`jaxbarron.balls.tails`), and it is what a certificate stores
when its source is a user's own function.

A program speaks about the *real* function that its constants define:
conversions between floating dtypes are the identity.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
import scipy.special

from jaxbarron.errors import CertificateFileError, TraceError, UnsupportedPrimitiveError

__all__ = [
    "ARITY",
    "Operation",
    "Program",
    "Register",
    "evaluate_program",
    "program_of_jaxpr",
    "trace",
]


@dataclass(frozen=True)
class Register:
    """The value computed by operation ``index - 1``; register 0 is the variable z."""

    index: int


Operand = Register | float | bool


@dataclass(frozen=True)
class Operation:
    """One primitive applied to registers and constants.

    ``name`` is the JAX primitive's name (``"mul"``, ``"tanh"``, ``"select_n"``,
    ``"ge"``, ...) or ``"logaddexp"``; the exponent of ``integer_pow`` is its second
    operand.  ``select_n`` keeps JAX's order: predicate, value if false, value if true.
    """

    name: str
    operands: tuple[Operand, ...]


@dataclass(frozen=True)
class Program:
    """A scalar function z -> output as a tuple of operations; hashable."""

    operations: tuple[Operation, ...]
    output: Operand

    def to_json(self) -> dict[str, Any]:
        """A JSON object; floats as hexadecimal strings, so that no bit is lost."""
        return {
            "operations": [
                [op.name, *(_operand_to_json(x) for x in op.operands)] for op in self.operations
            ],
            "output": _operand_to_json(self.output),
        }

    @staticmethod
    def from_json(data: Any) -> Program:
        """The inverse of :meth:`to_json`.

        Raises:
            CertificateFileError: the object is not a well-formed program.
        """
        try:
            operations: list[Operation] = []
            for position, (name, *operands) in enumerate(data["operations"]):
                read = tuple(_operand_from_json(x, position) for x in operands)
                if name not in ARITY or len(read) != ARITY[name]:
                    raise ValueError(f"operation {name!r} with {len(read)} operands is not known")
                if name == "integer_pow" and (
                    not isinstance(read[1], float) or not read[1].is_integer()
                ):
                    raise ValueError("integer_pow needs a constant whole exponent")
                operations.append(Operation(str(name), read))
            output = _operand_from_json(data["output"], len(operations))
            _check_kinds(operations, output)
        except (KeyError, TypeError, ValueError) as error:
            raise CertificateFileError(
                f"given: a scalar program that cannot be read ({error}); expected: the form that "
                "Program.to_json writes; do: write the certificate again"
            ) from None
        return Program(tuple(operations), output)


_OF_BOOLEANS = frozenset({"and", "or", "xor", "not"})
_TO_BOOLEANS = frozenset({"gt", "ge", "lt", "le", "eq", "ne", "is_finite"}) | _OF_BOOLEANS


def _check_kinds(operations: Sequence[Operation], output: Operand) -> None:
    """Raise ValueError where a truth value stands for a number, or the other way round."""
    boolean = [False]

    def is_boolean(operand: Operand) -> bool:
        if isinstance(operand, Register):
            return boolean[operand.index]
        return isinstance(operand, bool)

    for operation in operations:
        wanted = [operation.name in _OF_BOOLEANS] * len(operation.operands)
        if operation.name == "select_n":
            wanted[0] = True
        if [is_boolean(x) for x in operation.operands] != wanted:
            raise ValueError(f"{operation.name} with operands of the wrong kind")
        boolean.append(operation.name in _TO_BOOLEANS)
    if is_boolean(output):
        raise ValueError("the output is a truth value")


def _operand_to_json(operand: Operand) -> str | bool:
    if isinstance(operand, Register):
        return f"r{operand.index}"
    return operand if isinstance(operand, bool) else float(operand).hex()


def _operand_from_json(text: Any, written: int) -> Operand:
    if isinstance(text, bool):
        return text
    if not isinstance(text, str):
        raise ValueError(f"operand {text!r} is neither a register nor a hexadecimal float")
    if text.startswith("r"):
        index = int(text[1:])
        if not 0 <= index <= written:
            raise ValueError(f"register {index} is read before it is written")
        return Register(index)
    return float.fromhex(text)


# ---------------------------------------------------------------- from a jaxpr

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
        operation, folded = _in_the_reals(Operation(name, operands), operations)
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
    return _without_dead_code(Program(tuple(operations), output))


def _without_dead_code(program: Program) -> Program:
    live: set[int] = set()
    wanted = [program.output]
    while wanted:
        operand = wanted.pop()
        if isinstance(operand, Register) and operand.index > 0 and operand.index not in live:
            live.add(operand.index)
            wanted.extend(program.operations[operand.index - 1].operands)
    renamed = {0: 0} | {old: new for new, old in enumerate(sorted(live), start=1)}

    def rename(operand: Operand) -> Operand:
        return Register(renamed[operand.index]) if isinstance(operand, Register) else operand

    kept = [program.operations[index - 1] for index in sorted(live)]
    return Program(
        tuple(Operation(op.name, tuple(map(rename, op.operands))) for op in kept),
        rename(program.output),
    )


def _in_the_reals(
    operation: Operation, written: Sequence[Operation]
) -> tuple[Operation | None, Operand]:
    """Rewrite what floats need and the reals do not; (None, operand) where nothing is left.

    Guards against NaN and infinity (``x != x``, ``x == inf``) are decided, and the stable form
    ``max(a, b) + log1p(exp(-|a - b|))`` becomes ``logaddexp(a, b)`` again: it is analytic, its
    parts are not, and balls would have to be cut to dust around a kink that is not there.
    """
    name, operands = operation.name, operation.operands
    if name == "select_n" and isinstance(operands[0], bool):
        return None, operands[2] if operands[0] else operands[1]
    infinite = [x for x in operands if isinstance(x, float) and not np.isfinite(x)]
    if all(_is_total(x, written) for x in operands if x not in infinite):
        # A guard says something only of operands that are not defined everywhere.
        if name in ("eq", "ne") and len(infinite) == 1:
            return None, name == "ne"
        if name in ("eq", "ne") and not infinite and operands[0] == operands[1]:
            return None, name == "eq"
        if name == "is_finite" and not infinite:
            return None, True

    def produced_by(operand: Operand, expected: str) -> tuple[Operand, ...] | None:
        if not isinstance(operand, Register) or operand.index == 0:
            return None
        source = written[operand.index - 1]
        return source.operands if source.name == expected else None

    if name == "add":
        for larger, rest in (operands, operands[::-1]):
            pair, inner = produced_by(larger, "max"), produced_by(rest, "log1p")
            for expected in ("exp", "neg", "abs", "sub"):
                inner = inner and produced_by(inner[0], expected)
            if pair and inner and set(pair) == set(inner):
                return Operation("logaddexp", pair), False
    return operation, False


# Defined, with a finite value, for all real operands.
_TOTAL = frozenset(
    {
        *("add", "sub", "mul", "neg", "max", "min", "abs", "sign", "square", "clamp", "select_n"),
        *("exp", "exp2", "expm1", "logistic", "tanh", "erf", "erfc", "sin", "cos", "atan"),
        *("sinh", "cosh", "asinh", "logaddexp", "cbrt"),
    }
)


def _is_total(operand: Operand, written: Sequence[Operation]) -> bool:
    if not isinstance(operand, Register):
        return isinstance(operand, bool) or bool(np.isfinite(operand))
    if operand.index == 0:
        return True
    source = written[operand.index - 1]
    total = source.name in _TOTAL or (
        source.name == "integer_pow"
        and isinstance(source.operands[1], float)
        and source.operands[1] >= 0
    )
    real = source.operands[1:] if source.name == "select_n" else source.operands
    return total and all(_is_total(x, written) for x in real)


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


# ------------------------------------------------------------- NumPy and JAX

# The primitives of a program, with their number of operands.
ARITY = {
    **dict.fromkeys(("add", "sub", "mul", "div", "max", "min", "pow", "logaddexp"), 2),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "and", "or", "xor"), 2),
    **dict.fromkeys(("neg", "abs", "sign", "square", "sqrt", "rsqrt", "cbrt", "not"), 1),
    **dict.fromkeys(("exp", "exp2", "expm1", "log", "log1p", "logistic"), 1),
    **dict.fromkeys(("sin", "cos", "tan", "asin", "acos", "atan"), 1),
    **dict.fromkeys(("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc"), 1),
    **dict.fromkeys(("is_finite",), 1),
    "integer_pow": 2,
    "select_n": 3,
    "clamp": 3,
}


def evaluate_program(program: Program, z: Any) -> Any:
    """The program's value at ``z`` (any shape), elementwise, in the dtype of ``z``.

    A NumPy array is evaluated by NumPy, anything else by JAX.

    Example:
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
