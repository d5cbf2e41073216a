"""Other bound propagators on the same networks, where they are installed.

immrax: natural interval extension of the difference.  auto_LiRPA: CROWN on the joint graph of both
networks, the kernel written out as K ReLUs a neuron.  Neither is a dependency; what cannot be
imported is None, with the reason.
"""

from __future__ import annotations

import importlib
import sys
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxbarron.domains import Box
from jaxbarron.measures import ParticleMeasure

__all__ = ["PeerFigure", "crown", "intervals", "missing"]

Layers = Sequence[tuple[Any, Any]]


@dataclass(frozen=True)
class PeerFigure:
    """The largest change of an output that a peer cannot rule out, and its time."""

    bound: float
    seconds: float


def missing(name: str) -> str | None:
    """Why a peer cannot be used; None if it can."""
    if name == "auto_LiRPA":
        _old_names()
    try:
        importlib.import_module(name)
    except Exception as reason:  # a peer may fail to import in any way
        return f"{name}: {type(reason).__name__}: {reason}"
    return None


def _old_names() -> None:
    """auto_LiRPA 0.3 looks for a few functions where older NumPy and torch had them."""
    if "numpy.lib.arraysetops" not in sys.modules:
        arrays = types.ModuleType("numpy.lib.arraysetops")
        vars(arrays)["isin"] = np.isin
        sys.modules["numpy.lib.arraysetops"] = arrays
    inner = "torch.onnx._internal.torchscript_exporter"
    try:
        state: Any = importlib.import_module(f"{inner}._globals").GLOBALS
        optimize: Any = importlib.import_module(f"{inner}.utils")._optimize_graph
    except ImportError:
        return  # an older torch: they are where they were
    helper: Any = importlib.import_module("torch.onnx.symbolic_helper")
    utils: Any = importlib.import_module("torch.onnx.utils")
    helper._set_opset_version = lambda version: setattr(state, "export_onnx_opset_version", version)
    utils._optimize_graph = optimize
    node: Any = importlib.import_module("torch")._C.Node
    if not hasattr(node, "__getitem__"):
        node.__getitem__ = lambda self, key: getattr(self, self.kindOf(key))(key)


def intervals(change: Callable[[Any], Any], box: Box) -> PeerFigure | None:
    """immrax: the natural interval extension of ``new(x) - original(x)``."""
    if missing("immrax"):
        return None
    immrax: Any = importlib.import_module("immrax")
    start = time.perf_counter()
    low, high = (jnp.asarray(x) for x in (box.lower, box.upper))
    found = immrax.natif(change)(immrax.interval(low, high))
    size = float(max(jnp.max(jnp.abs(found.lower)), jnp.max(jnp.abs(found.upper))))
    return PeerFigure(size, time.perf_counter() - start)


def crown(layers: Layers, source: str, kernel: ParticleMeasure, box: Box) -> PeerFigure | None:
    """auto_LiRPA: CROWN on the joint graph, each kernel as K ReLUs a neuron."""
    if missing("torch") or missing("auto_LiRPA"):
        return None
    torch: Any = importlib.import_module("torch")
    lirpa: Any = importlib.import_module("auto_LiRPA")
    c, a, b = (np.asarray(x, np.float64).ravel() for x in
               (kernel.weights, kernel.directions, kernel.offsets))  # fmt: skip

    def linear(weights: Any, bias: Any) -> Any:
        made = torch.nn.Linear(weights.shape[1], weights.shape[0])
        made.weight.data, made.bias.data = torch.tensor(weights), torch.tensor(bias)
        return made

    act = {"tanh": torch.nn.Tanh, "gelu": torch.nn.GELU}[source]
    old, new = [], []
    for k, (weights, bias) in enumerate(layers):
        old.append(linear(weights.T, bias))
        last = k + 1 == len(layers)
        if not last:
            old.append(act())
            # z_i -> (a_j z_i + b_j)_j, ReLU, sum_j c_j: as dense layers
            up = np.kron(weights.T, a[:, None])
            new += [linear(up, np.kron(bias, a) + np.tile(b, len(bias))), torch.nn.ReLU()]
            new.append(linear(np.kron(np.eye(len(bias)), c[None]), np.zeros(len(bias))))
        else:
            new.append(linear(weights.T, bias))

    class Joint(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.old, self.new = torch.nn.Sequential(*old), torch.nn.Sequential(*new)

        def forward(self, x: Any) -> Any:
            return self.new(x) - self.old(x)

    low, high = (torch.tensor(np.asarray(x)[None]) for x in (box.lower, box.upper))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # its tables are of the default dtype
    try:
        start = time.perf_counter()
        joint = lirpa.BoundedModule(Joint().double(), (low + high) / 2)
        region = lirpa.PerturbationLpNorm(norm=np.inf, x_L=low, x_U=high)
        inputs = (lirpa.BoundedTensor((low + high) / 2, region),)
        found = joint.compute_bounds(x=inputs, method="CROWN")
        size = float(max(x.detach().abs().max() for x in found))
        return PeerFigure(size, time.perf_counter() - start)
    finally:
        torch.set_default_dtype(before)
