"""What goes into each site and what comes out of it, on the data, before and after."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jaxbarron.activations import Activation
from jaxbarron.measures import ParticleMeasure
from jaxbarron.plots import knots_of
from jaxbarron.programs import evaluate_program
from jaxbarron.report.kept import Density, Range, SiteReport
from jaxbarron.switching import Replacement
from jaxbarron.switching.rewrite import rewrite
from jaxbarron.switching.rules import Demand, function_of, read_rules
from jaxbarron.switching.sites import Scope, scope_of
from jaxbarron.switching.tracing import split_call, trace

__all__ = ["Observed", "Observer", "kernel_error", "site_reports"]

_KEPT = 20_000  # pre-activations kept a site: enough for a density of 64 bins, and for the errors
_BINS = 64
_POINTS = 481


@dataclass(eq=False)
class Observed:
    """What one site met.

    Attributes:
        before: least and largest pre-activation, activation, in the model.
        after: the same in the switched model.
        zeros: exact zeros that came out, before and after.
        count: numbers that came out.
        carried: the largest change of the output.
        sample: some of the model's pre-activations, the extreme ones among them.
    """

    before: np.ndarray = field(default_factory=lambda: _nothing())
    after: np.ndarray = field(default_factory=lambda: _nothing())
    zeros: np.ndarray = field(default_factory=lambda: np.zeros(2, np.int64))
    count: int = 0
    carried: float = 0.0
    sample: np.ndarray = field(default_factory=lambda: np.empty(0))


class Observer:
    """Runs model and switched model on the same batches and holds each site against itself.

    The values leave the program by a callback at each site, so that bodies of scans and loops
    are seen each time that they run.

    Args:
        apply: the model.
        parameters: its parameters.
        inputs: rows.
        batch_size: how many at once.
        paths: the sites that are looked at.
        most_examples: whole batches up to about this many examples are looked at.
        own: activations that the rules brought along.
    """

    def __init__(
        self,
        apply: Callable[[Any, Any], Any],
        parameters: Any,
        inputs: Any,
        batch_size: int,
        paths: Sequence[str],
        most_examples: int,
        own: Sequence[Activation] = (),
    ) -> None:
        batches = max(1, min(len(inputs), most_examples) // batch_size)
        self._rows = [inputs[k * batch_size : (k + 1) * batch_size] for k in range(batches)]
        call = split_call((parameters, self._rows[0]), {})
        self._scope = scope_of(trace(apply, call), own)
        self._leaves = jax.tree.leaves(parameters)
        programs = {site.path: segment.program for inner in _scopes(self._scope)
                    for segment, site in inner.segments}  # fmt: skip
        self._paths = tuple(paths)
        self._seen: list[dict[str, list[Any]]] = []
        self._old = _tapped(
            self._scope,
            {path: functools.partial(evaluate_program, programs[path]) for path in paths},
            self._seen,
        )

    @property
    def examples(self) -> int:
        """On how many examples."""
        return sum(len(rows) for rows in self._rows)

    def observe(
        self, planned: Sequence[Replacement], parameters: Any = None
    ) -> dict[str, Observed]:
        """By path what was observed of one way of switching these sites.

        Args:
            planned: what becomes of which site.
            parameters: of the switched model, where training has changed them.
        """
        leaves = self._leaves if parameters is None else jax.tree.leaves(parameters)
        rules = read_rules({x.site.path: (x.kernel, x.target) for x in planned}, Demand())
        new = _tapped(
            self._scope, {x.site.path: function_of(rules, x) for x in planned}, self._seen
        )
        found = {path: Observed() for path in self._paths}
        for rows in self._rows:
            first = self._taken(self._old, self._leaves, rows)
            second = self._taken(new, leaves, rows)
            for path, site in found.items():
                for old, other in zip(first[path], second[path], strict=True):
                    _take(site, old, other, _KEPT // len(self._rows))
        return found

    def _taken(
        self, run: Callable[..., Any], leaves: Sequence[Any], rows: Any
    ) -> dict[str, list[Any]]:
        self._seen[:] = [{path: [] for path in self._paths}]
        jax.block_until_ready(run(*leaves, rows))
        jax.effects_barrier()
        return self._seen[0]


def _scopes(scope: Scope) -> list[Scope]:
    inner = [x for bodies in scope.bodies.values() for body in bodies for x in _scopes(body)]
    return [scope, *inner]


def _tapped(
    scope: Scope, functions: Mapping[str, Callable[[Any], Any]], seen: list[dict[str, list[Any]]]
) -> Callable[..., Any]:
    def keep(z: Any, y: Any, *, path: str) -> None:
        seen[0][path].append((np.asarray(z, np.float64), np.asarray(y, np.float64)))

    def tap(z: Any, *, path: str) -> Any:
        y = functions[path](z)
        jax.debug.callback(functools.partial(keep, path=path), z, y)
        return y

    taps = {path: functools.partial(tap, path=path) for path in functions}
    return jax.jit(rewrite(scope, taps, {}))


def _nothing() -> np.ndarray:
    return np.array([[np.inf, -np.inf], [np.inf, -np.inf]])


def _take(site: Observed, first: Any, second: Any, share: int) -> None:
    for bounds, pair in ((site.before, first), (site.after, second)):
        for row, values in zip(bounds, pair, strict=True):
            row[:] = min(row[0], values.min()), max(row[1], values.max())
    (z, y), (_, y_new) = first, second
    site.zeros += [np.sum(y == 0), np.sum(y_new == 0)]
    site.count += y.size
    site.carried = max(site.carried, float(np.abs(y_new - y).max()))
    flat = z.ravel()
    chosen = flat[:: max(1, flat.size // max(share, 1))]
    site.sample = np.concatenate([site.sample, chosen, [flat.min(), flat.max()]])


# ------------------------------------------------------------------ from values to the report


def kernel_error(
    kernel: ParticleMeasure, source: Activation, target: Activation, z: np.ndarray
) -> np.ndarray:
    """``kernel(z) - source(z)`` in double precision, number by number."""
    total = np.zeros(z.shape)
    columns = np.asarray(kernel.weights)[:, 0], np.asarray(kernel.directions)[:, 0]
    for c, alpha, beta in zip(*columns, np.asarray(kernel.offsets), strict=True):
        total += float(c) * evaluate_program(target.program, float(alpha) * z + float(beta))
    return total - evaluate_program(source.program, z)


def site_reports(
    planned: Sequence[Replacement], found: Mapping[str, Observed], words: Callable[[Any], str]
) -> tuple[SiteReport, ...]:
    """Certified beside observed, site by site.

    Args:
        planned: what became of which site.
        found: from :meth:`Observer.observe`.
        words: a kernel's size in words, from a planned replacement.
    """
    made: list[SiteReport] = []
    for plan in planned:
        seen, certificate = found[plan.site.path], plan.certificate
        source = plan.site.activation
        error = np.abs(kernel_error(plan.kernel, source, plan.target, seen.sample)).max()
        before, after = seen.before.tolist(), seen.after.tolist()
        zeros = (seen.zeros / seen.count).tolist()
        made.append(
            SiteReport(
                path=plan.site.path,
                activation=plan.site.name,
                kernel=words(plan),
                certified=None if certificate is None else certificate.upper,
                holds_on="" if certificate is None else certificate.where_it_holds,
                level="sampled" if certificate is None else certificate.level,
                observed=float(error),
                carried=seen.carried,
                pre_activations=Range(tuple(before[0]), tuple(after[0])),
                activations=Range(tuple(before[1]), tuple(after[1])),
                zeros=(zeros[0], zeros[1]),
                density=_density(plan, seen.sample),
            )
        )
    return tuple(made)


def _density(plan: Replacement, sample: np.ndarray) -> Density:
    low, high = np.quantile(sample, (0.0005, 0.9995))
    low, high = (low - 0.5, high + 0.5) if high - low < 1e-6 else (low, high)
    counts, edges = np.histogram(sample, _BINS, (low, high))
    points = np.linspace(low, high, _POINTS)
    error = kernel_error(plan.kernel, plan.site.activation, plan.target, points)
    knots = knots_of(plan.kernel)
    return Density(
        tuple(edges.tolist()),
        tuple((counts / sample.size).tolist()),
        float(counts.sum() / sample.size),
        tuple(points.tolist()),
        tuple(error.tolist()),
        tuple(knots[(knots >= low) & (knots <= high)].tolist()),
    )
