"""Classifies images with an exported digit model; needs NumPy, Pillow and one engine."""

from runtime.classifier import Classifier, Prediction
from runtime.errors import (
    ArtefactError,
    BackendUnavailable,
    DatasetError,
    EdgeError,
    ImageError,
    ParityError,
)

__all__ = [
    "ArtefactError",
    "BackendUnavailable",
    "Classifier",
    "DatasetError",
    "EdgeError",
    "ImageError",
    "ParityError",
    "Prediction",
]
