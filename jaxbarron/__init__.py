"""jaxbarron: change the activation of a trained JAX model, with a certificate.

The noun is a particle measure, the verb push-forward; a kernel from one activation to another is a
measure too.  See README.md for the way in and THEORY.md for the mathematics.
"""

from importlib import metadata as _metadata

from jaxbarron.activations import (
    Activation,
    Growth,
    Kink,
    Line,
    activation,
    registered_activations,
    repu,
)
from jaxbarron.atlas import Embedding, embedding, embedding_constant, embeddings
from jaxbarron.bounds.constants import Constant, taylor_constant, variation_constant
from jaxbarron.bounds.networks.bound import DifferenceBound
from jaxbarron.bounds.sharp import SharpConstant, sharp_constant
from jaxbarron.bounds.witnesses import Witness, find_witness
from jaxbarron.certificates import (
    Certificate,
    ConstantCertificate,
    EmbeddingCertificate,
    ErrorBound,
    NonEmbeddingCertificate,
    SharpCertificate,
    Verification,
    constant_certificate,
    kernel_certificate,
    load,
    save,
    sharp_certificate,
    verify,
)
from jaxbarron.certify import certified_kernel
from jaxbarron.domains import Ball, Box
from jaxbarron.errors import JaxbarronError
from jaxbarron.kernels import (
    bspline_kernel,
    combination_kernel,
    convolution_kernel,
    difference_kernel,
    hierarchy_constant,
    hierarchy_kernel,
    kernel_as_activation,
    spectral_kernel,
    spectral_measure,
    spectral_measure_of_samples,
    spline_kernel,
    spline_limit,
    taylor_kernel,
)
from jaxbarron.measures import (
    ParticleMeasure,
    add,
    assert_finite,
    derivative,
    evaluate,
    push_forward,
    scale,
    unit_kernel,
)
from jaxbarron.norms import compact, merge, norm, prune, weight_values
from jaxbarron.switching import (
    Replacement,
    Site,
    end_to_end_bound,
    find_activations,
    opaque_parts,
    plan_switch,
    switch,
)

__version__ = _metadata.version("jaxbarron")

__all__ = [
    "Activation",
    "Ball",
    "Box",
    "Certificate",
    "Constant",
    "ConstantCertificate",
    "DifferenceBound",
    "Embedding",
    "EmbeddingCertificate",
    "ErrorBound",
    "Growth",
    "JaxbarronError",
    "Kink",
    "Line",
    "NonEmbeddingCertificate",
    "ParticleMeasure",
    "Replacement",
    "SharpCertificate",
    "SharpConstant",
    "Site",
    "Verification",
    "Witness",
    "activation",
    "add",
    "assert_finite",
    "bspline_kernel",
    "certified_kernel",
    "combination_kernel",
    "compact",
    "constant_certificate",
    "convolution_kernel",
    "derivative",
    "difference_kernel",
    "embedding",
    "embedding_constant",
    "embeddings",
    "end_to_end_bound",
    "evaluate",
    "find_activations",
    "find_witness",
    "hierarchy_constant",
    "hierarchy_kernel",
    "kernel_as_activation",
    "kernel_certificate",
    "load",
    "merge",
    "norm",
    "opaque_parts",
    "plan_switch",
    "prune",
    "push_forward",
    "registered_activations",
    "repu",
    "save",
    "scale",
    "sharp_certificate",
    "sharp_constant",
    "spectral_kernel",
    "spectral_measure",
    "spectral_measure_of_samples",
    "spline_kernel",
    "spline_limit",
    "switch",
    "taylor_constant",
    "taylor_kernel",
    "unit_kernel",
    "variation_constant",
    "verify",
    "weight_values",
]
