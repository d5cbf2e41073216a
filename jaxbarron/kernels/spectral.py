"""Spectral measures: sums of cosines are particle measures, and the Gaussian is one of them.

``f(x) = sum_k a_k cos(xi_k . x + phi_k)`` goes on to RePU_s by the Taylor kernel of cos on its
reach, at the cost of one more power of the reach (THEORY.md, Theorem Spectral bridge).
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbarron.errors import DomainError, DtypeError, ShapeError, UsageError
from jaxbarron.measures import ParticleMeasure

__all__ = ["spectral_kernel", "spectral_measure", "spectral_measure_of_samples"]


def spectral_measure(
    amplitudes: Float[Array, "n ..."],
    frequencies: Float[Array, "n d"],
    phases: Float[Array, " n"] | None = None,
) -> ParticleMeasure:
    """``f(x) = sum_k a_k cos(xi_k . x + phi_k)`` as a measure for the activation ``"cos"``.

    Its norms are the spectral norms: ``sum |a_k|`` in total variation, ``sum |a_k| (R |xi_k|)^p``
    bias-free.

    Args:
        amplitudes: a_k, shape (n,), or (n, m) for m outputs.
        frequencies: xi_k in radians, shape (n, d).
        phases: phi_k, shape (n,); zeros where they are not given.

    Raises:
        ShapeError: the shapes disagree.
        DtypeError: an array is not floating, or the dtypes disagree.
        NonFiniteError: an array holds NaN or infinity.

    Example:
        >>> from jaxbarron.measures import evaluate
        >>> mu = spectral_measure(jnp.array([2.0]), jnp.array([[3.0, 0.0]]))
        >>> evaluate(mu, "cos", jnp.zeros(2)).tolist()
        [2.0]
    """
    given = (amplitudes, frequencies, phases)
    xp: Any = np if all(x is None or isinstance(x, np.ndarray) for x in given) else jnp
    weights, directions = xp.asarray(amplitudes), xp.asarray(frequencies)
    if weights.ndim not in (1, 2):
        raise ShapeError(
            f"given: amplitudes of shape {weights.shape}; expected: (n,), or (n, m) for m outputs; "
            "do: reshape them"
        )
    weights = weights[:, None] if weights.ndim == 1 else weights
    offsets = xp.zeros(directions.shape[:1], directions.dtype) if phases is None else phases
    return ParticleMeasure(weights, directions, xp.asarray(offsets))


def spectral_measure_of_samples(
    samples: Float[Array, "..."], periods: Float[Array, " d"] | tuple[float, ...]
) -> ParticleMeasure:
    """The trigonometric interpolant of real samples on a periodic grid, as a measure for ``"cos"``.

    With N = N_1 ... N_d samples ``f(j_1 L_1/N_1, ..., j_d L_d/N_d)``, ``0 <= j_i < N_i``, the
    measure has N particles and equals f at every grid point (THEORY.md, Theorem Spectral
    interpolation): for each pair of conjugate Fourier coefficients a cosine of phase 0 and
    amplitude ``2 Re F_k / N``, and a sine, which is a cosine of phase ``-pi/2``, of amplitude
    ``-2 Im F_k / N``.  Between grid points it equals f if f has no frequency of
    ``|k_i| >= N_i / 2``.  It is linear in the samples; the price of this is a total variation up
    to 2^(1/2) times ``sum |F_k| / N``.

    Args:
        samples: shape (N_1, ..., N_d), real and floating, d >= 1.
        periods: L_i, d finite numbers > 0.

    Returns:
        A measure in the dtype of the samples, with one output.

    Raises:
        ShapeError: there is no sample, or not one period for each axis.
        DtypeError: the samples are not floating.
        DomainError: a period is not finite and positive.

    Example:
        >>> from jaxbarron.measures import evaluate
        >>> mu = spectral_measure_of_samples(jnp.array([1.0, 0.0, -1.0, 0.0]), (4.0,))
        >>> round(float(evaluate(mu, "cos", jnp.array([2.0]))[0]), 5)
        -1.0
    """
    values = jnp.asarray(samples)
    lengths = np.asarray(periods, np.float64)
    if values.size == 0 or lengths.shape != (values.ndim,) or not values.ndim:
        raise ShapeError(
            f"given: samples of shape {values.shape} and periods of shape {lengths.shape}; "
            "expected: d >= 1 axes, none empty, and d periods; do: give one period for each axis"
        )
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise DtypeError(
            f"given: samples of dtype {values.dtype}; expected: a real floating dtype; do: convert "
            "them, e.g. samples.astype(jnp.float32)"
        )
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise DomainError(
            f"given: periods {lengths.tolist()}; expected: finite numbers > 0; do: give the "
            "lengths of the periodic box"
        )
    wave = np.stack(np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in values.shape), indexing="ij"))
    wave = np.rint(wave).reshape(values.ndim, -1).T.astype(np.int64)
    # One of each pair k, -k of indices modulo the grid; its own conjugate has no sine.
    index = np.arange(values.size)
    conjugate = np.ravel_multi_index(tuple((-wave % values.shape).T), values.shape)
    cosines, sines = np.flatnonzero(index <= conjugate), np.flatnonzero(index < conjugate)
    real_dtype = jnp.promote_types(values.dtype, jnp.float32)  # there is no half-precision FFT
    spectrum = jnp.fft.fftn(values.astype(real_dtype)).reshape(-1) / values.size
    pairs = np.where(conjugate == index, 1, 2).astype(real_dtype)
    weights = jnp.concatenate(
        [pairs[cosines] * spectrum.real[cosines], -pairs[sines] * spectrum.imag[sines]]
    )
    frequencies = (2 * np.pi * wave / lengths)[np.concatenate([cosines, sines])]
    phases = np.concatenate([np.zeros(len(cosines)), np.full(len(sines), -np.pi / 2)])
    leaves = (weights[:, None], frequencies, phases)
    return ParticleMeasure(*(jnp.asarray(x, values.dtype) for x in leaves))


def spectral_kernel(reach: float, *, particles: int = 32) -> ParticleMeasure:
    """The kernel from the Gaussian ``exp(-z^2)`` to cos on ``|z| <= reach``.

    The integral ``exp(-z^2) = int exp(-xi^2/4) / (2 pi^(1/2)) cos(xi z) dxi`` is discretised by the
    trapezoidal rule of step h, whose error is known exactly (THEORY.md, Theorem Spectral
    gaussian): all ``xi = k h`` together give the sum of the Gaussian's translates by multiples of
    ``P = 2 pi / h``, and those with ``|k| < K``, K = particles,

        |exp(-z^2) - kernel| <= sum_(n != 0) exp(-(|z| - n P)^2) + erfc((K - 1) h / 2).

    Here h is such that ``P - reach = (K - 1) h / 2 = x``: both parts are of the size ``exp(-x^2)``,
    with ``x = (reach^2/4 + pi (K - 1))^(1/2) - reach/2``.  Every weight is positive, and the total
    variation is at most ``1 + 3 exp(-P^2)``: no kernel of error eps has less than 1 - eps, since
    the Gaussian is 1 at 0.  All this up to the rounding of the stored doubles; certify the error
    with :func:`jaxbarron.kernel_certificate`.

    Args:
        reach: a finite number > 0.
        particles: K, at least 2.

    Returns:
        A kernel of K particles, NumPy doubles.

    Raises:
        DomainError: the reach is not a finite number > 0.
        UsageError: fewer than 2 particles.

    Example:
        >>> kernel = spectral_kernel(2.0, particles=8)
        >>> kernel.particles, abs(float(kernel.weights.sum()) - 1) < 1e-4
        (8, True)
    """
    if not (math.isfinite(reach) and reach > 0):
        raise DomainError(
            f"given: reach={reach}; expected: a finite number > 0; do: give the largest |z| that "
            "the kernel must serve"
        )
    if particles < 2:
        raise UsageError(
            f"given: particles={particles}; expected: at least 2; do: e.g. particles=32"
        )
    last = particles - 1
    # the positive root of last h^2 / 2 + reach h - 2 pi = 0, without cancellation
    step = 4 * math.pi / (reach + math.sqrt(reach * reach + 4 * math.pi * last))
    frequencies = step * np.arange(particles)
    weights = step / math.sqrt(math.pi) * np.exp(-((frequencies / 2) ** 2))
    weights[0] /= 2
    return ParticleMeasure(weights[:, None], frequencies[:, None], np.zeros(particles))
