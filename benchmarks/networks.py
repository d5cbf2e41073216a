"""How near the end-to-end bound comes to the largest change that attacks find.

``python -m benchmarks.networks [--networks N] [--attacks N] [--wide]``: random multilayer
perceptrons, each attacked from random points by projected gradient ascent in double precision.  A
violation ends the run with status 1.  Beside each bound stand interval arithmetic on both networks
apart (what natural interval extension gives) and the certified errors times the products of |W|.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.certify import certified_kernel
from jaxbarron.domains import Box
from jaxbarron.switching import switch
from jaxbarron.switching.end_to_end import end_to_end_bound

__all__ = ["NetworkFigure", "attacked", "network_figure"]

_ACTIVATIONS: dict[str, tuple[Callable[[Any], Any], float]] = {
    # the function, and an upper bound of its Lipschitz constant
    "tanh": (jnp.tanh, 1.0),
    "gelu": (lambda z: jax.nn.gelu(z, approximate=False), 1.13),
}


@dataclass(frozen=True)
class NetworkFigure:
    """One network: the bound, what attacks found, and two simpler bounds."""

    source: str
    sizes: tuple[int, ...]
    particles: int
    bound: float
    attack: float
    ratio: float
    products: float
    intervals: float
    seconds: float
    violations: int


Layers = Sequence[tuple[Any, Any]]


def network_figure(
    source: str, sizes: Sequence[int], particles: int, radius: float, seed: int, attacks: int
) -> NetworkFigure:
    act, lipschitz = _ACTIVATIONS[source]
    rng = np.random.default_rng(seed)
    layers = [
        (rng.normal(size=(a, b)) / np.sqrt(a), 0.1 * rng.normal(size=b))
        for a, b in itertools.pairwise(sizes)
    ]
    x = rng.normal(size=sizes[0])

    def fn(x: Any) -> Any:
        for weights, bias in layers[:-1]:
            x = act(x @ weights + bias)
        return x @ layers[-1][0] + layers[-1][1]

    box = Box(x - radius, x + radius)
    with jax.enable_x64(True):
        start = time.perf_counter()
        bound = end_to_end_bound(fn, {source: "relu"}, x, box=box, particles=particles)
        seconds = time.perf_counter() - start
        new = switch(fn, {source: "relu"}, particles=particles)
        low, high = attacked(lambda x: new(x) - fn(x), box, attacks, seed)
    outside = (low < bound.lower[0] - 1e-13) | (high > bound.upper[0] + 1e-13)
    found = float(max(-low.min(), high.max()))
    error = certified_kernel(source, "relu", particles=particles)[1].upper
    return NetworkFigure(
        source,
        tuple(sizes),
        particles,
        bound.largest,
        found,
        bound.largest / found,
        _products(layers, lipschitz, error),
        _intervals(layers, act, lipschitz, error, x, radius),
        seconds,
        int(outside.sum()),
    )


def attacked(
    change: Callable[[Any], Any], box: Box, attacks: int, seed: int, steps: int = 40
) -> tuple[Any, Any]:
    """The least and the largest change found, output by output."""
    rng = np.random.default_rng(seed)
    low, high = np.asarray(box.lower), np.asarray(box.upper)
    points = low + (high - low) * rng.uniform(size=(attacks, low.size))
    values = jax.jit(jax.vmap(change))
    outputs = values(points[:1]).shape[1]
    place = jnp.arange(attacks)
    sign = jnp.where((place // outputs) % 2 == 0, 1.0, -1.0)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(sign * values(x)[place, place % outputs])))
    least, most = np.full(outputs, np.inf), np.full(outputs, -np.inf)
    for step in range(steps):
        found = np.asarray(values(points))
        least, most = np.minimum(least, found.min(0)), np.maximum(most, found.max(0))
        reach = (high - low) * 0.3 * (1 - step / steps)
        points = np.clip(points + reach * np.sign(gradient(points)), low, high)
    return least, most


def _products(layers: Layers, lipschitz: float, error: float) -> float:
    gap = np.zeros(layers[0][0].shape[0])
    for k, (weights, _) in enumerate(layers):
        gap = gap @ np.abs(weights)
        gap = lipschitz * gap + error if k + 1 < len(layers) else gap
    return float(gap.max())


def _intervals(
    layers: Layers, act: Callable[[Any], Any], lipschitz: float, error: float, x: Any, radius: float
) -> float:
    """Both networks' own intervals, subtracted: centre and radius forms."""
    centre, half = x, np.full(x.size, radius)
    for k, (weights, bias) in enumerate(layers):
        centre, half = centre @ weights + bias, half @ np.abs(weights)
        if k + 1 < len(layers):
            centre, half = np.asarray(act(centre)), lipschitz * half + error
    return float(2 * half.max())


_WIDE = [
    (8, 64, 64, 1),
    (64, 128, 1),
    (64, 128, 128, 1),
    (16, 128, 128, 128, 128, 1),
    (64, 128, 128, 128, 128, 1),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=20, help="how many small random networks")
    parser.add_argument("--attacks", type=int, default=100, help="starting points for each")
    parser.add_argument("--wide", action="store_true", help="wide networks on boxes of radius 0.05")
    chosen = parser.parse_args()
    cases: list[tuple[Any, ...]] = []
    if chosen.wide:
        cases = [(a, s, k, 0.05, 0) for s in _WIDE for a in _ACTIVATIONS for k in (17, 33)]
    else:
        rng = np.random.default_rng(0)
        for seed in range(chosen.networks):
            sizes = [int(rng.integers(2, 10)), *rng.integers(4, 33, rng.integers(1, 5)), 2]
            source = list(_ACTIVATIONS)[seed % 2]
            cases.append((source, sizes, (4, 8, 16)[seed % 3], 10 ** rng.uniform(-3, 0), seed))
    violations = 0
    for case in cases:
        found = network_figure(*case, chosen.attacks)
        violations += found.violations
        print(
            f"{found.source} {tuple(map(int, found.sizes))} K={found.particles}: bound "
            f"{found.bound:.3g}, attack {found.attack:.3g}, ratio {found.ratio:.2f}; |W| "
            f"{found.products / found.bound:.3g} x, intervals {found.intervals / found.bound:.3g} "
            f"x wider; {found.seconds:.1f} s; violations {found.violations}",
            flush=True,
        )
    print(f"{len(cases)} networks, {chosen.attacks} attacks each: {violations} violations")
    raise SystemExit(violations > 0)


if __name__ == "__main__":
    main()
