"""A network as data: a JSON object and named arrays, bit by bit, and back.

Nothing is believed that is read: sizes, orders and kinds are checked, and what a rule knows of a
function (where exp has vanished) is derived from the function again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse

from jaxbarron.bounds.networks.cells import Cells, Pair
from jaxbarron.bounds.networks.graph import (
    Affine,
    Constant,
    Elementwise,
    Input,
    Network,
    Node,
    Product,
    Site,
    floor_of,
)
from jaxbarron.bounds.networks.maps import Blocks, LinearMap, Sparse
from jaxbarron.bounds.replacements import Composite, Replacement, Spline, exact_particles
from jaxbarron.programs import Program

__all__ = ["network_from_data", "network_to_data"]


def network_to_data(network: Network) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON object of a network, and the arrays that it names by their content.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxbarron.bounds.networks.reading import network_of
        >>> closed = jax.make_jaxpr(lambda x: 2.0 * x + 1.0)(jnp.zeros(3))
        >>> data, arrays = network_to_data(network_of(closed, [None], []))
        >>> [node["kind"] for node in data["nodes"]]
        ['input', 'affine', 'affine']
        >>> network_from_data(data, arrays).nodes[2].size
        3
    """
    arrays: dict[str, Any] = {}

    def named(x: Any) -> str | None:
        if x is None:
            return None
        array = np.ascontiguousarray(x)
        if array.dtype.kind in "iu":
            array = array.astype(np.int64)
        text = f"{array.dtype.str}{array.shape}".encode()
        key = hashlib.sha256(text + array.tobytes()).hexdigest()[:32]
        arrays[key] = array
        return key

    pairs: dict[Any, int] = {}
    written: list[Any] = []

    def pair(x: Pair) -> int:
        key = x.source if x.kernel is None else x
        if key not in pairs:
            pairs[key] = len(pairs)
            written.append(_pair_to_json(x))
        return pairs[key]

    def linear(x: LinearMap) -> dict[str, Any]:
        if isinstance(x, Sparse):
            matrix = x.matrix.tocsr()
            parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
            return {"kind": "sparse", "shape": list(matrix.shape)} | {
                k: named(v) for k, v in parts.items()
            }
        assert isinstance(x, Blocks)
        return {
            "kind": "blocks",
            "weights": named(x.weights),
            "free": x.free,
            "order_in": named(x.order_in),
            "order_out": named(x.order_out),
        }

    def node(x: Node) -> dict[str, Any]:
        data: dict[str, Any] = {"kind": type(x).__name__.lower(), "size": x.size}
        if isinstance(x, Constant):
            data |= {"centre": named(x.centre), "radius": named(x.radius)}
        elif isinstance(x, Affine):
            data |= {"bias": named(x.bias), "bias_radius": named(x.bias_radius)}
            data["terms"] = [[source, linear(m)] for source, m in x.terms]
        elif isinstance(x, Elementwise):
            data |= {"source": x.source, "site": x.site, "name": x.name}
            data["pair"] = pair(x.cells.pair)
        elif isinstance(x, Product):
            data |= {"left": x.left, "right": x.right}
        return data

    data = {
        "nodes": [node(x) for x in network.nodes],
        "outputs": [None if x is None else [x[0], list(x[1])] for x in network.outputs],
        "sites": [{"path": x.path, "pair": pair(x.pair)} for x in network.sites],
        "ends_at": network.ends_at,
    }
    return data | {"pairs": written}, arrays


def network_from_data(data: Mapping[str, Any], arrays: Mapping[str, Any]) -> Network:
    """The inverse of :func:`network_to_data`.

    Raises:
        KeyError, IndexError, TypeError, ValueError, CertificateFileError: it is no network.
    """
    pairs = [_pair_from_json(x) for x in data["pairs"]]
    cells = [Cells(x) for x in pairs]
    sites = tuple(Site(str(x["path"]), pairs[_index(x["pair"], len(pairs))])
                  for x in data["sites"])  # fmt: skip
    nodes: list[Node] = []
    for x in data["nodes"]:
        nodes.append(_node(x, nodes, arrays, cells, sites))
    if not nodes or not isinstance(nodes[0], Input):
        raise ValueError("the first node is not the input")
    outputs: list[tuple[int, tuple[int, ...]] | None] = []
    for x in data["outputs"]:
        if x is None:
            outputs.append(None)
            continue
        at, shape = _index(x[0], len(nodes)), tuple(int(n) for n in x[1])
        if math.prod(shape) != nodes[at].size or min(shape, default=0) < 0:
            raise ValueError("an output of another size than its node")
        outputs.append((at, shape))
    ends_at = data["ends_at"]
    if ends_at is None and any(x is None for x in outputs):
        raise ValueError("an output without a node, and no reason")
    return Network(tuple(nodes), tuple(outputs), sites, None if ends_at is None else str(ends_at))


