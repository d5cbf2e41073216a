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
from jaxbarron.bounds.edge_kernels import EdgeKernel
from jaxbarron.bounds.interval_norm import Bracket, interval_norm, norm_function
from jaxbarron.bounds.networks.arithmetic import Arithmetic, device_arithmetic
from jaxbarron.bounds.networks.bound import DifferenceBound
from jaxbarron.bounds.networks.classes import Classes
from jaxbarron.bounds.networks.floating import EvaluationError
from jaxbarron.bounds.norm_bracket import NormBracket, norm_bracket
from jaxbarron.bounds.norm_family import Norm, norm_family, norm_grid
from jaxbarron.bounds.parametrised_norm import parametrised_norm
from jaxbarron.bounds.sharp import SharpConstant, sharp_constant
from jaxbarron.bounds.witnesses import Witness, find_witness
from jaxbarron.certificates import (
    Certificate,
    ConstantCertificate,
    EmbeddingCertificate,
    ErrorBound,
    IntervalCertificate,
    NetworkCertificate,
    NonEmbeddingCertificate,
    Observed,
    SharpCertificate,
    Verification,
    constant_certificate,
    interval_certificate,
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
    observed_kernel,
    remove_particles,
    sharp_kernel,
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
from jaxbarron.report import (
    FineTune,
    KnotRemoval,
    ReportOptions,
    SwitchReport,
    Thresholds,
    remove_knots,
    switch_report,
)
from jaxbarron.switching import (
    Replacement,
    SharedTolerance,
    Site,
    end_to_end_bound,
    end_to_end_certificate,
    find_activations,
    float32_error,
    opaque_parts,
    plan_switch,
    share_tolerance,
    switch,
    verify_model,
)
from jaxbarron.tighten import (
    ConstantBracket,
    TightenResult,
    Transport,
    tighten,
    tighten_constant,
    transport,
)
from jaxbarron.trade_off import TradeOffPoint, trade_off_curve

__version__ = _metadata.version("jaxbarron")

__all__ = [
    "Activation",
    "Arithmetic",
    "Ball",
    "Box",
    "Bracket",
    "Certificate",
    "Classes",
    "Constant",
    "ConstantBracket",
    "ConstantCertificate",
    "DifferenceBound",
    "EdgeKernel",
    "Embedding",
    "EmbeddingCertificate",
    "ErrorBound",
    "EvaluationError",
    "FineTune",
    "Growth",
    "IntervalCertificate",
    "JaxbarronError",
    "Kink",
    "KnotRemoval",
    "Line",
    "NetworkCertificate",
    "NonEmbeddingCertificate",
    "Norm",
    "NormBracket",
    "Observed",
    "ParticleMeasure",
    "Replacement",
    "ReportOptions",
    "SharedTolerance",
    "SharpCertificate",
    "SharpConstant",
    "Site",
    "SwitchReport",
    "Thresholds",
    "TightenResult",
    "TradeOffPoint",
    "Transport",
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
    "device_arithmetic",
    "difference_kernel",
    "embedding",
    "embedding_constant",
    "embeddings",
    "end_to_end_bound",
    "end_to_end_certificate",
    "evaluate",
    "find_activations",
    "find_witness",
    "float32_error",
    "hierarchy_constant",
    "hierarchy_kernel",
    "interval_certificate",
    "interval_norm",
    "kernel_as_activation",
    "kernel_certificate",
    "load",
    "merge",
    "norm",
    "norm_bracket",
    "norm_family",
    "norm_function",
    "norm_grid",
    "observed_kernel",
    "opaque_parts",
    "parametrised_norm",
    "plan_switch",
    "prune",
    "push_forward",
    "registered_activations",
    "remove_knots",
    "remove_particles",
    "repu",
    "save",
    "scale",
    "share_tolerance",
    "sharp_certificate",
    "sharp_constant",
    "sharp_kernel",
    "spectral_kernel",
    "spectral_measure",
    "spectral_measure_of_samples",
    "spline_kernel",
    "spline_limit",
    "switch",
    "switch_report",
    "taylor_constant",
    "taylor_kernel",
    "tighten",
    "tighten_constant",
    "trade_off_curve",
    "transport",
    "unit_kernel",
    "variation_constant",
    "verify",
    "verify_model",
    "weight_values",
]
