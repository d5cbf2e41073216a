"""Which downstream tools accept a model, as far as its activations decide: a table of rules.

Only the activations are looked at.  A tool may refuse a model for other reasons (an attention, a
layer norm); no rule here speaks of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class _Tool:
    """A tool by what its own documents say that it takes.

    Attributes:
        name: with its kind.
        accepted: activations that they list; lines are taken by all.
        otherwise: the answer to any other.
        rule: in words.
        by_hand: activations that can be written for it in an exact form by hand.
    """

    name: str
    accepted: frozenset[str]
    otherwise: str
    rule: str
    by_hand: frozenset[str] = frozenset()

    def answer(self, names: set[str]) -> str:
        """To a model with these activations."""
        if names <= self.accepted | {"identity"}:
            return "yes"
        return "by hand" if names <= self.accepted | self.by_hand else self.otherwise


_TOOLS = (
    # "verify ReLU networks": README of stanleybak/nnenum.
    _Tool("ReLU-only complete verifiers (nnenum)", _RELU, "no", "yes if every activation is ReLU"),
    # "fully connected feed-forward and convolutional NNs with piece-wise linear activation
    # functions": README of NeuralNetworkVerification/Marabou.
    _Tool(
        "SMT verifiers (Marabou)", _PIECEWISE_LINEAR, "not stated",
        "yes if every activation is piecewise linear",
    ),
    # "ReLU, sigmoid, tanh, arctan, sin, cos, tan, gelu, pow, multiplication and self-attention":
    # README of Verified-Intelligence/alpha-beta-CROWN, which bounds with auto_LiRPA.  SiLU is a
    # product with a sigmoid, RePU_s a power of ReLU.
    _Tool(
        "bound propagation and branching (alpha-beta-CROWN, auto_LiRPA)",
        frozenset({"relu", "sigmoid", "tanh", "arctan", "sin", "cos", "gelu", "silu", "swish",
                   "repu"}),
        "not stated",
        "yes for ReLU, sigmoid, tanh, arctan, sin, cos, GELU, and their products and powers",
    ),
    # "fully-connected, convolutional, and residual networks with ReLU, Sigmoid, Tanh, and Maxpool
    # activations": README of eth-sri/eran.
    _Tool(
        "abstract interpretation (ERAN)", frozenset({"relu", "sigmoid", "tanh"}), "not stated",
        "yes for ReLU, sigmoid and tanh",
    ),
    # "Only neural networks with ReLU activation can be used with Keras and PyTorch": README of
    # gurobi-machinelearning.  Any piecewise linear activation has an exact MILP form, which no
    # encoder writes for you.
    _Tool(
        "MILP encoders (gurobi-machinelearning)", _RELU, "no",
        "yes if every activation is ReLU, by hand if piecewise linear", _PIECEWISE_LINEAR,
    ),
    # linear, relu, sigmoid, softplus, tanh; "Activation ... is not supported by this formulation"
    # else: src/omlt/neuralnet/nn_formulation.py of cog-imperial/OMLT.
    _Tool(
        "Pyomo formulations (OMLT)", frozenset({"relu", "sigmoid", "softplus", "tanh"}), "no",
        "yes for linear, ReLU, sigmoid, softplus and tanh; a MILP for ReLU only",
    ),
)  # fmt: skip


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
        *(
            ToolAnswer(
                tool.name,
                tool.answer(_names(before)),
                tool.answer(_names(after)),
                f"{tool.rule}{kept}",
            )
            for tool in _TOOLS
        ),
        ToolAnswer(
            "ONNX", old[0], new[0], f"before: {old[1]}; after: {new[1]}{_kernel(particles)}"
        ),
    )


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
