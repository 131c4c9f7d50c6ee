# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""One image of what the whole graph sees, keeps, and agrees on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from sage_perception.core.latent import Roi

FRAME_HEIGHT = 360
TILE = 72
TILES = 8
GAP = 6
BAR = 22
GROUND = 24
INK = (225, 225, 225)
DIM = (150, 150, 150)
AGREE = (90, 200, 90)
DIFFER = (235, 150, 60)


@dataclass(frozen=True, eq=False)
class Tile:
    """A crop and what its latent decodes to, uint8 RGB; `trust` in [0, 1]."""

    roi: Roi | None
    track_id: int
    crop: np.ndarray
    reconstruction: np.ndarray | None = None
    trust: float | None = None


@dataclass(frozen=True, eq=False)
class CameraView:
    """A camera's name, newest frame (uint8 RGB, None before the first one) and its tiles."""

    name: str
    frame: np.ndarray | None
    tiles: Sequence[Tile] = field(default_factory=tuple)


@dataclass(frozen=True, eq=False)
class PairView:
    """Two matched tiles of two cameras, their similarity, and whether that is agreement."""

    a: Tile
    b: Tile
    similarity: float
    high: bool


def track_color(track_id: int) -> tuple[int, int, int]:
    """Return a color (RGB) that is the same for the same track, and unlike its neighbors'."""
    hue = np.uint8([[[(track_id * 67) % 180, 170, 255]]])
    return tuple(int(v) for v in cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0])


def annotate(frame: np.ndarray, tiles: Sequence[Tile]) -> np.ndarray:
    """Return `frame` (uint8 RGB) with the regions of `tiles` and their track ids drawn in."""
    picture = frame.copy()
    for tile in tiles:
        if tile.roi is None:
            continue
        color = track_color(tile.track_id)
        corner = _inside(picture, tile.roi.x, tile.roi.y)
        opposite = _inside(
            picture, tile.roi.x + tile.roi.width - 1, tile.roi.y + tile.roi.height - 1
        )
        cv2.rectangle(picture, corner, opposite, color, 2)
        _text(picture, f'{tile.track_id}', corner[0] + 3, max(corner[1] - 4, 12), color, 0.5, 2)
    return picture


def mosaic(cameras: Sequence[CameraView], pairs: Sequence[PairView] = ()) -> np.ndarray:
    """Return the image, uint8 RGB `[H, W, 3]`; its size depends on the number of cameras only.

    A row for each camera: its frame with regions, its crops, and under each what its latent
    decodes to. With two cameras or more a last row holds the matched pairs.
    """
    rows = [_camera_row(camera) for camera in cameras]
    if len(cameras) > 1:
        rows.append(_pair_row(pairs, rows[0].shape[1]))
    return np.vstack(rows)


def _camera_row(camera: CameraView) -> np.ndarray:
    width = FRAME_HEIGHT * 4 // 3
    per_line = TILES // 2
    line = 2 * TILE + GAP + 16
    row = _ground(BAR + FRAME_HEIGHT + GAP, width + (per_line + 1) * GAP + per_line * TILE)
    _text(row, camera.name, GAP, BAR - 6, INK, 0.5)
    _text(row, 'crop / decoded from its latent', width + GAP, BAR - 6, DIM, 0.42)
    if camera.frame is None:
        _text(row, 'no frame yet', GAP * 2, BAR + 30, DIFFER, 0.6)
    else:
        picture = annotate(camera.frame, camera.tiles)
        scale = min(width / picture.shape[1], FRAME_HEIGHT / picture.shape[0])
        size = (max(round(picture.shape[1] * scale), 1), max(round(picture.shape[0] * scale), 1))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        row[BAR : BAR + size[1], : size[0]] = picture
    for i, tile in enumerate(camera.tiles[:TILES]):
        x = width + GAP + (i % per_line) * (TILE + GAP)
        y = BAR + (i // per_line) * (line + GAP)
        _put(row, tile.crop, x, y)
        if tile.reconstruction is not None:
            _put(row, tile.reconstruction, x, y + TILE + 2)
        cv2.rectangle(row, (x, y), (x + TILE - 1, y + TILE - 1), track_color(tile.track_id), 1)
        label = (
            f'{tile.track_id}' if tile.trust is None else f'{tile.track_id}  t {tile.trust:.2f}'
        )
        _text(row, label, x, y + 2 * TILE + 15, DIM, 0.36)
    return row


def _pair_row(pairs: Sequence[PairView], width: int) -> np.ndarray:
    row = _ground(BAR + TILE + 24, width)
    _text(row, 'matched across cameras', GAP, BAR - 6, INK, 0.5)
    step = 2 * TILE + 3 * GAP
    for i, pair in enumerate(pairs[: (width - GAP) // step]):
        x = GAP + i * step
        color = AGREE if pair.high else DIFFER
        _put(row, pair.a.crop, x, BAR)
        _put(row, pair.b.crop, x + TILE + 2, BAR)
        cv2.rectangle(row, (x - 2, BAR - 2), (x + 2 * TILE + 3, BAR + TILE + 1), color, 2)
        word = 'HIGH' if pair.high else 'LOW'
        text = f'{pair.a.track_id}={pair.b.track_id}  {pair.similarity:+.2f} {word}'
        _text(row, text, x, BAR + TILE + 16, color, 0.4)
    return row


def _ground(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GROUND, np.uint8)


def _inside(picture: np.ndarray, x: int, y: int) -> tuple[int, int]:
    height, width = picture.shape[:2]
    return min(max(x, 0), width - 1), min(max(y, 0), height - 1)


def _put(picture: np.ndarray, tile: np.ndarray, x: int, y: int) -> None:
    if tile.ndim == 2:
        tile = cv2.cvtColor(tile, cv2.COLOR_GRAY2RGB)
    picture[y : y + TILE, x : x + TILE] = cv2.resize(
        tile, (TILE, TILE), interpolation=cv2.INTER_LINEAR
    )


def _text(picture, text, x, y, color, scale, thickness=1) -> None:
    face = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, text, (int(x), int(y)), face, scale, color, thickness, cv2.LINE_AA)
