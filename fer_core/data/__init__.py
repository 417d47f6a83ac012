"""Faces in memory, and how they get there. Imports neither torch nor streamlit."""

from fer_core.data.dataset import SPLITS, FaceDataset
from fer_core.data.describe import describe
from fer_core.data.load import LoadOptions, demo_faces, load_dataset
from fer_core.data.locate import locate_data, open_data
from fer_core.data.splits import split_validation
from fer_core.data.summary import LoadSummary

__all__ = [
    "SPLITS",
    "FaceDataset",
    "LoadOptions",
    "LoadSummary",
    "demo_faces",
    "describe",
    "load_dataset",
    "locate_data",
    "open_data",
    "split_validation",
]
