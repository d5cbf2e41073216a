"""A segment: the part of a scope that applies one activation to one value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jaxbarron.activations import Activation
from jaxbarron.programs import Program
from jaxbarron.switching.flow import Frame, Node, Value

__all__ = ["Segment", "live_values"]


@dataclass(frozen=True, eq=False)
class Segment:
    """``output`` is ``activation(source)``, elementwise; ``activation`` is None where unknown.

    With a ``slope``, an array of the scope, it is a PReLU instead: the activation is ReLU, and
    ``output`` is ``activation(source) - slope * activation(-source)``.
    """

    source: Value
    output: Value
    nodes: frozenset[Node]
    program: Program
    activation: Activation | None
    slope: Value | None = None

    @property
    def inside(self) -> set[Value]:
        """The values between the two ends."""
        return {value for node in self.nodes for value in node.outputs} - {self.output}

    @property
    def reads(self) -> tuple[Value, ...]:
        """The values that the segment is computed from."""
        return (self.source,) if self.slope is None else (self.source, self.slope)


def live_values(frame: Frame, chosen: Iterable[Segment]) -> set[Value]:
    """The values that are still computed once the chosen segments are replaced."""
    replaced = {segment.output: segment for segment in chosen}
    live = set(frame.outputs)
    for node in reversed(list(frame.nodes())):
        if not node.eqn.effects and not live.intersection(node.outputs):
            continue
        segment = replaced.get(node.outputs[0]) if node.outputs else None
        live.update(node.inputs if segment is None else segment.reads)
    return live
