"""Switching: find the activations in any JAX function and rewrite it with others."""

from jaxbarron.switching.end_to_end import end_to_end_bound
from jaxbarron.switching.evaluation import float32_error
from jaxbarron.switching.network_certificates import end_to_end_certificate, verify_model
from jaxbarron.switching.plan import plan_switch
from jaxbarron.switching.rules import Replacement
from jaxbarron.switching.shared import SharedTolerance, share_tolerance
from jaxbarron.switching.sites import Site, find_activations, opaque_parts
from jaxbarron.switching.transform import switch

__all__ = [
    "Replacement",
    "SharedTolerance",
    "Site",
    "end_to_end_bound",
    "end_to_end_certificate",
    "find_activations",
    "float32_error",
    "opaque_parts",
    "plan_switch",
    "share_tolerance",
    "switch",
    "verify_model",
]
