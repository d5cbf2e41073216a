"""The data flow of one jaxpr, laid open: values, the nodes that make them, and frames.

A *scope* is the body of the traced function or of a primitive with a body of its own (jit, scan,
cond, while, remat, custom derivatives, shard_map).  Within a scope a call whose body is purely
elementwise is a *frame* that is laid open, so that ``x * jax.nn.sigmoid(1.702 * x)`` is one piece
of arithmetic although ``sigmoid`` is a call.  Nothing is computed here and nothing is changed.

This file and :mod:`jaxbarron.switching.bodies` are the only ones that know how a jaxpr is built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.core
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from jaxbarron.programs import ARITY, INLINED_CALLS, Operation, Program, Register, evaluate_program

__all__ = ["Frame", "Node", "Value", "label", "open_scope", "operation", "parts", "scope_of_names"]

Constant = float | bool

# The elementwise primitives that a scalar program knows, with their number of array operands: a
# jaxpr keeps the exponent of integer_pow as a parameter and writes log(e^a + e^b) out.
_ARITY = {**ARITY, "add_any": 2, "integer_pow": 1}
del _ARITY["logaddexp"]
# The same numbers in another type, place or shape.  Of an array that depends on the input they
# are elementwise only where the shape stays; of a constant they are the same constant.
_RELABELLINGS = frozenset(
    {"convert_element_type", "copy", "copy_p", "reduce_precision", "broadcast_in_dim", "reshape",
     "squeeze", "pvary"}
)  # fmt: skip
# Random bits are noise, not a function of the input: what dropout does to them (a clip to [0, 1)
# that looks like a ReLU) is no activation.  Typed keys are recognised by their dtype.
_NOISE = frozenset({"random_bits", "random_gamma", "rng_uniform", "rng_bit_generator"})


@dataclass(eq=False)
class Value:
    """What one variable of a scope holds.

    ``const`` is the number, where the value is one known number (of any shape); ``depends`` tells
    whether it can change with the function's inputs.  ``root`` is the array of which the value is
    an elementwise function: the value itself, where it is not made by elementwise arithmetic on
    one array.
    """

    aval: Any
    order: int
    const: Constant | None = None
    depends: bool = False
    node: Node | None = None
    literal: Any = None
    users: list[Node] = field(default_factory=list["Node"])
    root: Value = field(init=False)

    def __post_init__(self) -> None:
        self.root = self

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array; () for what is no array."""
        return tuple(getattr(self.aval, "shape", ()))

    @property
    def dtype(self) -> Any:
        """Dtype of the array; None for what is no array."""
        return getattr(self.aval, "dtype", None)

    @property
    def is_real(self) -> bool:
        """Whether it is an array of a real floating dtype."""
        return self.dtype is not None and jnp.issubdtype(self.dtype, jnp.floating)


@dataclass(eq=False)
class Node:
    """One equation of a frame that is not laid open."""

    eqn: Any
    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    elementwise: bool
    frame: Frame
    position: int

    @property
    def relabels(self) -> bool:
        """Whether the numbers that come out are those that went in."""
        source = self.inputs[0] if self.inputs else None
        return self.name in _RELABELLINGS and source is not None and source.dtype != jnp.bool_


@dataclass(eq=False)
class Frame:
    """A jaxpr laid open: one step for each of its equations, in order."""

    jaxpr: Any
    inputs: tuple[Value, ...]
    parent: Frame | None = None
    eqn: Any = None
    position: int = 0
    steps: list[Node | Frame] = field(default_factory=list["Node | Frame"])
    constants: list[tuple[Value, Any]] = field(default_factory=list["tuple[Value, Any]"])
    outputs: tuple[Value, ...] = ()

    def nodes(self) -> Iterator[Node]:
        """Every node of this frame and of the frames laid open in it, in order."""
        for step in self.steps:
            if isinstance(step, Frame):
                yield from step.nodes()
            else:
                yield step


def parts(jaxpr: Any) -> tuple[Any, Sequence[Any]]:
    """A jaxpr without its constants, and these; for an open and for a closed jaxpr."""
    consts = getattr(jaxpr, "consts", ())
    return getattr(jaxpr, "jaxpr", jaxpr), consts


