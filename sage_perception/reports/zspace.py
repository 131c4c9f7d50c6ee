# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Draws the maps of cameras, and the weights of cues and cameras over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sage_perception.core.thinning import Thinned
from sage_perception.pipeline.camera_maps import FusedMaps
from sage_perception.pipeline.cue_volume import CUES
from sage_perception.reports.figures import write_figure
from sage_perception.zspace import find_peaks

COLUMNS = 4
"""Number of moments whose frames are drawn."""
MAX_KEPT = 64
"""Maximum number of moments whose frames are in memory."""
THUMBNAIL = (320, 240)
"""Size of a drawn frame, pixels."""


class _Drawn(NamedTuple):
    """What is kept of a moment for the drawing."""

    stamp_s: float
    cue_weights: np.ndarray
    raw: np.ndarray
    weights: np.ndarray
    disagreement: float


def draw_maps(moments: Iterable[FusedMaps], names: Sequence[str], path: Path) -> int:
    """Write a figure of the maps of cameras over time; return the number of moments.

    The rows are the frames of each camera and of the fused map at `COLUMNS` times, the weights of
    the cues of the first camera, and, for several cameras, their weights with the disagreement of
    their maps. Raises `ValueError` if there is no moment, and `OSError`.
    """
    drawn: list[_Drawn] = []
    frames = Thinned[list[np.ndarray]](MAX_KEPT)
    for moment in moments:
        drawn.append(_reduced(moment))
        frames.add(partial(_frames, moment))
    if not drawn:
        raise ValueError(f'{", ".join(names)}: no frame to draw')
    several = len(names) > 1
    rows = len(names) + several
    figure = Figure(figsize=(12, 2.4 * rows + 2.4 * (1 + several)), layout='constrained')
    grid = figure.add_gridspec(rows + 1 + several, COLUMNS)
    for column, (index, images) in enumerate(frames.chosen(COLUMNS)):
        for row, frame in enumerate(images):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(frame)
            axes.set(xticks=[], yticks=[])
            if column == 0:
                axes.set_ylabel(names[row] if row < len(names) else 'fused')
            if row == 0:
                axes.set_title(f'{drawn[index].stamp_s:.1f} s', fontsize=9)
    stamps = [each.stamp_s for each in drawn]
    axes = figure.add_subplot(grid[rows, :])
    _plot(axes, stamps, np.array([m.cue_weights for m in drawn]), CUES, f'cues of {names[0]}')
    if several:
        axes = figure.add_subplot(grid[rows + 1, :])
        raw = np.array([m.raw for m in drawn])
        for index in range(len(names)):
            axes.plot(stamps, raw[:, index], ':', color=f'C{index}', linewidth=1)
        _plot(axes, stamps, np.array([m.weights for m in drawn]), names, 'weights of cameras')
        disagreement = [m.disagreement for m in drawn]
        axes.plot(stamps, disagreement, color='0.6', linewidth=1, label='disagreement')
        axes.legend(loc='upper right', fontsize=8, ncols=len(names) + 1)
    axes.set_xlabel('time, s')
    write_figure(figure, path, dpi=110)
    return len(drawn)


def _plot(
    axes: Axes, stamps: Sequence[float], values: np.ndarray, names: Sequence[str], title: str
) -> None:
    for index, name in enumerate(names):
        axes.plot(stamps, values[:, index], color=f'C{index}', label=name)
    axes.set(ylim=(0, 1.02), ylabel=title)
    axes.legend(loc='upper right', fontsize=8, ncols=len(names))


def _reduced(moment: FusedMaps) -> _Drawn:
    return _Drawn(
        moment.stamp_s, moment.cues[0].weights, moment.raw, moment.weights, moment.disagreement
    )


def _frames(moment: FusedMaps) -> list[np.ndarray]:
    """Return the drawn frames of the cameras, and that of the fused map if there are several."""
    frames = [
        _overlay(image, cue.projection)
        for image, cue in zip(moment.images, moment.cues, strict=True)
    ]
    if len(frames) > 1:
        weighted = sum(
            w * cv2.resize(i, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
            for w, i in zip(moment.weights, moment.images, strict=True)
        )
        frames.append(_overlay(np.asarray(weighted, np.float32).astype(np.uint8), moment.fused))
    return frames


def _overlay(image: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """Return a frame as RGB, tinted by a map `[h, w]`, with a box around each of its peaks."""
    small = cv2.cvtColor(
        cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB
    )
    scaled = saliency / max(float(saliency.max()), 1e-9)
    heat = cv2.resize(scaled.astype(np.float32), THUMBNAIL)[..., None]
    tinted = (small * (1 - 0.5 * heat) + np.array([255, 60, 0]) * 0.5 * heat).astype(np.uint8)
    horizontal, vertical = (
        size / cells for size, cells in zip(THUMBNAIL, saliency.shape[::-1], strict=True)
    )
    for peak in find_peaks(scaled, 3, min_value=0.4):
        left, top, right, bottom = peak.box
        corners = [
            (round(x * horizontal), round(y * vertical)) for x, y in ((left, top), (right, bottom))
        ]
        cv2.rectangle(tinted, corners[0], corners[1], (255, 255, 0), 2)
    return tinted
