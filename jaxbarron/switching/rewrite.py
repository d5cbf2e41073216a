"""Emit a scope again with other activations.

Only what holds a replaced site is taken apart: every other equation is bound as it stands, calls
with custom derivatives included, and what only the old activation needed is left out.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.core

from jaxbarron.programs import evaluate_program
from jaxbarron.switching.bodies import bind, bind_with, is_opaque
from jaxbarron.switching.flow import Frame, Node, Value, parts, scope_of_names
from jaxbarron.switching.segment import Segment
from jaxbarron.switching.sites import Scope

__all__ = ["Bodies", "Replacements", "rewrite"]

# Keyed by the site's path; the function is elementwise.
Replacements = Mapping[str, Callable[[Any], Any]]
# Rewritten bodies of jitted functions: one that is called twice is traced, and compiled, once.
Bodies = dict[Any, tuple[Any, Any]]


@dataclass(frozen=True, eq=False)
class _Step:
    """A node, a frame bound whole, or a segment with what replaces it."""

    reads: tuple[Value, ...]
    writes: tuple[Value, ...]
    eqn: Any
    run: Callable[[Sequence[Any]], Sequence[Any]]


def rewrite(scope: Scope, replacements: Replacements, bodies: Bodies) -> Callable[..., list[Any]]:
    """A function of the scope's inputs that gives its outputs with the sites replaced."""
    frame = scope.frame
    chosen = [(x, replacements[site.path]) for x, site in scope.segments
              if site.path in replacements]  # fmt: skip
    steps = _live(frame, _steps(scope, [*chosen, *_kept(scope, chosen)], replacements, bodies))

    def emit(*inputs: Any) -> list[Any]:
        values: dict[Value, Any] = dict(zip(frame.inputs, inputs, strict=True))
        for part in _frames(frame):
            values.update(part.constants)

        def read(value: Value) -> Any:
            return values[value] if value.literal is None else value.literal

        for step in steps:
            with _named(step.eqn):
                results = step.run([read(value) for value in step.reads])
            values.update(zip(step.writes, results, strict=True))
        return [read(value) for value in frame.outputs]

    return emit


def _kept(
    scope: Scope, chosen: Sequence[tuple[Segment, Callable[[Any], Any]]]
) -> list[tuple[Segment, Callable[[Any], Any]]]:
    """The sites that stay but hold a replaced one within: SiLU next to a use of its sigmoid.

    Such a site is computed from its source again, by its own operations.
    """
    replaced = {segment.output for segment, _ in chosen}
    return [
        (segment, functools.partial(evaluate_program, segment.program))
        for segment, _ in scope.segments
        if segment.output not in replaced and replaced.intersection(segment.inside)
    ]


def _steps(
    scope: Scope,
    chosen: Sequence[tuple[Segment, Callable[[Any], Any]]],
    replacements: Replacements,
    bodies: Bodies,
) -> Iterable[_Step]:
    replaced = {segment.output: (segment, new) for segment, new in chosen}
    apart = _taken_apart(segment for segment, _ in chosen)

    def of_frame(frame: Frame) -> Iterable[_Step]:
        for step in frame.steps:
            if isinstance(step, Frame) and step in apart:
                yield from of_frame(step)
            elif isinstance(step, Frame):
                yield _Step(step.inputs, step.outputs, step.eqn, _bound(step.eqn))
            elif step.outputs and step.outputs[0] in replaced:
                segment, new = replaced[step.outputs[0]]
                run = _applied(new, segment.output.dtype)
                yield _Step(segment.reads, step.outputs, step.eqn, run)
            else:
                yield _Step(step.inputs, step.outputs, step.eqn, of_node(step))

    def of_node(node: Node) -> Callable[[Sequence[Any]], Sequence[Any]]:
        inner = () if is_opaque(node) else scope.bodies.get(node, ())
        signatures = tuple(_signature(body, replacements) for body in inner)
        if not any(signatures):
            return _bound(node.eqn)
        emits = [rewrite(body, replacements, bodies) for body in inner]
        if node.name in ("jit", "pjit"):
            return lambda values: _jitted(node.eqn, values, emits[0], signatures[0], bodies)
        return lambda values: bind_with(node.eqn, values, emits)

    return of_frame(scope.frame)


def _bound(eqn: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
    return lambda values: bind(eqn, values)


def _applied(new: Callable[[Any], Any], dtype: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
    def run(values: Sequence[Any]) -> Sequence[Any]:
        z, *slope = values
        if not slope:
            return [new(z).astype(dtype)]
        return [(new(z) - slope[0] * new(-z)).astype(dtype)]

    return run


def _taken_apart(chosen: Iterable[Segment]) -> set[Frame]:
    """The laid open calls that hold an end of a segment within; the others are bound whole."""
    apart: set[Frame] = set()
    for segment in chosen:
        for end in (*segment.reads, segment.output):
            frame = end.node.frame if end.node is not None else None
            while frame is not None and frame.parent is not None:
                if end is not segment.output and end in frame.outputs:
                    break  # the call gives this value out
                apart.add(frame)
                frame = frame.parent
    # a call that is taken apart lies in calls that are
    for frame in tuple(apart):
        while frame.parent is not None and frame.parent.parent is not None:
            frame = frame.parent
            apart.add(frame)
    return apart


def _live(frame: Frame, steps: Iterable[_Step]) -> list[_Step]:
    needed = set(frame.outputs)
    kept: list[_Step] = []
    for step in reversed(list(steps)):
        if step.eqn.effects or needed.intersection(step.writes):
            kept.append(step)
            needed.update(step.reads)
    return kept[::-1]


def _frames(frame: Frame) -> Iterable[Frame]:
    yield frame
    for step in frame.steps:
        if isinstance(step, Frame):
            yield from _frames(step)


def _named(eqn: Any) -> contextlib.AbstractContextManager[Any]:
    names = scope_of_names(eqn)
    return jax.named_scope(names) if names and "(" not in names else contextlib.nullcontext()


# --------------------------------------------------------------- jitted bodies


def _signature(scope: Scope, replacements: Replacements) -> tuple[Any, ...]:
    """What is replaced in a scope, and by what: empty where nothing is."""
    here = [(x.output.order, id(replacements[site.path])) for x, site in scope.segments
            if site.path in replacements]  # fmt: skip
    within = [
        (node.outputs[0].order if node.outputs else 0, index, found)
        for node, inner in scope.bodies.items()
        if not is_opaque(node)
        for index, body in enumerate(inner)
        if (found := _signature(body, replacements))
    ]
    return (*here, *within)


def _jitted(
    eqn: Any,
    values: Sequence[Any],
    emit: Callable[..., list[Any]],
    signature: tuple[Any, ...],
    bodies: Bodies,
) -> list[Any]:
    old = eqn.params["jaxpr"]
    key = (id(old), tuple(jax.typeof(x) for x in values), signature)
    if key in bodies:
        new = bodies[key][1]
    else:
        new = jax.make_jaxpr(emit)(*values)
        if any(isinstance(x, jax.core.Tracer) for x in parts(new)[1]):
            return emit(*values)  # a kernel that is being trained: its arrays belong outside
        bodies[key] = (old, new)  # with the old one, lest its id is given to another
    return bind(eqn.replace(params={**eqn.params, "jaxpr": new}), values)