def open_scope(
    jaxpr: Any, consts: Sequence[Any], known: Sequence[Constant | None], depends: Sequence[bool]
) -> Frame:
    """Lay a jaxpr open.

    Args:
        jaxpr: an open jaxpr; ``consts`` are its constants, concrete or traced.
        known: for each input the number that it always holds, or None.
        depends: for each input whether it depends on the function's inputs.
    """
    return _Opener().scope(jaxpr, consts, known, depends)


class _Opener:
    """Numbers the values of one scope in the order in which they are made."""

    def __init__(self) -> None:
        self._count = 0

    def scope(
        self,
        jaxpr: Any,
        consts: Sequence[Any],
        known: Sequence[Constant | None],
        depends: Sequence[bool],
    ) -> Frame:
        inputs = tuple(
            self._value(var.aval, const=const, depends=depends and const is None)
            for var, const, depends in zip(jaxpr.invars, known, depends, strict=True)
        )
        return self._frame(Frame(jaxpr, inputs), consts)

    def _value(self, aval: Any, **facts: Any) -> Value:
        self._count += 1
        return Value(aval, self._count, **facts)

    def _frame(self, frame: Frame, consts: Sequence[Any]) -> Frame:
        values: dict[Any, Value] = dict(zip(frame.jaxpr.invars, frame.inputs, strict=True))
        for var, const in zip(frame.jaxpr.constvars, consts, strict=True):
            values[var] = self._value(var.aval, const=_known_number(const))
            frame.constants.append((values[var], const))

        def read(atom: Any) -> Value:
            if isinstance(atom, jex.Literal):
                return self._value(atom.aval, const=_known_number(atom.val), literal=atom.val)
            return values[atom]

        for position, eqn in enumerate(frame.jaxpr.eqns):
            inputs = tuple(read(atom) for atom in eqn.invars)
            if _laid_open(eqn):
                body, body_consts = parts(eqn.params[INLINED_CALLS[eqn.primitive.name]])
                step = self._frame(Frame(body, inputs, frame, eqn, position), body_consts)
                outputs = step.outputs
            else:
                step = self._node(eqn, inputs, frame, position)
                outputs = step.outputs
            frame.steps.append(step)
            values.update(zip(eqn.outvars, outputs, strict=True))
        frame.outputs = tuple(read(atom) for atom in frame.jaxpr.outvars)
        return frame

    def _node(self, eqn: Any, inputs: tuple[Value, ...], frame: Frame, position: int) -> Node:
        name = eqn.primitive.name
        elementwise = _is_elementwise(eqn, inputs)
        depends = any(x.depends for x in inputs) and name not in _NOISE
        if name == "bitcast_convert_type" and not inputs[0].is_real:
            depends = False  # the last step from random bits to a random number
        outputs = tuple(
            self._value(var.aval, depends=depends and not _is_key(var.aval)) for var in eqn.outvars
        )
        node = Node(eqn, name, inputs, outputs, elementwise, frame, position)
        for value in outputs:
            value.node = node
        for value in dict.fromkeys(inputs):
            value.users.append(node)
        if elementwise:
            roots = {x.root for x in inputs if x.const is None}
            if not roots:
                outputs[0].const = _folded(node)
            elif len(roots) == 1:
                (outputs[0].root,) = roots
        return node


def _laid_open(eqn: Any) -> bool:
    """Whether an equation is a call of purely elementwise arithmetic.

    Remat is never laid open: what the user asked to compute again stays so.  Neither is a call
    that gives an input out as it is: its custom derivative may be that of gradient reversal.
    """
    name = eqn.primitive.name
    if name not in INLINED_CALLS or name in ("checkpoint", "remat2"):
        return False
    body, _ = parts(eqn.params[INLINED_CALLS[name]])
    made = {var for inner in body.eqns for var in inner.outvars}
    gives_out = [var for var in body.outvars if isinstance(var, jex.Literal) or var not in made]
    return not gives_out and _body_is_elementwise(body)


def _body_is_elementwise(jaxpr: Any) -> bool:
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name in INLINED_CALLS and name not in ("checkpoint", "remat2"):
            if not _body_is_elementwise(parts(eqn.params[INLINED_CALLS[name]])[0]):
                return False
        elif name not in _ARITY and name not in _RELABELLINGS:
            return False
    return True


