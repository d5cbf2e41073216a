"""Find the activations of any JAX function, wherever its jaxpr hides them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from jaxbarron.activations import Activation, activation
from jaxbarron.programs import Program, evaluate_program
from jaxbarron.switching.bodies import Body, bodies_of, is_opaque
from jaxbarron.switching.clusters import segments
from jaxbarron.switching.flow import Frame, Node, Value, label, open_scope, parts, scope_of_names
from jaxbarron.switching.segment import Segment, live_values
from jaxbarron.switching.slopes import has_sloped_branch
from jaxbarron.switching.tracing import Traced, split_call, trace

__all__ = [
    "Scope",
    "Site",
    "find_activations",
    "opaque_parts",
    "opaque_paths",
    "scope_of",
    "sites_of",
]


@dataclass(frozen=True)
class Site:
    """One place in a function where an activation is applied.

    Attributes:
        name: the activation's name, or ``"unknown"``; ``"prelu"`` where the slope is an array.
        activation: the activation; for an unknown one the site's own scalar function; for a PReLU
            with an array of slopes ReLU, of which it is ``relu(z) - slope * relu(-z)``.
        shape: shape of the array that it is applied to (without mapped or scanned axes).
        dtype: dtype of that array.
        path: where in the jaxpr, unique in the function: the bodies that lead there, each with the
            position of its equation, such as ``"scan[3]/jit:gelu[1]"``; a ``jax.named_scope``
            stands before the equation.
        slopes: shape of a PReLU's array of slopes as z is multiplied by it; None for all others.
    """

    name: str
    activation: Activation
    shape: tuple[int, ...]
    dtype: Any
    path: str
    slopes: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class Scope:
    """A scope with its segments, the sites that they are, and the scopes in its equations.

    ``sloped`` are the paths of its activations that have an array as a parameter and are no PReLU.
    """

    frame: Frame
    segments: tuple[tuple[Segment, Site], ...]
    bodies: dict[Node, tuple[Scope, ...]]
    sloped: tuple[str, ...]


def find_activations(
    fn: Callable[..., Any],
    *args: Any,
    known: Sequence[Activation] = (),
    **kwargs: Any,
) -> tuple[Site, ...]:
    """The activations that ``fn(*args, **kwargs)`` applies, in the order of the computation.

    An activation is elementwise arithmetic on one floating array that depends on the arguments; it
    is recognised by its values (see :mod:`jaxbarron.switching.recognise`), through jit, scan,
    cond, while, remat, vmap, shard_map and custom derivatives.  No sites are made of:

    - affine functions, powers, roots, exp, log and z log z (softmax, normalisation, losses), and
      maxima and clips that only guard a root, a logarithm or a denominator;
    - functions of the random numbers of dropout, and of constants;
    - arrays of shape (), unless all the floating arguments (in a scan: all the slices) are scalars:
      a learning rate's schedule is no activation;
    - elementwise functions of two arrays at once, except a PReLU whose slope is an array:
      ``relu(z) - slope * relu(-z)``.  Others that choose by one of them, such as an ELU with an
      array of alphas, are named by :func:`opaque_parts`.

    Args:
        fn: any JAX function.
        args: its arguments.  Arrays may be ``jax.ShapeDtypeStruct``; what is no array (Python
            numbers, strings, modules) is passed on as it is and may steer Python control flow.
        known: activations of your own, recognised before the registered ones.
        kwargs: keyword arguments of ``fn``.

    Returns:
        One :class:`Site` for each place; a scan's body and a jitted function are one place for
        each time that they stand in the program, not for each time that they run.

    Raises:
        TraceError: JAX cannot trace ``fn`` on these arguments.

    Example:
        >>> import jax
        >>> [site.name for site in find_activations(lambda x: jax.nn.gelu(2 * x), jnp.ones(3))]
        ['gelu_tanh']
    """
    return tuple(sites_of(scope_of(trace(fn, split_call(args, kwargs)), known)))


def opaque_parts(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[str, ...]:
    """The paths of what applies an activation but cannot be rewritten.

    - Pallas kernels, custom linear solves and custom batching rules: their bodies belong to rules
      that would then speak of another function.
    - An activation with an array as a parameter, such as ELU in ``where(z > 0, z, a * expm1(z))``:
      a function of two arrays, and a kernel has one variable.  PReLU is none of these.

    Raises:
        TraceError: JAX cannot trace ``fn`` on these arguments.

    Example:
        >>> import jax
        >>> opaque_parts(lambda a, z: jax.nn.elu(z, a), jnp.ones(3), jnp.ones((2, 3)))
        ('jit:elu[0]',)
    """
    return tuple(opaque_paths(scope_of(trace(fn, split_call(args, kwargs)), ())))


def scope_of(traced: Traced, own: Sequence[Activation]) -> Scope:
    """The scopes of a traced function."""
    jaxpr, consts = parts(traced.jaxpr)
    avals = [var.aval for var in jaxpr.invars]
    body = Body("", jaxpr, consts, (None,) * len(avals), (True,) * len(avals))
    return _scope(body, own, _all_scalars(avals), "")


def sites_of(scope: Scope) -> Iterator[Site]:
    """All sites of a scope and of those in it that can be rewritten, in order."""
    found = {segment.output.order: [site] for segment, site in scope.segments}
    for node, inner in scope.bodies.items():
        if not is_opaque(node):
            order = node.outputs[0].order if node.outputs else 0
            found.setdefault(order, []).extend(site for body in inner for site in sites_of(body))
    for order in sorted(found):
        yield from found[order]


def opaque_paths(scope: Scope) -> Iterator[str]:
    """The equations of a scope that apply an activation and cannot be rewritten."""
    yield from scope.sloped
    for node, inner in scope.bodies.items():
        for body in inner:
            if not is_opaque(node):
                yield from opaque_paths(body)
            elif (path := next(_applied(body), None)) is not None:
                yield path.rsplit("/", 1)[0]


def _applied(scope: Scope) -> Iterator[str]:
    yield from (site.path for site in sites_of(scope))
    yield from opaque_paths(scope)


def _scope(body: Body, own: Sequence[Activation], scalars: bool, prefix: str) -> Scope:
    frame = open_scope(body.jaxpr, body.consts, body.known, body.depends)
    found = segments(frame, own, scalars)
    live = live_values(frame, found)
    bodies: dict[Node, tuple[Scope, ...]] = {}
    for node in frame.nodes():
        if not (node.eqn.effects or live.intersection(node.outputs)):
            continue
        inner: list[Scope] = []
        for part in bodies_of(node):
            count = scalars or (bool(part.slices) and _all_scalars(part.slices or ()))
            inner.append(_scope(part, own, count, f"{prefix}{_step(node, part.label)}/"))
        if any(scope.segments or scope.bodies or scope.sloped for scope in inner):
            bodies[node] = tuple(inner)
    taken = {segment.output for segment in found}
    sloped = tuple(
        prefix + _path(node.outputs[0])
        for node in frame.nodes()
        if live.intersection(node.outputs)
        and node.outputs[0] not in taken
        and has_sloped_branch(node)
    )
    return Scope(frame, tuple((x, _site(x, prefix)) for x in found), bodies, sloped)


def _all_scalars(avals: Sequence[Any]) -> bool:
    """Whether all floating arrays of a function are scalars: then scalars are its arrays."""
    floating = [a for a in avals if jnp.issubdtype(getattr(a, "dtype", bool), jnp.floating)]
    return bool(floating) and all(a.shape == () for a in floating)


def _site(segment: Segment, prefix: str) -> Site:
    known, slope = segment.activation, segment.slope
    name = "unknown" if known is None else known.name
    return Site(
        name=name if slope is None else "prelu",
        activation=_own_function(segment.program) if known is None else known,
        shape=segment.output.shape,
        dtype=segment.output.dtype,
        path=prefix + _path(segment.output),
        slopes=None if slope is None else slope.shape,
    )


@functools.lru_cache(maxsize=1024)
def _own_function(program: Program) -> Activation:
    """The site's own scalar function; the same object for the same function."""

    def unknown(z: Any) -> Any:
        return evaluate_program(program, jnp.asarray(z))

    return activation(unknown, name="unknown")


def _step(step: Node | Frame, name: str) -> str:
    scope = scope_of_names(step.eqn)
    return f"{scope}/{name}[{step.position}]" if scope else f"{name}[{step.position}]"


def _path(output: Value) -> str:
    """The equation that makes a value; a call that does nothing else stands for it."""
    node = output.node
    assert node is not None
    names = [_step(node, node.name)]
    frame: Frame = node.frame
    while frame.parent is not None:
        whole = len(names) == 1 and frame.outputs == (output,)
        names = [_step(frame, label(frame.eqn)), *([] if whole else names)]
        frame = frame.parent
    return "/".join(names)
