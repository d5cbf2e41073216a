"""The certificate of a switched network: how far its outputs can stray on a box or a ball.

The network itself is in the certificate, as a graph of affine maps, products and scalar programs;
its arrays are kept beside the JSON file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxbarron.balls.notation import all_digits, rounded_up
from jaxbarron.bounds.networks.bound import DifferenceBound, network_difference
from jaxbarron.bounds.networks.branching import branched_difference, rebranched_difference
from jaxbarron.bounds.networks.classes import Classes
from jaxbarron.bounds.networks.graph import Network
from jaxbarron.bounds.networks.leaves import Branches
from jaxbarron.bounds.networks.refined import Parabolas
from jaxbarron.bounds.networks.regions import Around, Region
from jaxbarron.bounds.networks.stored import network_from_data, network_to_data
from jaxbarron.certificates.files import Level, Verification
from jaxbarron.domains import Ball, Box

__all__ = [
    "NetworkCertificate",
    "Observed",
    "check",
    "from_json",
    "network_certificate",
    "to_arrays",
    "to_json",
]

_THEOREM = "Theorem Differential propagation"
_JOINT = "Theorem Joint parabolas"
_BRANCHED = "Theorem Branching"
_PARABOLAS = ("linear", "quadratic", "weights", "adjoint")
_CUTS = ("leaf", "axis", "place")
_SLACK = 2.0**-30  # another machine may add in another order: its bounds differ by rounding


@dataclass(frozen=True)
class Observed:
    """What was seen on data, in floating point: no proof.

    Attributes:
        points: how many inputs.
        largest: for each output of the function the largest change.
    """

    points: int
    largest: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class NetworkCertificate:
    """The claim ``lower <= new(x) - original(x) <= upper`` for every x in a region.

    It is about the real functions that the stored graph defines: the network with the activations
    at its sites, and the one with the kernels in their places.

    Attributes:
        network: both networks as one graph.
        region: of the input.
        bound: what is claimed of each output, and of the classes.
        observed: what was seen on data, above all beyond ``bound.ends_at``; None: nothing.
        theorem: the theorem of THEORY.md that the claim rests on.
    """

    network: Network = field(repr=False)
    region: Region = field(repr=False)
    bound: DifferenceBound
    observed: Observed | None = None
    theorem: str = _THEOREM

    @property
    def level(self) -> Level:
        """``"rigorous"``, or ``"sampled"`` where an output is beyond the certificate's end."""
        return self.bound.level

    @property
    def upper(self) -> float:
        """No output changes by more."""
        return self.bound.largest

    @property
    def lower(self) -> float:
        """The largest change that was seen: observed, not proved."""
        return 0.0 if self.observed is None else max(self.observed.largest, default=0.0)

    @property
    def claim(self) -> str:
        """The claim as a sentence."""
        if isinstance(self.region, Box):
            where = f"a box in dimension {len(self.region.lower)}"
        else:
            ball = self.region.ball
            where = f"an l{ball.ord:g} ball of radius {all_digits(ball.radius)}"
            where += f" in dimension {self.region.size}"
        sites = sum(site.pair.kernel is not None for site in self.network.sites)
        sentence = f"On {where} the switch of {sites} sites changes no output by more than "
        sentence += rounded_up(self.upper, 6)
        if self.bound.branches is not None:
            sentence += f" (proved on {len(self.bound.branches.leaf) + 1} parts)"
        classes = self.bound.classes
        if classes is not None and classes.same:
            sentence += ", and the class nowhere"
        elif classes is not None:
            delta = rounded_up(classes.largest_delta, 6)
            sentence += f", and no class that leads by at least {delta}"
        if self.bound.ends_at is not None:
            sentence += f"; the proof ends at {self.bound.ends_at}"
            seen = self.observed
            sentence += ", beyond which " + (
                "nothing was observed" if seen is None else f"{seen.points} inputs were observed"
            )
        return sentence + "."


