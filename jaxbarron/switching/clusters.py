"""Find the activations in the elementwise arithmetic of one scope.

A *cluster* is all elementwise arithmetic on one array, its *root*.  A *segment* of it is what lies
between a value u and a later value v that is a function of u alone.  The segments that compute a
registered activation are taken, the largest first, so that ``0.5 * gelu(2 * x)`` is a GELU of the
value ``2 * x`` and SiLU is not taken for a sigmoid with a product behind it.  What is left and not
affine is a segment of its own, *unknown*, without its affine ends.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jaxbarron.activations import Activation
from jaxbarron.programs import Operation, Program, Register
from jaxbarron.switching.flow import Frame, Node, Value, operation
from jaxbarron.switching.recognise import is_affine, is_elementary, recognise
from jaxbarron.switching.segment import Segment, live_values
from jaxbarron.switching.slopes import sloped_segments

__all__ = ["segments"]

# No registered activation needs half as many operations, however it is written.
_MOST_NODES = 40


def segments(frame: Frame, own: Sequence[Activation], scalars: bool) -> tuple[Segment, ...]:
    """The activations of a scope, in order.

    Args:
        frame: the scope, laid open.
        own: the user's own activations, recognised before the registered ones.
        scalars: whether arrays of shape () count (they do where all the scope's arrays are such).
    """
    nodes = [
        node
        for node in frame.nodes()
        if node.elementwise
        and node.outputs[0].is_real
        and node.outputs[0].root.is_real
        and node.outputs[0].root is not node.outputs[0]
        and node.outputs[0].root.depends
        and (scalars or node.outputs[0].shape != ())
    ]
    chosen = sloped_segments(frame, scalars)
    if not nodes and not chosen:
        return ()
    chosen += _known_segments(frame, nodes, own)
    chosen += _unknown_segments(frame, nodes, chosen)
    live = live_values(frame, chosen)
    return tuple(
        sorted((s for s in chosen if s.output in live), key=lambda segment: segment.output.order)
    )


# ------------------------------------------------------------------ recognised


def _known_segments(
    frame: Frame, nodes: Sequence[Node], own: Sequence[Activation]
) -> list[Segment]:
    live = live_values(frame, ())
    clusters: dict[Value, list[Node]] = {}
    for node in frame.nodes():
        if node.elementwise and node.outputs[0] in live:
            clusters.setdefault(node.outputs[0].root, []).append(node)
    chosen: list[Segment] = []
    for root in dict.fromkeys(node.outputs[0].root for node in nodes):
        cluster = clusters.get(root, [])
        outputs = set(frame.outputs).union(
            value
            for node in cluster
            for value in node.outputs
            if any(x.outputs[0].root is not root for x in value.users if _runs(x, live))
        )
        chosen += _largest_first(cluster, outputs, own)
    return chosen


def _runs(node: Node, live: Collection[Value]) -> bool:
    return bool(node.outputs) and (bool(node.eqn.effects) or any(x in live for x in node.outputs))


def _largest_first(
    cluster: Sequence[Node], outputs: Collection[Value], own: Sequence[Activation]
) -> list[Segment]:
    """The recognised segments of one cluster whose ``outputs`` are used outside of it."""
    candidates = [
        segment
        for node in cluster
        if node.outputs[0].is_real and not node.relabels
        for source in _sources(node.outputs[0])
        if (segment := _segment(source, node.outputs[0], own)) is not None
        and not (
            _is_bare(segment)
            and (
                _is_guard(segment.output)
                or _is_half_a_clip(segment.output)
                or _is_only_compared(segment.output)
            )
        )
    ]
    # Of equals the one without conversions at its ends.
    candidates.sort(key=lambda s: (-_size(s.nodes), -s.source.order, s.output.order))
    chosen: dict[Value, Segment] = {}
    live = _live_in(cluster, outputs, chosen)
    for segment in candidates:
        if segment.output not in live or segment.output in chosen:
            continue
        if any(value in chosen for value in segment.inside):
            continue
        chosen[segment.output] = segment
        live = _live_in(cluster, outputs, chosen)
    return list(chosen.values())


def _is_bare(segment: Segment) -> bool:
    """Whether an activation is one that also serves as a guard."""
    return segment.activation is not None and segment.activation.name in ("relu", "abs")


def _is_half_a_clip(value: Value) -> bool:
    """Whether a value only goes on to another bound: ``clip(z, 0, 2)`` holds no ReLU."""
    return bool(value.users) and all(
        _is_half_a_clip(node.outputs[0])
        if node.relabels
        else node.name in ("max", "min", "clamp") and any(x.const is not None for x in node.inputs)
        for node in value.users
    )


def _is_only_compared(value: Value) -> bool:
    """Whether a value only decides: ``where(abs(z) > 0.5, z, 0)`` holds no modulus."""
    return bool(value.users) and all(
        _is_only_compared(node.outputs[0]) if node.relabels else node.name in _COMPARING
        for node in value.users
    )


def _live_in(
    cluster: Sequence[Node], outputs: Collection[Value], chosen: Mapping[Value, Segment]
) -> set[Value]:
    live = set(outputs)
    for node in reversed(cluster):
        if node.outputs[0] in live:
            segment = chosen.get(node.outputs[0])
            live.update(node.inputs if segment is None else (segment.source,))
    return live


def _segment(source: Value, output: Value, own: Sequence[Activation]) -> Segment | None:
    """The segment between two values, if it is an activation."""
    nodes = _between(source, output, ())
    if nodes is None or _size(nodes) > _MOST_NODES:
        return None
    program = _program(source, output, nodes)
    known = recognise(program, source.dtype, own)
    return None if known is None else Segment(source, output, nodes, program, known)


def _sources(output: Value) -> list[Value]:
    """The real values of the same cluster on which ``output`` depends, the nearest first."""
    found: dict[Value, None] = {}
    waiting, steps = [output], 0
    while waiting and steps <= 2 * _MOST_NODES:
        value = waiting.pop(0)
        steps += 1
        if value.node is None or value.root is value:
            continue
        for operand in value.node.inputs:
            if operand.const is None and operand not in found:
                found[operand] = None
                waiting.append(operand)
    return [value for value in found if value.is_real]


def _between(source: Value, output: Value, cut: Collection[Value]) -> frozenset[Node] | None:
    """The nodes from ``source`` to ``output``; None if another way leads around ``source``.

    ``cut`` are values that count as arrays of their own.
    """
    nodes: dict[Node, None] = {}
    waiting = [output]
    while waiting:
        value = waiting.pop()
        if value is source or value.const is not None:
            continue
        if value.node is None or value.root is value or (value in cut and value is not output):
            return None
        if value.node not in nodes:
            nodes[value.node] = None
            waiting.extend(value.node.inputs)
    return frozenset(nodes) if nodes else None


def _size(nodes: Collection[Node]) -> int:
    return sum(not node.relabels for node in nodes)


def _program(source: Value, output: Value, nodes: Collection[Node]) -> Program:
    """The segment as a scalar program."""
    operations: list[Operation] = []
    written: dict[Value, Any] = {source: Register(0)}

    def read(value: Value) -> Any:
        return value.const if value.const is not None else written[value]

    for node in sorted(nodes, key=lambda node: node.outputs[0].order):
        operands = [read(value) for value in node.inputs]
        if node.relabels:
            written[node.outputs[0]] = operands[0]
            continue
        if node.name == "convert_element_type":  # a truth value becomes 0 or 1
            made = Operation("select_n", (operands[0], 0.0, 1.0))
        else:
            made = operation(node.name, operands, node.eqn.params)
        operations.append(made)
        written[node.outputs[0]] = Register(len(operations))
    return Program(tuple(operations), read(output))


# ----------------------------------------------------------- guards of a division


_PASS_ON = frozenset(
    {"reshape", "broadcast_in_dim", "squeeze", "transpose", "convert_element_type", "copy",
     "stop_gradient", "reduce_precision", "expand_dims"}
)  # fmt: skip


_COMPARING = frozenset({"gt", "ge", "lt", "le", "eq", "ne"})
_CLIPPING = _COMPARING | frozenset(
    {"max", "min", "clamp", "select_n", "abs", "add", "sub", "mul", "neg", "and", "or", "not",
     "is_finite"}
)  # fmt: skip


def _is_guard(value: Value, depth: int = 12) -> bool:
    """Whether a value only ends under a root, a logarithm or a fraction bar.

    Layer norm writes ``rsqrt(max(0, mean(x**2) - mean(x)**2) + eps)``: this maximum protects from
    rounding, it is no ReLU of the model.
    """
    return depth > 0 and bool(value.users) and all(
        _guards(node, value, depth) for node in value.users
    )  # fmt: skip


def _guards(node: Node, value: Value, depth: int) -> bool:
    name = node.name
    if name in ("sqrt", "rsqrt", "log"):
        return True
    if name == "div" and node.inputs[0] is not value and node.inputs[1] is value:
        return True
    if name == "pow" and node.inputs[0] is value:
        exponent = node.inputs[1].const
        return exponent is not None and (exponent < 0 or exponent != int(exponent))
    if name == "integer_pow":
        return node.eqn.params["y"] < 0
    shifted = name in ("add", "sub", "mul", "div", "max", "min") and any(
        operand.const is not None for operand in node.inputs
    )
    passed = name in _PASS_ON or shifted
    return passed and _is_guard(node.outputs[0], depth - 1)


# --------------------------------------------------------------------- unknown


def _unknown_segments(
    frame: Frame, nodes: Sequence[Node], chosen: Sequence[Segment]
) -> list[Segment]:
    """What is left: one segment for each value that leaves its cluster and is not affine."""
    live = live_values(frame, chosen)
    cut = {segment.output for segment in chosen}
    roots: dict[Value, Value] = {}
    for node in nodes:
        output = node.outputs[0]
        if output not in live or output in cut:
            continue
        before = {_root_with(x, roots, cut) for x in node.inputs if x.const is None}
        roots[output] = before.pop() if len(before) == 1 else output
    needed = set(frame.outputs).union(*(segment.reads for segment in chosen))

    def leaves(value: Value, root: Value) -> bool:
        """Whether more than the same cluster uses a value; a mask made of it is no such use."""
        users = [x for x in value.users if live.intersection(x.outputs) and x.outputs[0] not in cut]
        return value in needed or any(
            not user.elementwise
            or (user.outputs[0].is_real and roots.get(user.outputs[0]) is not root)
            for user in users
        )

    found: list[Segment] = []
    for value, root in roots.items():
        if root is not value and root.is_real and leaves(value, root):
            borders = cut | {other for other, own in roots.items() if other is own}
            segment = _trimmed(root, value, borders)
            if (
                segment is not None
                and not is_elementary(segment.program)
                and not _only_guards(segment, borders)
                and all(segment.output is not other.output for other in found)
            ):
                found.append(segment)
    return found


def _only_guards(segment: Segment, cut: Collection[Value]) -> bool:
    """Whether a segment is a clip under a root, a logarithm or a fraction bar, or both of these."""
    if all(node.relabels or node.name in _CLIPPING for node in segment.nodes):
        return _is_guard(segment.output)
    clips = (
        node.outputs[0]
        for node in segment.nodes
        if node.name in ("max", "min", "clamp", "select_n", "abs") and _is_guard(node.outputs[0])
    )
    return any(
        _between(clip, segment.output, cut) is not None
        and ((rest := _trimmed(clip, segment.output, cut)) is None or is_elementary(rest.program))
        for clip in clips
    )


def _root_with(value: Value, roots: dict[Value, Value], cut: Collection[Value]) -> Value:
    if value in cut or value.root is value:
        return value
    if value in roots:
        return roots[value]
    # a truth value: the root of what is compared
    assert value.node is not None
    before = {_root_with(x, roots, cut) for x in value.node.inputs if x.const is None}
    return before.pop() if len(before) == 1 else value


def _trimmed(root: Value, value: Value, cut: Collection[Value]) -> Segment | None:
    """The segment from ``root`` to ``value`` without its affine ends; None if it is affine."""

    def program(source: Value, output: Value) -> Program | None:
        nodes = _between(source, output, cut)
        return None if nodes is None else _program(source, output, nodes)

    def affine(source: Value, output: Value) -> bool:
        made = program(source, output)
        return made is not None and is_affine(made)

    if affine(root, value):
        return None
    inner = [x for x in _ancestors(root, value, cut) if x.is_real]
    output = next((x for x in inner if x is not root and affine(x, value)), value)
    source = next(
        (x for x in reversed(inner) if x.order < output.order and affine(root, x)
         and _between(x, output, cut) is not None),
        root,
    )  # fmt: skip
    nodes = _between(source, output, cut)
    if nodes is None:
        return None
    return Segment(source, output, nodes, _program(source, output, nodes), None)


def _ancestors(root: Value, value: Value, cut: Collection[Value]) -> list[Value]:
    """The values of the segment from ``root`` to ``value``, in order, without the two."""
    nodes = _between(root, value, cut) or ()
    inside = {node.outputs[0] for node in nodes} - {value}
    return sorted(inside, key=lambda x: x.order)
