"""switch: a JAX transformation that replaces activations by kernels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.core
import jax.numpy as jnp

from jaxbarron.domains import Ball, Box
from jaxbarron.errors import UsageError
from jaxbarron.switching.flow import parts
from jaxbarron.switching.plan import plan_of
from jaxbarron.switching.rewrite import Bodies, rewrite
from jaxbarron.switching.rules import Demand, Source, Target, function_of, read_rules
from jaxbarron.switching.shared import SharedTolerance, share_tolerance
from jaxbarron.switching.sites import scope_of
from jaxbarron.switching.tracing import Call, Traced, check_callable, split_call, trace

__all__ = ["switch"]

_MOST_SIGNATURES = 64


def switch(
    fn: Callable[..., Any],
    rules: Mapping[Source, Target],
    *,
    tol: float | None = None,
    particles: int | None = None,
    reach: float | None = None,
    direct: bool = False,
    output_tol: float | None = None,
    args: tuple[Any, ...] | None = None,
    box: Box | None = None,
    ball: Ball | None = None,
    samples: Any = None,
    argument: int = 0,
) -> Callable[..., Any]:
    """The function ``fn`` with other activations.

    A JAX transformation like ``jax.checkpoint``: the result has the signature of ``fn``, and jit,
    vmap, grad, scan and remat apply to it as before.  Each site runs its kernel in the factored
    form, ``z -> sum_k c_k tau(alpha_k z + beta_k)``, elementwise and in the dtype of the site; all
    other equations are those of ``fn``.  At each site the result differs from the old activation
    by at most the ``upper`` of the kernel's certificate (THEORY.md, Theorem Push-forward).

    Args:
        fn: any JAX function.  Take the model's apply function, not the gradient of its loss:
            ``jax.grad`` of the switched function is the gradient of the switched model.
        rules: from sources to targets.  A source is the name of an activation (``"gelu"``), of a
            family (``"gelu"`` also speaks of ``"gelu_tanh"``; an exact name counts more), an
            :class:`~jaxbarron.Activation` or scalar function of your own (matched by its values),
            ``"unknown"``, or the path of one site.  A target is a name, an Activation, or a pair
            ``(kernel, target)``.
        tol: bound on each kernel's error, see :func:`jaxbarron.certified_kernel`.
        particles: number of particles of each kernel, instead of ``tol``.
        reach: the kernels hold on ``|z| <= reach``; default: on all of R where possible.
        direct: instead of both: put the target in the activation's place, one for one.
        output_tol: instead of all of these: bound on the change of every output of ``fn``, shared
            out over the sites at once (:func:`jaxbarron.share_tolerance`): proved for the inputs of
            ``box`` or ``ball`` where the bound allows, else measured at ``samples``.
        args: with ``output_tol``: arguments of ``fn``; all but the chosen one are what they are.
        box: with ``output_tol``, as there; so are ``ball``, ``samples`` and ``argument``.

    Returns:
        The switched function.  With ``output_tol`` its attribute ``shared`` is the
        :class:`~jaxbarron.SharedTolerance`: the kernels, the change and its level.

    A PReLU whose slope is an array is ``relu(z) - slope * relu(-z)``: rules for ``"prelu"`` and
    ``"leaky_relu"`` speak of it, its kernel is one of ReLU, and only targets that represent ReLU
    without an error are taken (THEORY.md, Theorem Linear combinations).

    Custom derivatives of a function that holds a replaced site are dropped: they speak of the old
    activation.  Called on arrays, ``fn`` is traced once for each signature of arguments; a function
    that captures arrays (a model in a closure) is traced at each call, so that it sees
    their present values.

    Raises:
        UnknownActivationError, UsageError, ToleranceError, ShapeError: bad rules, at once.
        NoSiteError: when called, no rule speaks of any activation in ``fn``; those found are named.
        TraceError: when called, JAX cannot trace ``fn``.
        UnreachableTargetError: no kernel from an activation to its target is known.
        UsageError, ToleranceError: ``output_tol`` beside another demand, without ``args``, or out
            of reach: see :func:`jaxbarron.share_tolerance`.

    Example:
        >>> import numpy as np
        >>> from jaxbarron.measures import ParticleMeasure
        >>> unit = ParticleMeasure(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1))
        >>> g = switch(lambda x: 2 * jax.nn.gelu(x), {"gelu": (unit, "relu")})
        >>> bool(jnp.all(g(jnp.array([-1.0, 3.0])) == jnp.array([0.0, 6.0])))
        True
        >>> net = lambda x: jnp.sum(jnp.tanh(x))
        >>> region = {"args": (jnp.zeros(2),), "box": Box([-1.0, -1.0], [1.0, 1.0])}
        >>> h = switch(net, {"tanh": "relu"}, output_tol=0.01, **region)
        >>> h.shared.level, h.shared.change <= 0.01
        ('rigorous', True)
    """
    check_callable(fn)
    given = {"tol": tol, "particles": particles, "reach": reach, "direct": direct or None}
    region = {"args": args, "box": box, "ball": ball, "samples": samples}
    if output_tol is not None:
        shared = _shared(fn, rules, output_tol, given, region, argument)
        chosen: dict[Source, Target] = {path: to for path, to in shared.rules.items()}  # noqa: C416
        switched = switch(fn, chosen)
        vars(switched)["shared"] = shared
        return switched
    _refuse(region, "without output_tol", "it with a tolerance at the output only")
    read = read_rules(rules, Demand(tol, particles, reach, direct))
    compiled: OrderedDict[Any, _Compiled] = OrderedDict()
    bodies: Bodies = {}

    def switched(*args: Any, **kwargs: Any) -> Any:
        call = split_call(args, kwargs)
        # Under a transformation the trace may hold its facts, such as the size of a mapped axis;
        # the transformation does its own caching.
        eager = not _holds_tracers(call.arrays)
        key = _signature(call) if eager else None
        if eager and key in compiled:
            compiled.move_to_end(key)
            return compiled[key].run(call.arrays)
        traced = trace(fn, call)
        scope = scope_of(traced, read.own)
        functions = {x.site.path: function_of(read, x) for x in plan_of(read, scope)}
        emit = rewrite(scope, functions, bodies)
        if not eager or not _repeatable(traced):
            return traced.result(emit(*call.arrays))
        made = _Compiled(jax.make_jaxpr(emit)(*call.arrays), traced, call.statics)
        if not _holds_tracers(parts(made.jaxpr)[1]):
            compiled[key] = made
            while len(compiled) > _MOST_SIGNATURES:
                compiled.popitem(last=False)
        return made.run(call.arrays)

    switched.__name__ = getattr(fn, "__name__", type(fn).__name__)
    switched.__qualname__ = switched.__name__
    switched.__doc__ = getattr(fn, "__doc__", None)
    vars(switched)["__wrapped__"] = fn  # the signature, for jit's static_argnames
    return switched


def _shared(
    fn: Callable[..., Any],
    rules: Mapping[Source, Target],
    output_tol: float,
    given: Mapping[str, Any],
    region: Mapping[str, Any],
    argument: int,
) -> SharedTolerance:
    _refuse(given, "beside output_tol", "one of tol, particles, direct and output_tol")
    args = region["args"]
    if args is None:
        raise UsageError(
            "given: output_tol without args; expected: arguments of the function, of which one "
            "varies; do: e.g. args=(params, x), argument=1, samples=batch_of_inputs"
        )
    found = {name: x for name, x in region.items() if name != "args"}
    return share_tolerance(fn, rules, *args, output_tol=output_tol, argument=argument, **found)


def _refuse(options: Mapping[str, Any], beside: str, expected: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise UsageError(
                f"given: {name} {beside}; expected: {expected}; do: leave one of them out"
            )


@dataclass(frozen=True, eq=False)
class _Compiled:
    """A rewritten function for one signature; ``statics`` are kept so that no id is used again."""

    jaxpr: Any
    traced: Traced
    statics: tuple[Any, ...]

    def run(self, arrays: Sequence[Any]) -> Any:
        """The result for these arrays."""
        jaxpr, consts = parts(self.jaxpr)
        return self.traced.result(jax.core.eval_jaxpr(jaxpr, consts, *arrays))


def _signature(call: Call) -> Any:
    """All that a trace depends on: types of arrays, the other arguments, and JAX's settings."""
    return (
        call.tree,
        tuple(jax.typeof(x) for x in call.arrays),
        tuple((type(x), x if _is_hashable(x) else id(x)) for x in call.statics),
        jnp.result_type(float),
        jax.config.jax_default_matmul_precision,  # pyright: ignore[reportAttributeAccessIssue]
    )


def _is_hashable(x: Any) -> bool:
    try:
        hash(x)
    except TypeError:
        return False
    return True


def _repeatable(traced: Traced) -> bool:
    """Whether the trace holds for every call of this signature.

    Not if it captured arrays, which may be others at the next call, and not if it has effects.
    """
    jaxpr, consts = parts(traced.jaxpr)
    return not len(consts) and not jaxpr.effects


def _holds_tracers(consts: Any) -> bool:
    return any(isinstance(x, jax.core.Tracer) for x in consts)
