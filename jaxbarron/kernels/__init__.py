"""Builders of kernels, one rule of the theory a file."""

from jaxbarron.kernels.combinations import bspline_kernel, combination_kernel
from jaxbarron.kernels.convolutions import convolution_kernel
from jaxbarron.kernels.density import spline_limit
from jaxbarron.kernels.derivatives import difference_kernel
from jaxbarron.kernels.factored import kernel_as_activation
from jaxbarron.kernels.hierarchy import hierarchy_constant, hierarchy_kernel
from jaxbarron.kernels.knot_removal import Removal, remove_particles
from jaxbarron.kernels.observed import observed_kernel
from jaxbarron.kernels.sharp import sharp_kernel
from jaxbarron.kernels.spectral import (
    spectral_kernel,
    spectral_measure,
    spectral_measure_of_samples,
)
from jaxbarron.kernels.splines import spline_kernel
from jaxbarron.kernels.taylor import taylor_kernel

__all__ = [
    "Removal",
    "bspline_kernel",
    "combination_kernel",
    "convolution_kernel",
    "difference_kernel",
    "hierarchy_constant",
    "hierarchy_kernel",
    "kernel_as_activation",
    "observed_kernel",
    "remove_particles",
    "sharp_kernel",
    "spectral_kernel",
    "spectral_measure",
    "spectral_measure_of_samples",
    "spline_kernel",
    "spline_limit",
    "taylor_kernel",
]
