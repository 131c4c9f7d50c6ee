# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""H contexts and the items that are read back from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sage_perception.context.layout import (
    BLOCKS,
    DIM,
    ITEM_LOGICAL,
    ITEM_PHYSICAL,
    LAYOUT,
    MAX_ITEMS,
    SEGMENTS,
    ContextError,
    find,
)


@dataclass(frozen=True, eq=False)
class Item:
    """One track of one camera, as read from a context; None where the context is masked.

    `center` is in half frames from the center of the frame, x to the right and y down, in
    [−1, 1]. `size` is a share of the width and height of the frame. `velocity` is in half frames
    per second. `camera` is the slot of the camera. `latent` `[64]` is in the unit of the context.
    """

    camera: int
    latent: np.ndarray
    center: tuple[float, float]
    size: tuple[float, float]
    velocity: tuple[float, float] | None
    age_s: float
    salience: float
    trust: float
    agreement: float | None


@dataclass(frozen=True, eq=False)
class HContext:
    """A context.

    Attributes
    ----------
    values, mask : np.ndarray
        float32 and bool `[4096]`; values are 0 where the mask is False.
    stamp_s : float
        Time of the context, seconds on the clock of the frames.
    cameras : tuple of str
        Names of the camera slots in use.
    keys : tuple of (str, int)
        Camera and track id of each item.
    lct_ids : tuple of bytes
        Id of the newest LCT of each item.
    layout : int
        Version of the layout.

    Raises `ContextError` for another layout or shape.

    """

    values: np.ndarray
    mask: np.ndarray
    stamp_s: float
    cameras: tuple[str, ...] = ()
    keys: tuple[tuple[str, int], ...] = ()
    lct_ids: tuple[bytes, ...] = ()
    layout: int = LAYOUT

    def __post_init__(self) -> None:
        if self.layout != LAYOUT:
            raise ContextError(
                f'the context has layout {self.layout}, this version reads layout {LAYOUT}'
            )
        if self.values.shape != (DIM,) or self.mask.shape != (DIM,):
            raise ContextError(
                f'values and mask of a context have shape [{DIM}], not '
                f'{list(self.values.shape)} and {list(self.mask.shape)}'
            )

    def segment(self, name: str) -> np.ndarray:
        """Return the values of 'sensory', 'semantic', 'physical' or 'logical' as a view."""
        return self.values[find(SEGMENTS, name)]

    def segment_mask(self, name: str) -> np.ndarray:
        """Return the mask of a segment as a view."""
        return self.mask[find(SEGMENTS, name)]

    def rows(self, block: str) -> tuple[np.ndarray, np.ndarray]:
        """Return views of values and mask `[count, fields]` of a block, e.g. 'physical.items'."""
        found = find(BLOCKS, block)
        return found.rows(self.values), found.rows(self.mask)

    @property
    def items(self) -> list[Item]:
        """Return the items in view, most salient first."""
        return read_items(self.values, self.mask)


def read_items(values: np.ndarray, mask: np.ndarray) -> list[Item]:
    """Return the items of a context `[4096]` or of its reconstruction."""
    latents = BLOCKS['sensory.latents'].rows(values)
    physical, known = BLOCKS['physical.items'].rows(values), BLOCKS['physical.items'].rows(mask)
    logical, judged = BLOCKS['logical.items'].rows(values), BLOCKS['logical.items'].rows(mask)
    at = {name: i for i, name in enumerate(ITEM_PHYSICAL)}
    of = {name: i for i, name in enumerate(ITEM_LOGICAL)}
    items = []
    for row in range(MAX_ITEMS):
        if not known[row, at['x']]:
            continue
        place, state = physical[row], logical[row]
        velocity, agreement = None, None
        if known[row, at['velocity_x']]:
            velocity = float(place[at['velocity_x']]), float(place[at['velocity_y']])
        if judged[row, of['agreement']]:
            agreement = float(state[of['agreement']])
        items.append(
            Item(
                camera=int(np.argmax(place[at['camera_0'] :])),
                latent=latents[row],
                center=(float(place[at['x']]), float(place[at['y']])),
                size=(float(place[at['width']]), float(place[at['height']])),
                velocity=velocity,
                age_s=float(place[at['age']]),
                salience=float(state[of['salience']]),
                trust=float(state[of['trust']]),
                agreement=agreement,
            )
        )
    return items
