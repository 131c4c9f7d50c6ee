# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The items of a scene. Each has the path of its entity, such as `('cam0', 'regions')`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from sage_perception.core.latent import Roi

Path: TypeAlias = tuple[str, ...]
Color: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class ImageItem:
    """An image, uint8 RGB `[H, W, 3]`."""

    path: Path
    image: np.ndarray


@dataclass(frozen=True, eq=False)
class Boxes:
    """Regions of an image with labels and colors (RGB); none clears the earlier ones."""

    path: Path
    rois: Sequence[Roi]
    labels: Sequence[str]
    colors: Sequence[Color]


@dataclass(frozen=True)
class Scalar:
    """A value of a curve."""

    path: Path
    value: float


@dataclass(frozen=True)
class Text:
    """A line of a log; `level` is INFO, WARN or ERROR."""

    path: Path
    text: str
    level: str = 'INFO'


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Values `[N, D]`, one row for each of N latents."""

    path: Path
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Points:
    """Points `[N, 2]` with labels and colors (RGB)."""

    path: Path
    points: np.ndarray
    labels: Sequence[str]
    colors: Sequence[Color]


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes with colors (RGB), and the pairs of nodes that are connected."""

    path: Path
    nodes: Sequence[str]
    colors: Sequence[Color]
    edges: Sequence[tuple[str, str]]


Item: TypeAlias = ImageItem | Boxes | Scalar | Text | HeatMap | Points | Graph


class Timed(NamedTuple):
    """An item at the header stamp of its message."""

    stamp_ns: int
    item: Item
