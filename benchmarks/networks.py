"""How near the end-to-end bound comes to the largest change that attacks find.

``python -m benchmarks.networks [--networks N] [--attacks N] [--wide] [--few] [--joint STEPS]
[--branches PARTS]``: random multilayer perceptrons, each attacked from random points by projected
gradient ascent in double precision.  A violation ends the run with status 1.  Beside each bound
stand interval arithmetic on both networks apart (what natural interval extension gives) and the
certified errors times the products of |W|.
``python -m benchmarks --only networks`` runs immrax and auto_LiRPA where they are installed.
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
import optax

from benchmarks import peers
from jaxbarron.certify import certified_kernel
from jaxbarron.domains import Box
from jaxbarron.switching import switch
from jaxbarron.switching.end_to_end import end_to_end_bound

__all__ = ["ComparedFigure", "NetworkFigure", "attacked", "compared_figures", "network_figure"]

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
    parts: int
    violations: int


Layers = Sequence[tuple[Any, Any]]


def network_figure(
    source: str,
    sizes: Sequence[int],
    particles: int,
    radius: float,
    seed: int,
    attacks: int,
    joint: int = 0,
    branches: int = 1,
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
        bound = end_to_end_bound(
            fn, {source: "relu"}, x, box=box, particles=particles, joint=joint, branches=branches
        )
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
        1 if bound.branches is None else len(bound.branches.leaf) + 1,
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


@dataclass(frozen=True)
class ComparedFigure:
    """One network beside other bound propagators; None where one is not installed, or refuses."""

    name: str
    particles: int
    attack: float
    bound: float
    seconds: float
    together: float
    together_seconds: float
    products: float | None
    intervals: float | None
    crown: float | None
    crown_seconds: float | None


def compared_figures(
    quick: bool, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[ComparedFigure]:
    """Networks on boxes, each bound beside its peers'; ``progress`` is given (done, wanted)."""
    cases: list[tuple[str, tuple[int, ...], int, float]] = [("tanh", (8, 64, 64, 1), 17, 0.1)]
    if quick:
        cases = [("tanh", (4, 8, 1), 8, 0.1)]
    else:
        cases += [("tanh", (8, 64, 64, 1), 33, 0.1), ("tanh", (64, 128, 128, 1), 17, 0.05)]
    figures: list[ComparedFigure] = []
    for source, sizes, particles, radius in cases:
        figures.append(_compared(source, sizes, particles, radius, 30 if quick else 450))
        progress(len(figures), len(cases) + (not quick))
    if not quick:
        figures.append(digits_figure())
        progress(len(figures), len(figures))
    return figures


def _compared(
    source: str, sizes: tuple[int, ...], particles: int, radius: float, steps: int
) -> ComparedFigure:
    act, lipschitz = _ACTIVATIONS[source]
    rng = np.random.default_rng(0)
    layers = [
        (rng.normal(size=(a, b)) / np.sqrt(a), 0.1 * rng.normal(size=b))
        for a, b in itertools.pairwise(sizes)
    ]
    x = rng.normal(size=sizes[0])
    kernel, certificate = certified_kernel(source, "relu", particles=particles)
    leaves = zip(*(np.ravel(v) for v in (kernel.weights, kernel.directions, kernel.offsets)),
                 strict=True)  # fmt: skip
    parts = [(float(c), float(a), float(b)) for c, a, b in leaves]

    def network(x: Any, act: Callable[[Any], Any]) -> Any:
        for weights, bias in layers[:-1]:
            x = act(x @ weights + bias)
        return x @ layers[-1][0] + layers[-1][1]

    def old(x: Any) -> Any:
        return network(x, act)

    def new(x: Any) -> Any:
        return network(x, lambda z: sum(c * jnp.maximum(a * z + b, 0.0) for c, a, b in parts))

    box = Box(x - radius, x + radius)
    with jax.enable_x64(True):
        bounds = [_timed_bound(old, {source: "relu"}, x, box, particles, n) for n in (0, steps)]
        low, high = attacked(lambda x: new(x) - old(x), box, 200, 0)
        natural = peers.intervals(lambda x: new(x) - old(x), box)
    crown = peers.crown(layers, source, kernel, box)
    return ComparedFigure(
        f"{source} {'-'.join(map(str, sizes))}, radius {radius:g}",
        particles,
        float(max(-low.min(), high.max())),
        *bounds[0],
        *bounds[1],
        _products(layers, lipschitz, certificate.upper),
        natural.bound if natural else None,
        crown.bound if crown else None,
        crown.seconds if crown else None,
    )