def _is_elementwise(eqn: Any, inputs: Sequence[Value]) -> bool:
    """Whether the one output is, element by element, a real function of the inputs."""
    name = eqn.primitive.name
    if (name not in _ARITY and name not in _RELABELLINGS) or eqn.effects:
        return False
    aval = eqn.outvars[0].aval
    varying = [x for x in inputs if x.const is None]
    if any(x.shape != aval.shape for x in varying):
        return False
    if any(not x.is_real and x.dtype != jnp.bool_ for x in varying):
        return False
    real, boolean = jnp.issubdtype(aval.dtype, jnp.floating), aval.dtype == jnp.bool_
    if name in _RELABELLINGS:
        # real -> bool is a comparison in disguise
        return bool(real or all(x.const is not None or x.dtype == aval.dtype for x in inputs))
    if name == "select_n" and inputs[0].dtype != jnp.bool_:
        return False
    return _ARITY.get(name) == len(inputs) and bool(real or boolean)


def _is_key(aval: Any) -> bool:
    dtype = getattr(aval, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _known_number(value: Any) -> Constant | None:
    """The one number that a concrete value holds in all its places, else None.

    Arrays on a device are read only where they hold one number: a model's weights stay there.
    """
    if isinstance(value, bool | int | float):
        return value if isinstance(value, bool) else float(value)
    if isinstance(value, jax.core.Tracer) or not hasattr(value, "dtype"):
        return None
    if not getattr(value, "is_fully_addressable", True):
        return None
    if np.size(value) == 0 or (np.size(value) > 1 and isinstance(value, jax.Array)):
        return None
    if not (jnp.issubdtype(value.dtype, jnp.number) or value.dtype == jnp.bool_):
        return None
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        return None
    array = np.asarray(value)
    first = array.reshape(-1)[0]
    if array.size > 1 and not (array.reshape(-1)[-1] == first and np.all(array == first)):
        return None
    return bool(first) if array.dtype == np.bool_ else float(first)


def _folded(node: Node) -> Constant | None:
    """The value of an operation on constants, rounded to the dtype that the operation has."""
    dtype = node.outputs[0].dtype
    operands = [x.const for x in node.inputs]
    if node.name in _RELABELLINGS:
        number = operands[0]
    elif node.outputs[0].is_real:
        made = Program((operation(node.name, operands, node.eqn.params),), Register(1))
        number = float(evaluate_program(made, np.float64(0.0)))
    else:
        return None
    if number is None or dtype == jnp.bool_:
        return None if number is None else bool(number)
    with np.errstate(all="ignore"):  # a bound beyond the range of the dtype becomes infinite
        return float(np.asarray(number).astype(dtype))


def operation(name: str, operands: Sequence[Any], params: Mapping[str, Any]) -> Operation:
    """A primitive as an operation of a scalar program."""
    if name == "integer_pow":
        operands = [*operands, float(params["y"])]
    return Operation("add" if name == "add_any" else name, tuple(operands))


def label(eqn: Any) -> str:
    """A readable name of an equation: ``tanh``, ``jit:mlp``, ``custom_jvp:relu``."""
    primitive = {"custom_jvp_call": "custom_jvp", "custom_vjp_call": "custom_vjp", "pjit": "jit",
                 "remat2": "remat", "checkpoint": "remat"}  # fmt: skip
    kind: str = primitive.get(eqn.primitive.name, str(eqn.primitive.name))
    if eqn.primitive.name not in INLINED_CALLS:
        return kind
    body, _ = parts(eqn.params[INLINED_CALLS[eqn.primitive.name]])
    info: Any = getattr(body, "debug_info", None)
    name: Any = eqn.params.get("name") or getattr(info, "func_name", None)
    return f"{kind}:{name}" if isinstance(name, str) else kind


def scope_of_names(eqn: Any) -> str:
    """The ``jax.named_scope`` of an equation ("" where JAX does not tell)."""
    info: Any = getattr(eqn, "source_info", None)
    names = str(getattr(info, "name_stack", ""))
    return "/".join(x for x in names.split("/") if x and not x.endswith("()"))  # "vmap()"