def network_certificate(
    network: Network,
    region: Region,
    *,
    classes: bool = False,
    joint: int = 0,
    branches: int = 1,
    observed: Observed | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NetworkCertificate:
    """Bound a network's change on a region and certify it.

    Args:
        network: both networks as one graph.
        region: a box, or a ball about a point.
        classes: bound margins too.
        joint: steps in search of parabolas.
        branches: parts in which the region may be cut.
        observed: what was seen on data.
        progress: given (parts, parts wanted) after each cut.

    Raises:
        ShapeError: the region has not as many coordinates as the input has numbers.
    """
    found = branched_difference(
        network, region, branches, classes=classes, joint=joint, progress=progress
    )
    claimed = DifferenceBound(
        tuple(x - np.abs(x) * _SLACK for x in found.lower),
        tuple(x + np.abs(x) * _SLACK for x in found.upper),
        found.level,
        found.ends_at,
        tuple((path, part * (1 + _SLACK)) for path, part in found.by_site),
        None if found.classes is None else _with_slack(found.classes),
        found.parabolas,
        branches=found.branches,
    )
    return NetworkCertificate(network, region, claimed, observed, _theorem_of(claimed))


def _theorem_of(bound: DifferenceBound) -> str:
    if bound.branches is not None:
        return _BRANCHED
    return _THEOREM if bound.parabolas is None else _JOINT


def _with_slack(classes: Classes) -> Classes:
    return Classes(classes.delta * (1 + _SLACK), classes.possible, classes.change * (1 + _SLACK))


def check(certificate: NetworkCertificate) -> Verification:
    """Propagate the difference through the stored graph again."""
    claimed = certificate.bound
    if certificate.theorem != _theorem_of(claimed):
        return Verification(False, f"it rests on {_theorem_of(claimed)}")
    try:
        if claimed.branches is None:
            found = network_difference(
                certificate.network,
                certificate.region,
                classes=claimed.classes is not None,
                parabolas=claimed.parabolas,
            )
        else:
            found = rebranched_difference(
                certificate.network,
                certificate.region,
                claimed.branches,
                classes=claimed.classes is not None,
                parabolas=claimed.parabolas,
            )
    except ValueError as reason:
        return Verification(
            False, f"no joint bound, or none of these parts, can be derived: {reason}"
        )
    if found.level != claimed.level:
        return Verification(False, f"no bound can be derived of every output: {found.ends_at}")
    if len(found.lower) != len(claimed.lower):
        return Verification(False, "the claim has not as many outputs as the network")
    sides = zip(claimed.lower, found.lower, claimed.upper, found.upper, strict=True)
    for place, (low, lower, high, upper) in enumerate(sides):
        if low.shape != lower.shape or high.shape != upper.shape:
            return Verification(False, f"output {place} has the shape {lower.shape}")
        if not (np.all(low <= lower) and np.all(upper <= high)):
            size = max(np.max(np.abs(lower)), np.max(np.abs(upper)))
            return Verification(
                False,
                f"the change of output {place} is bounded by {size:.9g} only; this does not prove "
                "the claim",
            )
    if not _could_be_seen(certificate.observed, len(claimed.lower)):
        return Verification(False, "what is said to have been observed cannot be")
    if [path for path, _ in claimed.by_site] != [path for path, _ in found.by_site]:
        return Verification(False, "the claim has other sites than the network")
    for (path, most), (_, part) in zip(claimed.by_site, found.by_site, strict=True):
        if not part <= most:
            return Verification(False, f"{path} alone is bounded by {part:.9g} only")
    if claimed.classes is not None:
        reason = _overclaimed(claimed.classes, found.classes)
        if reason:
            return Verification(False, reason)
    return Verification(True, "every bound was derived again: " + certificate.claim)


def _could_be_seen(observed: Observed | None, outputs: int) -> bool:
    if observed is None:
        return True
    sizes = observed.largest
    return observed.points >= 1 and len(sizes) == outputs and all(0 <= x < np.inf for x in sizes)


def _overclaimed(claimed: Classes, found: Classes | None) -> str:
    """What is claimed of the classes and was not derived again; empty where all was."""
    if found is None:
        return "no margins can be derived"
    for name in ("delta", "possible", "change"):
        if getattr(claimed, name).shape != getattr(found, name).shape:
            return "the margins have another shape than the first output"
    if not np.all(found.delta <= claimed.delta):
        return (
            f"margins up to {found.largest_delta:.9g} may be overturned, the claim "
            f"says {claimed.largest_delta:.9g}"
        )
    if claimed.possible.dtype != np.bool_ or np.any(found.possible & ~claimed.possible):
        return "a class that the claim excludes may be the largest somewhere"
    if not np.all(found.change <= claimed.change):
        return "a difference of two outputs may change by more than is claimed"
    return ""


def to_json(certificate: NetworkCertificate) -> dict[str, Any]:
    """The claim as a JSON object that names its arrays."""
    return _data(certificate)[0]


def to_arrays(certificate: NetworkCertificate) -> dict[str, Any]:
    """The arrays of the claim and of the network."""
    return _data(certificate)[1]


def _data(certificate: NetworkCertificate) -> tuple[dict[str, Any], dict[str, Any]]:
    network, arrays = network_to_data(certificate.network)
    bound, region, seen = certificate.bound, certificate.region, certificate.observed
    for k, (lower, upper) in enumerate(zip(bound.lower, bound.upper, strict=True)):
        arrays |= {f"lower.{k}": np.asarray(lower), f"upper.{k}": np.asarray(upper)}
    data: dict[str, Any] = {
        "level": certificate.level,
        "theorem": certificate.theorem,
        "claim": certificate.claim,
        "network": network,
        "outputs": len(bound.lower),
        "ends_at": bound.ends_at,
        "by_site": [[path, part.hex()] for path, part in bound.by_site],
        "classes": bound.classes is not None,
        "parabolas": _given(bound.parabolas),
        "observed": seen
        and {"points": seen.points, "largest": [float(x).hex() for x in seen.largest]},
    }
    if isinstance(region, Box):
        data["region"] = {"kind": "box"}
        arrays |= {"region.lower": np.array(region.lower), "region.upper": np.array(region.upper)}
    else:
        data["region"] = {"kind": "ball", "radius": float(region.ball.radius).hex(),
                          "ord": f"{region.ball.ord:g}"}  # fmt: skip
        arrays["region.centre"] = np.array(region.centre)
    if bound.classes is not None:
        found = bound.classes
        arrays |= {"classes.delta": found.delta, "classes.possible": found.possible,
                   "classes.change": found.change}  # fmt: skip
    arrays |= _parabolas_to_arrays(bound.parabolas, "parabolas")
    if bound.branches is not None:
        cuts = bound.branches
        arrays |= {f"branches.{name}": getattr(cuts, name) for name in _CUTS}
        data["branches"] = [_given(x) for x in cuts.parabolas]
        for part, found in enumerate(cuts.parabolas):
            arrays |= _parabolas_to_arrays(found, f"branches.{part}")
    return data, {k: np.ascontiguousarray(v).reshape(np.shape(v)) for k, v in arrays.items()}


def from_json(data: dict[str, Any], arrays: Mapping[str, Any]) -> NetworkCertificate:
    """The inverse; KeyError, IndexError, TypeError or ValueError where it is none."""
    network = network_from_data(data["network"], arrays)
    kind, region = data["region"]["kind"], data["region"]
    if kind == "box":
        where: Region = Box(arrays["region.lower"], arrays["region.upper"])
    elif kind == "ball":
        ball = Ball(float.fromhex(region["radius"]), ord=float(region["ord"]))
        where = Around(tuple(arrays["region.centre"].tolist()), ball)
    else:
        raise ValueError(f"a region of kind {kind!r}")
    classes = None
    if data["classes"]:
        names = ("classes.delta", "classes.possible", "classes.change")
        classes = Classes(*(arrays[name] for name in names))
    parabolas = _parabolas_from(data.get("parabolas"), arrays, "parabolas")
    branches = None
    if data.get("branches") is not None:
        proofs = [_parabolas_from(given, arrays, f"branches.{part}")
                  for part, given in enumerate(data["branches"])]  # fmt: skip
        leaf, axis, place = (arrays[f"branches.{name}"] for name in _CUTS)
        branches = Branches(leaf, axis, place, tuple(proofs))
    level = data["level"]
    if level not in ("rigorous", "sampled"):
        raise ValueError(f"level {level!r}")
    bound = DifferenceBound(
        tuple(arrays[f"lower.{k}"] for k in range(int(data["outputs"]))),
        tuple(arrays[f"upper.{k}"] for k in range(int(data["outputs"]))),
        level,
        None if data["ends_at"] is None else str(data["ends_at"]),
        tuple((str(path), float.fromhex(part)) for path, part in data["by_site"]),
        classes,
        parabolas,
        branches=branches,
    )
    seen = data["observed"]
    if seen is not None:
        largest = tuple(float.fromhex(x) for x in seen["largest"])
        seen = Observed(int(seen["points"]), largest)
    return NetworkCertificate(network, where, bound, seen, str(data["theorem"]))


_Multipliers = tuple[Parabolas | None, ...] | None


def _given(parabolas: _Multipliers) -> list[bool] | None:
    return None if parabolas is None else [x is not None for x in parabolas]


def _parabolas_to_arrays(parabolas: _Multipliers, prefix: str) -> dict[str, Any]:
    return {
        f"{prefix}.{k}.{name}": getattr(found, name)
        for k, found in enumerate(parabolas or ())
        if found is not None
        for name in _PARABOLAS
    }


def _parabolas_from(given: Any, arrays: Mapping[str, Any], prefix: str) -> _Multipliers:
    if given is None:
        return None
    return tuple(
        Parabolas(*(arrays[f"{prefix}.{k}.{name}"] for name in _PARABOLAS)) if there else None
        for k, there in enumerate(given)
    )
