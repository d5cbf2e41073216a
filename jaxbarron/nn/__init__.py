"""Layers for training with flax (nnx); import it by name: ``import jaxbarron.nn``."""

from jaxbarron.nn.kernel_activation import KernelActivation, KernelDirection
from jaxbarron.nn.particle_layer import ParticleLayer
from jaxbarron.nn.penalty import barron_penalty

__all__ = ["KernelActivation", "KernelDirection", "ParticleLayer", "barron_penalty"]