def _node(
    data: Any, nodes: list[Node], arrays: Mapping[str, Any], cells: list[Cells], sites: Any
) -> Node:
    kind, size, count = data["kind"], int(data["size"]), len(nodes)
    if kind == "input" and not nodes and size > 0:
        return Input(size)
    if kind == "constant":
        return Constant(
            size, _vector(arrays, data["centre"], size), _vector(arrays, data["radius"], size, 0.0)
        )
    if kind == "affine":
        terms: list[tuple[int, LinearMap]] = []
        for source, linear in data["terms"]:
            at = _index(source, count)
            terms.append((at, _linear(linear, arrays, nodes[at].size, size)))
        bias = _vector(arrays, data["bias"], size)
        return Affine(size, tuple(terms), bias, _vector(arrays, data["bias_radius"], size, 0.0))
    if kind == "product":
        left, right = _index(data["left"], count), _index(data["right"], count)
        if not size == nodes[left].size == nodes[right].size:
            raise ValueError("a product of arrays of different sizes")
        return Product(size, left, right)
    if kind != "elementwise":
        raise ValueError(f"a node of kind {kind!r} at place {count}")
    source, here = _index(data["source"], count), cells[_index(data["pair"], len(cells))]
    site = None if data["site"] is None else _index(data["site"], len(sites))
    if nodes[source].size != size:
        raise ValueError("a function of an array of another size")
    if here.pair is not (here.pair if site is None else sites[site].pair):
        raise ValueError("a site with another function than its own")
    if site is None and here.pair.kernel is not None:
        raise ValueError("a replaced function that is no site")
    floor = floor_of(here.pair.source) if site is None else -math.inf
    return Elementwise(size, source, here, site, str(data["name"]), floor)


def _index(x: Any, count: int) -> int:
    if not isinstance(x, int) or isinstance(x, bool) or not 0 <= x < count:
        raise ValueError(f"{x!r} is no place among {count}")
    return x


def _vector(arrays: Mapping[str, Any], key: str, size: int, least: float = -math.inf) -> Any:
    array = arrays[key]
    if array.dtype != np.float64 or array.shape != (size,) or np.any(array < least):
        raise ValueError(f"an array of shape {array.shape} for {size} numbers")
    return array


def _linear(data: Any, arrays: Mapping[str, Any], inner: int, outer: int) -> LinearMap:
    if data["kind"] == "sparse":
        parts = tuple(arrays[data[key]] for key in ("data", "indices", "indptr"))
        matrix: Any = scipy.sparse.csr_array(parts, shape=tuple(data["shape"]))
        matrix.check_format(full_check=True)
        if matrix.shape != (outer, inner) or matrix.dtype != np.float64:
            raise ValueError("a matrix of another shape than its node")
        return Sparse(matrix)
    weights, free = arrays[data["weights"]], int(data["free"])
    if data["kind"] != "blocks" or weights.ndim != 3 or weights.dtype != np.float64:
        raise ValueError("a linear map of no known kind")
    blocks, rows, columns = weights.shape
    if (blocks * free * rows, blocks * free * columns) != (inner, outer):
        raise ValueError("blocks of another shape than their node")
    order_in, order_out = (
        None if data[key] is None else _order(arrays[data[key]], size)
        for key, size in (("order_in", inner), ("order_out", outer))
    )
    return Blocks(weights, free, order_in, order_out)


def _order(order: Any, size: int) -> Any:
    if not np.array_equal(np.sort(order), np.arange(size)):
        raise ValueError("an order that is no permutation")
    return order


def _pair_to_json(pair: Pair) -> dict[str, Any]:
    return {"source": pair.source.to_json(), "kernel": _kernel_to_json(pair.kernel)}


def _kernel_to_json(kernel: Replacement | None) -> dict[str, Any] | None:
    if kernel is None:
        return None
    data: dict[str, Any] = {
        name: [(int(x.p) / int(x.q)).hex() for x in (getattr(p, field) for p in kernel.particles)]
        for name, field in (("weights", "weight"), ("directions", "scale"), ("offsets", "shift"))
    }
    if isinstance(kernel, Spline):
        return data | {"degree": kernel.s}
    assert isinstance(kernel, Composite)
    return data | {"target": kernel.program.to_json(), "kinks": [x.hex() for x in kernel.kinks]}


def _pair_from_json(data: Any) -> Pair:
    source, kernel = Program.from_json(data["source"]), data["kernel"]
    if kernel is None:
        return Pair(source)
    columns = [[float.fromhex(x) for x in kernel[k]] for k in ("weights", "directions", "offsets")]
    particles = exact_particles(*columns)
    if "degree" in kernel:
        degree = int(kernel["degree"])
        if not 0 <= degree <= 64:
            raise ValueError(f"a spline of degree {degree}")
        return Pair(source, Spline(particles, degree))
    kinks = [float.fromhex(x) for x in kernel["kinks"]]
    return Pair(source, Composite(particles, Program.from_json(kernel["target"]), kinks))
