"""Certificates: a claim, its level, and the exact numbers that a machine needs to check it again.

A certificate holds what it is about bit by bit.  :func:`verify` re-derives the claim from these
numbers by ball arithmetic alone; it shares no code with the optimiser that found them.
"""

from jaxbarron.certificates.constant import ConstantCertificate, constant_certificate
from jaxbarron.certificates.embedding import EmbeddingCertificate
from jaxbarron.certificates.files import FORMAT, VERSION, Level, Verification, write_atomically
from jaxbarron.certificates.interval import (
    IntervalCertificate,
    certificate_of_bracket,
    interval_certificate,
)
from jaxbarron.certificates.kernel import Certificate, ErrorBound, kernel_certificate
from jaxbarron.certificates.network import NetworkCertificate, Observed, network_certificate
from jaxbarron.certificates.non_embedding import NonEmbeddingCertificate
from jaxbarron.certificates.sharp import SharpCertificate, sharp_certificate
from jaxbarron.certificates.store import AnyCertificate, load, save, to_document, verify
from jaxbarron.certificates.weighted import WeightCertificate, weight_certificate

__all__ = [
    "FORMAT",
    "VERSION",
    "AnyCertificate",
    "Certificate",
    "ConstantCertificate",
    "EmbeddingCertificate",
    "ErrorBound",
    "IntervalCertificate",
    "Level",
    "NetworkCertificate",
    "NonEmbeddingCertificate",
    "Observed",
    "SharpCertificate",
    "Verification",
    "WeightCertificate",
    "certificate_of_bracket",
    "constant_certificate",
    "interval_certificate",
    "kernel_certificate",
    "load",
    "network_certificate",
    "save",
    "sharp_certificate",
    "to_document",
    "verify",
    "weight_certificate",
    "write_atomically",
]
