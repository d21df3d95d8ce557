"""The images of a run: data sets by name and by folder, how they are split, and how they come batch by batch."""

from f2at.training.data.augmentation import augment, draw_crops
from f2at.training.data.sets import (
    DataError,
    Dataset,
    ImageSet,
    channel_statistics,
    draw_images,
    hold_out,
    split_validation,
)
from f2at.training.data.sources import DATASETS, load_dataset

__all__ = [
    "DATASETS",
    "DataError",
    "Dataset",
    "ImageSet",
    "augment",
    "channel_statistics",
    "draw_crops",
    "draw_images",
    "hold_out",
    "load_dataset",
    "split_validation",
]
