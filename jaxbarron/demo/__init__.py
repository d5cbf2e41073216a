"""Models to try the library on, trained here and now on data that needs no download."""

from jaxbarron.demo.digits import Digits, Model, digits, initial_model, train

__all__ = ["Digits", "Model", "digits", "initial_model", "train"]
