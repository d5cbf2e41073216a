"""The atlas: which activation embeds in which Barron space, at what constant, by what proof."""

from jaxbarron.atlas.approximations import Approximation, best_approximations
from jaxbarron.atlas.document import atlas_document, pair_document
from jaxbarron.atlas.graph import Embedding, embedding, embedding_constant, embeddings
from jaxbarron.atlas.page import atlas_page

__all__ = [
    "Approximation",
    "Embedding",
    "atlas_document",
    "atlas_page",
    "best_approximations",
    "embedding",
    "embedding_constant",
    "embeddings",
    "pair_document",
]
