"""From a function and rules to a certificate of the whole network, and back to the function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxbarron.bounds.networks.regions import Region
from jaxbarron.bounds.networks.stored import network_to_data
from jaxbarron.certificates import (
    NetworkCertificate,
    Observed,
    Verification,
    network_certificate,
    verify,
)
from jaxbarron.domains import Ball, Box
from jaxbarron.errors import ShapeError
from jaxbarron.switching.networks import network_of_function, network_with_rules
from jaxbarron.switching.regions import region_of
from jaxbarron.switching.rules import Demand, Source, Target
from jaxbarron.switching.transform import switch

__all__ = ["end_to_end_certificate", "points_of", "verify_model"]


def end_to_end_certificate(
    fn: Callable[..., Any],
    rules: Mapping[Source, Target],
    *args: Any,
    box: Box | None = None,
    ball: Ball | None = None,
    argument: int = 0,
    classes: bool = False,
    joint: int = 0,
    branches: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    samples: Any = None,
    key: Any = None,
    tol: float | None = None,
    particles: int | None = None,
    reach: float | None = None,
    direct: bool = False,
) -> NetworkCertificate:
    """The bound of :func:`jaxbarron.end_to_end_bound`, as a certificate that can be saved.

    It holds the whole network as data, with the arguments that do not vary, so that
    :func:`jaxbarron.verify` needs nothing else; :func:`verify_model` says whether that network is
    the one of a given function.

    Args:
        fn: any JAX function.
        rules: as for :func:`jaxbarron.switch`.
        args: the arguments of ``fn``.
        box: of the chosen argument, in the order of its flat array.
        ball: instead: how far the chosen argument may be from the one given.
        argument: which positional argument varies.
        classes: certify margins too.
        joint: as for :func:`jaxbarron.end_to_end_bound`; the multipliers found are in the file.
        branches: as for :func:`jaxbarron.end_to_end_bound`; the cuts are in the file.
        progress: the same.
        samples: inputs at which the change is observed too, shape (n, ...): data of your own.
            What is beyond the certificate's end is known from there alone.
        key: instead: a random key, for 256 inputs spread over the region.
        tol: as for :func:`jaxbarron.switch`; so are ``particles``, ``reach`` and ``direct``.

    Returns:
        The certificate; its level is ``"sampled"`` where some output is beyond its end.

    Raises:
        The errors of :func:`jaxbarron.end_to_end_bound`.
        ShapeError: samples of another shape than the argument's.

    Example:
        >>> import jaxbarron as jb
        >>> net = lambda x: jnp.sum(jnp.tanh(3 * x))
        >>> certificate = end_to_end_certificate(
        ...     net, {"tanh": "relu"}, jnp.zeros(2), ball=Ball(0.1), tol=1e-2
        ... )
        >>> certificate.level, bool(jb.verify(certificate)), bool(
        ...     verify_model(certificate, net, jnp.zeros(2)))
        ('rigorous', True, True)
    """
    demand = Demand(tol, particles, reach, direct)
    network, planned = network_with_rules(fn, rules, args, argument, demand)
    region = region_of(args, argument, box, ball)
    observed = None
    if samples is None and key is not None:
        samples = points_of(region, key, 256).reshape(-1, *np.shape(args[argument]))
    if samples is not None:
        given: Mapping[Source, Target] = {x.site.path: (x.kernel, x.target) for x in planned}
        observed = _observed(fn, switch(fn, given), args, argument, samples)
    return network_certificate(
        network, region, classes=classes, joint=joint, branches=branches, observed=observed,
        progress=progress,
    )  # fmt: skip


def verify_model(
    certificate: NetworkCertificate, fn: Callable[..., Any], *args: Any, argument: int = 0
) -> Verification:
    """Whether a certificate holds and is about this function, with these other arguments.

    The function is read again and must give the certificate's network bit by bit.

    Args:
        certificate: of :func:`end_to_end_certificate`, or one that was loaded.
        fn: the function before the switch.
        args: its arguments; the chosen one counts only by its shape.
        argument: which positional argument varies.

    Raises:
        TraceError: JAX cannot trace ``fn`` on these arguments.
        UsageError: the chosen argument is not one array of reals.

    Example:
        >>> net, box = lambda x: jnp.sum(jnp.tanh(3 * x)), Box([-0.1, -0.1], [0.1, 0.1])
        >>> made = end_to_end_certificate(net, {"tanh": "relu"}, jnp.zeros(2), box=box, tol=1e-2)
        >>> bool(verify_model(made, net, jnp.zeros(2)))
        True
        >>> bool(verify_model(made, lambda x: 2 * net(x), jnp.zeros(2)))
        False
    """
    kernels = {
        site.path: site.pair.kernel
        for site in certificate.network.sites
        if site.pair.kernel is not None
    }
    network = network_of_function(fn, args, argument, kernels)
    (mine, arrays), (theirs, others) = map(network_to_data, (network, certificate.network))
    if mine != theirs or arrays.keys() != others.keys():
        return Verification(False, "the certificate is about another function, or other parameters")
    return verify(certificate)


def points_of(region: Region, key: Any, count: int) -> Any:
    """Random points of a region, shape (count, d), doubles rounded to the default dtype.

    Example:
        >>> points_of(Box([0.0], [1.0]), jax.random.key(0), 3).shape
        (3, 1)
    """
    if isinstance(region, Box):
        low, high = jnp.asarray(region.lower), jnp.asarray(region.upper)
        return jax.random.uniform(key, (count, low.size), minval=low, maxval=high)
    centre, ball = jnp.asarray(region.centre), region.ball
    first, second = jax.random.split(key)
    shape = (count, centre.size)
    if np.isinf(ball.ord):
        return centre + ball.radius * jax.random.uniform(first, shape, minval=-1.0)
    # the norm's own density in each coordinate: uniform directions, then a radius
    draw = jax.random.normal if ball.ord == 2 else jax.random.laplace
    u = draw(first, shape)
    u = u / jnp.linalg.norm(u, ord=ball.ord, axis=1, keepdims=True)
    r = jax.random.uniform(second, (count, 1)) ** (1 / centre.size)
    return centre + ball.radius * r * u


def _observed(
    fn: Callable[..., Any],
    new: Callable[..., Any],
    args: tuple[Any, ...],
    argument: int,
    samples: Any,
) -> Observed:
    samples = jnp.asarray(samples, args[argument].dtype)
    if samples.shape[1:] != np.shape(args[argument]) or not len(samples):
        raise ShapeError(
            f"given: samples of shape {samples.shape} for an argument of shape "
            f"{np.shape(args[argument])}; expected: one more axis, of length >= 1, in front; do: "
            "stack the inputs"
        )

    def both(x: Any) -> Any:
        full = [*args[:argument], x, *args[argument + 1 :]]
        pairs = zip(*(jax.tree.leaves(f(*full)) for f in (fn, new)), strict=True)
        return [jnp.max(jnp.abs(_real(b) - _real(a)), initial=0.0) for a, b in pairs]

    changes = jax.lax.map(both, samples, batch_size=min(64, len(samples)))
    return Observed(len(samples), tuple(float(jnp.max(x)) for x in changes))


def _real(x: Any) -> Any:
    return jnp.asarray(x, jnp.result_type(x, jnp.float32))