def _timed_bound(
    fn: Callable[[Any], Any], rules: dict[Any, Any], x: Any, box: Box, particles: int, steps: int
) -> tuple[float, float]:
    start = time.perf_counter()
    bound = end_to_end_bound(fn, rules, x, box=box, particles=particles, joint=steps)
    return bound.largest, time.perf_counter() - start


def digits_figure(steps: int = 200, radius: float = 0.02, particles: int = 16) -> ComparedFigure:
    """A small convolutional network on scikit-learn's digits, around one image."""
    apply, image = _digits_model(steps)
    box = Box(image.ravel() - radius, image.ravel() + radius)
    rules: dict[Any, Any] = {"gelu": "relu"}
    with jax.enable_x64(True):
        bounds = [_timed_bound(apply, rules, image, box, particles, n) for n in (0, 150)]
        new = switch(apply, rules, particles=particles)
        shape = image.shape
        low, high = attacked(
            lambda x: (new(x.reshape(shape)) - apply(x.reshape(shape)))[0], box, 100, 0
        )
    return ComparedFigure(
        f"digits, two convolutions, radius {radius:g}", particles,
        float(max(-low.min(), high.max())), *bounds[0], *bounds[1], None, None, None, None,
    )  # fmt: skip


def _digits_model(steps: int) -> tuple[Callable[[Any], Any], Any]:
    """Two convolutions of 8 and 16 channels, mean pooling, a dense layer; trained a little."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = jnp.asarray(data.images[..., None] / 16.0, jnp.float32)
    labels = jnp.asarray(data.target)
    rng = np.random.default_rng(0)
    shapes = [(3, 3, 1, 8), (3, 3, 8, 16), (64, 10)]
    params = [
        jnp.asarray(rng.normal(size=s) / np.sqrt(np.prod(s[:-1])), jnp.float32) for s in shapes
    ]

    def forward(params: Any, x: Any) -> Any:
        for weights in params[:2]:
            numbers = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(x, weights, (1, 1), "SAME", dimension_numbers=numbers)
            x = jax.nn.gelu(x, approximate=False)
            x = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
        return x.reshape(len(x), -1) @ params[2]

    def loss(params: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(
            forward(params, images[:512]), labels[:512]
        ).mean()

    optimizer = optax.adam(3e-3)
    state = optimizer.init(params)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state)
    wide = [np.asarray(p, np.float64) for p in params]
    return lambda x: forward(wide, x), np.asarray(images[600:601], np.float64)


_WIDE = [
    (8, 64, 64, 1),
    (64, 128, 1),
    (64, 128, 128, 1),
    (16, 128, 128, 128, 128, 1),
    (64, 128, 128, 128, 128, 1),
]
_FEW = [(d, 128, 128, 128, 128, 1) for d in (2, 8, 16)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=20, help="how many small random networks")
    parser.add_argument("--attacks", type=int, default=100, help="starting points for each")
    parser.add_argument("--wide", action="store_true", help="wide networks on boxes of radius 0.05")
    parser.add_argument("--few", action="store_true", help="four layers of 128 on few inputs")
    parser.add_argument("--branches", type=int, default=1, help="parts of each box, at most")
    parser.add_argument("--joint", type=int, default=0, help="steps for bounds over all neurons")
    chosen = parser.parse_args()
    cases: list[tuple[Any, ...]] = []
    if chosen.wide or chosen.few:
        shapes = [*(_WIDE if chosen.wide else ()), *(_FEW if chosen.few else ())]
        cases = [(a, s, k, 0.05, 0) for s in shapes for a in _ACTIVATIONS for k in (17, 33)]
    else:
        rng = np.random.default_rng(0)
        for seed in range(chosen.networks):
            sizes = [int(rng.integers(2, 10)), *rng.integers(4, 33, rng.integers(1, 5)), 2]
            source = list(_ACTIVATIONS)[seed % 2]
            cases.append((source, sizes, (4, 8, 16)[seed % 3], 10 ** rng.uniform(-3, 0), seed))
    violations = 0
    for case in cases:
        found = network_figure(*case, chosen.attacks, chosen.joint, chosen.branches)
        violations += found.violations
        print(
            f"{found.source} {tuple(map(int, found.sizes))} K={found.particles}: bound "
            f"{found.bound:.3g}, attack {found.attack:.3g}, ratio {found.ratio:.2f}; |W| "
            f"{found.products / found.bound:.3g} x, intervals {found.intervals / found.bound:.3g} "
            f"x wider; {found.parts} parts, {found.seconds:.1f} s; violations {found.violations}",
            flush=True,
        )
    print(f"{len(cases)} networks, {chosen.attacks} attacks each: {violations} violations")
    raise SystemExit(violations > 0)


if __name__ == "__main__":
    main()
