"""Which downstream tools accept a model, as far as its activations decide: a table of rules.

Only the activations are looked at.  A tool may refuse a model for other reasons (an attention, a
layer norm); no rule here speaks of those.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxbarron.activations import Activation
from jaxbarron.report.data import ToolAnswer

__all__ = ["opset_of", "tool_answers"]

# ONNX: the first operator set with an operator for the activation; from "since version" on the
# pages onnx.ai/onnx/operators/onnx__NAME.html; at least 7, since when Add, Mul and Pow broadcast.
_OPSETS: dict[str, tuple[int, str]] = {
    "relu": (7, "Relu"),
    "leaky_relu": (7, "LeakyRelu"),
    "prelu": (7, "PRelu"),
    "elu": (7, "Elu"),
    "selu": (7, "Selu"),
    "celu": (12, "Celu"),
    "softplus": (7, "Softplus"),
    "sigmoid": (7, "Sigmoid"),
    "hard_sigmoid": (7, "HardSigmoid"),
    "tanh": (7, "Tanh"),
    "hard_tanh": (7, "Clip"),
    "relu6": (7, "Clip"),
    "hard_swish": (14, "HardSwish"),
    "softsign": (7, "Softsign"),
    "mish": (18, "Mish"),
    "gelu": (20, "Gelu"),
    "gelu_tanh": (20, "Gelu, approximate=tanh"),
    "silu": (7, "Sigmoid, Mul"),
    "swish": (7, "Sigmoid, Mul"),
    "arctan": (7, "Atan"),
    "erf": (9, "Erf"),
    "gaussian": (7, "Mul, Exp"),
    "log_cosh": (7, "Abs, Exp, Log, Mul, Add"),
    "abs": (7, "Abs"),
    "squareplus": (7, "Mul, Add, Sqrt"),
    "sin": (7, "Sin"),
    "cos": (7, "Cos"),
    "identity": (7, "Identity"),
    "repu": (7, "Relu, Pow"),
}
_RELU = frozenset({"relu"})
_PIECEWISE_LINEAR = frozenset(
    {"relu", "leaky_relu", "prelu", "relu6", "hard_tanh", "hard_sigmoid", "abs", "identity"}
)


def opset_of(activation: Activation) -> tuple[int, str] | None:
    """The first ONNX operator set that writes an activation, and its operators.

    Example:
        >>> from jaxbarron.activations import activation
        >>> opset_of(activation("gelu"))
        (20, 'Gelu')
    """
    return _OPSETS.get(activation.name) or _OPSETS.get(_plain(activation))


def _plain(activation: Activation) -> str:
    if activation.homogeneity in (0, 1):
        return "relu" if activation.homogeneity else "heaviside"
    return activation.name.split("(")[0] if "(" in activation.name else activation.family


def _names(activations: Sequence[Activation]) -> set[str]:
    return {_plain(x) for x in activations}


def tool_answers(
    before: Sequence[Activation], after: Sequence[Activation], particles: int
) -> tuple[ToolAnswer, ...]:
    """What each kind of tool says to the model and to the result.

    Args:
        before: all activations of the model.
        after: all activations of the result, those of the sites that stay included.
        particles: the largest number of particles at a site.

    Example:
        >>> from jaxbarron.activations import activation
        >>> gelu, relu = activation("gelu"), activation("relu")
        >>> [a.after for a in tool_answers([gelu], [relu], 16)][:2]
        ['yes', 'yes']
    """
    kept = "" if particles == 1 else f"; each site is a layer of {particles} of them"
    old, new = _opset(before), _opset(after)
    return (
        # nnenum: "verify ReLU networks" (README of stanleybak/nnenum).
        ToolAnswer(
            "ReLU-only complete verifiers (nnenum)",
            _only_relu(before),
            _only_relu(after),
            f"yes if every activation is ReLU{kept}",
        ),
        # gurobi-machinelearning: "Only neural networks with ReLU activation can be used with Keras
        # and PyTorch" (its README).  Any piecewise linear activation has an exact MILP form,
        # which no encoder writes for you.
        ToolAnswer(
            "MILP encoders (gurobi-machinelearning)",
            _milp(before),
            _milp(after),
            f"yes if every activation is ReLU, by hand if piecewise linear{kept}",
        ),
        ToolAnswer(
            "ONNX", old[0], new[0], f"before: {old[1]}; after: {new[1]}{_kernel(particles)}"
        ),
    )


def _only_relu(activations: Sequence[Activation]) -> str:
    return "yes" if _names(activations) <= _RELU | {"identity"} else "no"


def _milp(activations: Sequence[Activation]) -> str:
    names = _names(activations)
    if names <= _RELU | {"identity"}:
        return "yes"
    return "by hand" if names <= _PIECEWISE_LINEAR else "no"


def _opset(activations: Sequence[Activation]) -> tuple[str, str]:
    found = {x.name: opset_of(x) for x in activations}
    unknown = sorted(name for name, opset in found.items() if opset is None)
    if unknown:
        return "by hand", f"no operator is known for {', '.join(unknown)}: write its formula"
    known = [opset for opset in found.values() if opset is not None]
    newest = max((version for version, _ in known), default=7)
    operators = ", ".join(dict.fromkeys(names for _, names in known)) or "none"
    return f"opset {newest}", f"{operators} (opset {newest})"


def _kernel(particles: int) -> str:
    return "" if particles == 1 else ", with Mul, Add and a sum over the particles"
