"""PReLU with an array of slopes: a function of two arrays, and yet a sum of ReLUs of one.

``where(z >= 0, z, slope * z)`` is ``relu(z) - slope * relu(-z)`` for every slope (THEORY.md,
Theorem Linear combinations), one for all channels or one for each, fixed or trained.  So it is a
site whose activation is ReLU, applied twice.
"""

from __future__ import annotations

from jaxbarron.activations import activation
from jaxbarron.switching.flow import Frame, Node, Value
from jaxbarron.switching.segment import Segment

__all__ = ["has_sloped_branch", "sloped_segments"]

# Of "z compared with 0", whether it holds for large z; and the same with the sides exchanged.
_UPPER = {"gt": True, "ge": True, "lt": False, "le": False}


def sloped_segments(frame: Frame, scalars: bool) -> list[Segment]:
    """The PReLUs of a scope whose slope is an array.

    Args:
        frame: the scope, laid open.
        scalars: whether arrays of shape () count.
    """
    found = (_sloped(node) for node in frame.nodes())
    return [x for x in found if x is not None and (scalars or x.output.shape != ())]


def has_sloped_branch(node: Node) -> bool:
    """Whether a node chooses by z between a function of z and such a function times an array.

    ELU with an array of alphas is one; it is no site.
    """
    if node.name != "select_n" or len(node.inputs) != 3 or not node.outputs[0].is_real:
        return False
    output, root = node.outputs[0], node.inputs[0].root
    if output.root is not output or root is node.inputs[0] or not (root.is_real and root.depends):
        return False

    def is_product(value: Value) -> bool:
        made = _made(value).node
        factors = () if made is None or made.name != "mul" else made.inputs
        return [x.root is root for x in factors].count(True) == 1

    branches = node.inputs[1:]
    return any(x.root is root and is_product(y) for x, y in (branches, branches[::-1]))


def _sloped(node: Node) -> Segment | None:
    if not has_sloped_branch(node):
        return None
    choice, otherwise, chosen = node.inputs
    compared = _compared_with_zero(choice)
    if compared is None:
        return None
    z, upper = compared
    straight, bent = (chosen, otherwise) if upper else (otherwise, chosen)
    product = _made(bent).node
    if _made(straight) is not z or product is None or len(product.inputs) != 2:
        return None
    for factor, slope in (product.inputs, product.inputs[::-1]):
        if _made(factor) is z and slope.dtype == node.outputs[0].dtype == z.dtype:
            relu = activation("relu")
            nodes = frozenset(x for x in (choice.node, product, node) if x is not None)
            return Segment(z, node.outputs[0], nodes, relu.program, relu, slope)
    return None


def _compared_with_zero(choice: Value) -> tuple[Value, bool] | None:
    """What is compared with 0, and whether the choice holds above 0."""
    made = _made(choice).node
    if made is None or made.name not in _UPPER:
        return None
    first, second = made.inputs
    if second.const == 0 and first.is_real:
        return _made(first), _UPPER[made.name]
    if first.const == 0 and second.is_real:
        return _made(second), not _UPPER[made.name]
    return None


def _made(value: Value) -> Value:
    """The value before it was moved to another shape, type or place."""
    while value.node is not None and value.node.relabels and value.node.elementwise:
        value = value.node.inputs[0]
    return value
