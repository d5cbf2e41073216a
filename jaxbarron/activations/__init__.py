"""Activations: a scalar function with the facts that the theory needs, and the registry."""

from jaxbarron.activations.activation import Activation, Growth, Kink, Line
from jaxbarron.activations.registry import (
    activation,
    is_known_name,
    is_registered,
    registered_activations,
    repu,
)

__all__ = [
    "Activation",
    "Growth",
    "Kink",
    "Line",
    "activation",
    "is_known_name",
    "is_registered",
    "registered_activations",
    "repu",
]
