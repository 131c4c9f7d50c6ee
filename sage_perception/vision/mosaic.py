# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Draw the state of the whole graph into one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from sage_perception.core.latent import Roi
from sage_perception.core.track_ids import short_label

FRAME_HEIGHT = 360
"""Height of a camera's frame in the mosaic, pixels."""
TILE = 72
"""Side of a crop or reconstruction in the mosaic, pixels."""
TILES = 8
"""Maximum number of tiles per camera."""
GAP, BAR = 6, 22
BACKGROUND, FOREGROUND, DIM = 24, (225, 225, 225), (150, 150, 150)
AGREE, DIFFER = (90, 200, 90), (235, 150, 60)


@dataclass(frozen=True, eq=False)
class Tile:
    """A crop and the reconstruction from its latent, uint8 RGB or gray; `trust` in [0, 1].

    `id` identifies the LCT of the latent; empty if there is none. `label` is a noun for the
    object.
    """

    roi: Roi | None
    track_id: int
    crop: np.ndarray
    reconstruction: np.ndarray | None = None
    trust: float | None = None
    id: bytes = b''
    label: str = ''


@dataclass(frozen=True, eq=False)
class CameraView:
    """A camera's name, a frame (uint8 RGB, None before the first one) and its tiles.

    `stamp_ns` is the stamp of the frame, nanoseconds, which the mosaic shows; None: none.
    """

    name: str
    frame: np.ndarray | None
    tiles: Sequence[Tile] = field(default_factory=tuple)
    stamp_ns: int | None = None


@dataclass(frozen=True, eq=False)
class PairView:
    """Two matched tiles of two cameras and their similarity; `high` means agreement."""

    a: Tile
    b: Tile
    similarity: float
    high: bool


def track_color(track_id: int) -> tuple[int, int, int]:
    """Return the color (RGB) of a track; successive ids have clearly different colors."""
    hue = np.array([[[(track_id * 67) % 180, 170, 255]]], np.uint8)
    red, green, blue = (int(v) for v in cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0])
    return red, green, blue


def annotate(frame: np.ndarray, tiles: Sequence[Tile]) -> np.ndarray:
    """Return a copy of `frame` (uint8 RGB) with the regions and track ids of `tiles`."""
    image = frame.copy()
    for tile in tiles:
        if tile.roi is None:
            continue
        color = track_color(tile.track_id)
        corner = _clip(image, tile.roi.x, tile.roi.y)
        opposite = _clip(image, tile.roi.x + tile.roi.width - 1, tile.roi.y + tile.roi.height - 1)
        cv2.rectangle(image, corner, opposite, color, 2)
        text = f'{short_label(tile.track_id)} {tile.label}'.rstrip()
        _text(image, text, corner[0] + 3, max(corner[1] - 4, 12), color, 0.5, 2)
    return image


def mosaic(cameras: Sequence[CameraView], pairs: Sequence[PairView] = ()) -> np.ndarray:
    """Return the mosaic, uint8 RGB `[H, W, 3]`; its size depends only on the number of cameras.

    Each camera has a row: its frame with regions, its crops, and the reconstruction below each
    crop. With two cameras or more a last row holds the matched pairs.
    """
    rows = [_camera_row(camera) for camera in cameras]
    if len(cameras) > 1:
        rows.append(_pair_row(pairs, rows[0].shape[1]))
    return np.vstack(rows)


def _camera_row(camera: CameraView) -> np.ndarray:
    width = FRAME_HEIGHT * 4 // 3
    per_line = TILES // 2
    line = 2 * TILE + GAP + 16
    row = _blank(BAR + FRAME_HEIGHT + GAP, width + (per_line + 1) * GAP + per_line * TILE)
    label = camera.name
    if camera.stamp_ns is not None:
        label += f'  {camera.stamp_ns // 1_000_000_000}.{camera.stamp_ns // 1_000_000 % 1000:03} s'
    _text(row, label, GAP, BAR - 6, FOREGROUND, 0.5)
    _text(row, 'crop / decoded from its latent', width + GAP, BAR - 6, DIM, 0.42)
    if camera.frame is None:
        _text(row, 'no frame yet', GAP * 2, BAR + 30, DIFFER, 0.6)
    else:
        frame = annotate(camera.frame, camera.tiles)
        scale = min(width / frame.shape[1], FRAME_HEIGHT / frame.shape[0])
        size = (max(round(frame.shape[1] * scale), 1), max(round(frame.shape[0] * scale), 1))
        # Averaging avoids aliasing if the frame shrinks by 2 or more; otherwise it is only slower.
        interpolation = cv2.INTER_AREA if scale <= 0.5 else cv2.INTER_LINEAR
        row[BAR : BAR + size[1], : size[0]] = cv2.resize(frame, size, interpolation=interpolation)
    for i, tile in enumerate(camera.tiles[:TILES]):
        x = width + GAP + (i % per_line) * (TILE + GAP)
        y = BAR + (i // per_line) * (line + GAP)
        _paste(row, tile.crop, x, y)
        if tile.reconstruction is not None:
            _paste(row, tile.reconstruction, x, y + TILE + 2)
        cv2.rectangle(row, (x, y), (x + TILE - 1, y + TILE - 1), track_color(tile.track_id), 1)
        name = short_label(tile.track_id)
        label = name if tile.trust is None else f'{name}  t {tile.trust:.2f}'
        _text(row, label, x, y + 2 * TILE + 15, DIM, 0.36)
    return row


def _pair_row(pairs: Sequence[PairView], width: int) -> np.ndarray:
    row = _blank(BAR + TILE + 24, width)
    _text(row, 'matched across cameras', GAP, BAR - 6, FOREGROUND, 0.5)
    step = 2 * TILE + 3 * GAP
    for i, pair in enumerate(pairs[: (width - GAP) // step]):
        x = GAP + i * step
        color = AGREE if pair.high else DIFFER
        _paste(row, pair.a.crop, x, BAR)
        _paste(row, pair.b.crop, x + TILE + 2, BAR)
        cv2.rectangle(row, (x - 2, BAR - 2), (x + 2 * TILE + 3, BAR + TILE + 1), color, 2)
        word = 'HIGH' if pair.high else 'LOW'
        tracks = '='.join(short_label(each.track_id) for each in (pair.a, pair.b))
        text = f'{tracks}  {pair.similarity:+.2f} {word}'
        _text(row, text, x, BAR + TILE + 16, color, 0.4)
    return row


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), BACKGROUND, np.uint8)


def _clip(image: np.ndarray, x: int, y: int) -> tuple[int, int]:
    """Return the pixel of `image` nearest to (x, y)."""
    height, width = image.shape[:2]
    return min(max(x, 0), width - 1), min(max(y, 0), height - 1)


def _paste(image: np.ndarray, tile: np.ndarray, x: int, y: int) -> None:
    """Draw `tile`, scaled to `TILE` pixels, with its top left corner at (x, y)."""
    if tile.ndim == 2:
        tile = cv2.cvtColor(tile, cv2.COLOR_GRAY2RGB)
    image[y : y + TILE, x : x + TILE] = cv2.resize(
        tile, (TILE, TILE), interpolation=cv2.INTER_LINEAR
    )


def _text(
    image: np.ndarray,
    text: str,
    x: float,
    y: float,
    color: tuple[int, int, int],
    scale: float,
    thickness: int = 1,
) -> None:
    face = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(image, text, (int(x), int(y)), face, scale, color, thickness, cv2.LINE_AA)
