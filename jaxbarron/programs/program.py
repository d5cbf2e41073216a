"""Straight-line programs of one real variable, as data: operations, operands, their JSON form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxbarron.errors import CertificateFileError

__all__ = ["ARITY", "Operand", "Operation", "Program", "Register"]

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
