# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Building of H contexts from the frames of any number of cameras.

>>> builder = ContextBuilder(LatentSpace.of(model.id, model.latent_mean, model.latent_std))
>>> builder.add_frame('cam0', stamp_s, (640, 480), lcts)  # for each frame of each camera
>>> context = builder.build()
>>> context.segment('sensory'), context.mask  # float32 [1536], bool [4096]
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import NamedTuple

import numpy as np

from sage_perception.context.context import HContext
from sage_perception.context.layout import (
    LATENT_DIM,
    MAX_CAMERAS,
    MAX_ITEMS,
    MAX_RECALLS,
    MAX_SLOTS,
    ContextError,
)
from sage_perception.context.space import LatentSpace
from sage_perception.context.tracks import CameraView, RankedTrack
from sage_perception.context.writer import ContextWriter
from sage_perception.core.latent import Latent
from sage_perception.core.lct import LCT
from sage_perception.memory.snarc import Snarc

MAX_LEAD_S = 0.5
"""Time by which the stamp of a frame may be ahead of the clock, seconds."""
MAX_PAIRS = 4096
"""Matched LCTs that are kept."""


class AgreementPair(NamedTuple):
    """Ids of two matched LCTs of two cameras and their similarity in [-1, 1].

    `log_ratio` is the log-likelihood ratio that they show one thing, NaN if it is not fitted.
    """

    lct_a: bytes
    lct_b: bytes
    similarity: float
    log_ratio: float = math.nan


class ContextBuilder:
    """Collects the observations of the last `window_s` seconds and builds contexts of them.

    `cameras` take the first slots in their order and keep them; the first one is the primary
    camera. Other cameras take the next free slot with their first frame, up to 8 in total. If no
    slot is left, they replace the one of them that has been silent for longest, if it has no frame
    in the window. A camera is masked while it has no frame in the window. A camera whose stamps
    go back starts over. All times are those of the stamps, in seconds.

    Raises `ContextError` if `window_s` is not positive and finite.
    """

    def __init__(self, space: LatentSpace, cameras: Sequence[str] = (), window_s: float = 2.0):
        if not (math.isfinite(window_s) and window_s > 0):
            raise ContextError(f'window_s is {window_s}; it must be a positive number of seconds')
        self.space, self.window_s = space, window_s
        self._slots: dict[str, int] = {}
        self._views: dict[str, CameraView] = {}
        self._agreement: dict[bytes, float] = {}
        self._pairs: deque[tuple[float, AgreementPair]] = deque()
        self._recall: np.ndarray = np.empty((0, LATENT_DIM), np.float32)
        self._slot_latents: np.ndarray = np.empty((0, LATENT_DIM), np.float32)
        self._budget: float | None = None
        self._first_s: float | None = None
        for camera in cameras:
            self._require_slot(camera, 0.0)
        self._configured = frozenset(self._slots)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Return the names of the cameras in the order of their slots."""
        return tuple(self._slots)

    def add_frame(
        self,
        camera: str,
        stamp_s: float,
        size: tuple[int, int],
        lcts: Sequence[LCT],
        now_s: float = math.inf,
    ) -> None:
        """Add a frame of a camera: its stamp, width and height in pixels, and LCTs, best first.

        Raises `ContextError` for latents of another space, for values that are not finite, and for
        a stamp more than `MAX_LEAD_S` after the present time `now_s`, whose frame would move those
        of all other cameras out of the window; the frame is not added then.
        """
        if not math.isfinite(stamp_s):
            raise ContextError(f'the stamp of a frame of {camera} is {stamp_s}')
        if stamp_s > now_s + MAX_LEAD_S:
            raise ContextError(
                f'a frame of {camera} is {stamp_s - now_s:.1f} s ahead of the clock of this node: '
                'synchronize the clocks of the machines'
            )
        if min(size) < 1:
            if lcts:
                raise ContextError(f'a frame of {camera} is {size[0]}x{size[1]} pixels')
            return
        for lct in lcts:
            self.space.require(lct.latent)
        view = self._require_slot(camera, stamp_s)
        if view.frames and stamp_s < view.frames[-1]:
            view = self._views[camera] = CameraView()
        if self._first_s is None or stamp_s < self._first_s:
            self._first_s = stamp_s
        view.add(stamp_s, size, lcts)
        view.drop_before(stamp_s - self.window_s)

    def add_agreement(self, stamp_s: float, pairs: Sequence[AgreementPair]) -> None:
        """Add the matched LCTs of two cameras at one moment, as found by the arbiter."""
        for pair in pairs:
            if math.isfinite(pair.similarity):
                self._pairs.append((stamp_s, pair))
                self._agreement[pair.lct_a] = self._agreement[pair.lct_b] = pair.similarity
        # The number is limited because stamps may repeat or go back.
        while self._pairs and (
            self._pairs[0][0] < stamp_s - self.window_s or len(self._pairs) > MAX_PAIRS
        ):
            _, old = self._pairs.popleft()
            for lct_id in (old.lct_a, old.lct_b):
                self._agreement.pop(lct_id, None)

    def add_scores(self, camera: str, stamp_s: float, scores: Mapping[int, Snarc]) -> None:
        """Add the SNARC scores of a frame of a camera, by track id.

        A score is valid until the next one of its track, at most for the window. Scores of tracks
        that are not in view are ignored. Raises `ContextError` for one that is not in [0, 1].
        """
        for snarc in scores.values():
            if not all(0 <= part <= 1 for part in astuple(snarc)):
                raise ContextError(f'{snarc} of a track of {camera} is not in [0, 1]')
        tracks = self._views[camera].tracks if camera in self._views else {}
        for key in tracks.keys() & scores.keys():
            tracks[key].snarc, tracks[key].scored_s = scores[key], stamp_s

    def set_recall(self, latents: Sequence[Latent]) -> None:
        """Replace the latents that memory recalls, best first."""
        self._recall = self.space.stack(latents, MAX_RECALLS)

    def set_slots(self, latents: Sequence[Latent], space: LatentSpace | None = None) -> None:
        """Replace the object slots, latents of `space`; None: of that of all other latents.

        Raises `ContextError` for latents of another space, and for values that are not finite.
        """
        self._slot_latents = (space or self.space).stack(latents, MAX_SLOTS)

    def set_budget(self, share: float | None) -> None:
        """Set the remaining share of the attention budget (ATP) in [0, 1]; None: unknown."""
        if share is not None and not 0 <= share <= 1:
            raise ContextError(f'the remaining budget is {share}; it must be in [0, 1]')
        self._budget = share

    def build(self, now_s: float | None = None) -> HContext:
        """Return the context at `now_s`, or at the newest frame if that is later.

        Observations before the window are left out.
        """
        newest = max(
            (view.frames[-1] for view in self._views.values() if view.frames), default=0.0
        )
        now_s = newest if now_s is None else max(now_s, newest)
        online = {
            camera: view
            for camera, view in self._views.items()
            if view.frames and now_s - view.frames[-1] <= self.window_s
        }
        ranked = self._ranked(online, now_s)
        items = ranked[:MAX_ITEMS]
        writer = ContextWriter(now_s, self.window_s, self._agreement)
        for row, item in enumerate(items):
            latent = self.space.normalize(item.track.newest.latent.mean)
            writer.write_latent('sensory.latents', row, latent)
            writer.write_item(row, item)
        for camera, view in online.items():
            own = [item for item in ranked if item.camera == camera]
            writer.write_camera(self._slots[camera], view, own)
        for block, latents in (('recall', self._recall), ('slots', self._slot_latents)):
            for row, latent in enumerate(latents):
                writer.write_latent(f'semantic.{block}', row, latent)
        writer.write_time(self._first_s)
        writer.write_scene(items, len(online), len(self._recall), self._budget)
        return HContext(
            writer.values,
            writer.mask,
            now_s,
            self.cameras,
            tuple((item.camera, item.key) for item in items),
            tuple(item.track.newest.id for item in items),
        )

    def newest_lct(self, key: tuple[str, int]) -> LCT:
        """Return the newest LCT of an item by its key; raises `KeyError` if it is not in view."""
        camera, track = key
        return self._views[camera].tracks[track].newest

    def _require_slot(self, camera: str, stamp_s: float) -> CameraView:
        """Return the view of a camera; a new camera takes a free slot, or that of a silent one."""
        if camera not in self._slots:
            slot = len(self._slots)
            if slot == MAX_CAMERAS:
                slot = self._free_slot(camera, stamp_s)
            self._slots[camera] = slot
            self._slots = dict(sorted(self._slots.items(), key=lambda item: item[1]))
            self._views[camera] = CameraView()
        return self._views[camera]

    def _free_slot(self, camera: str, stamp_s: float) -> int:
        """Remove the camera that has been silent for longest, and return its slot."""
        newest = {
            other: view.frames[-1] if view.frames else -math.inf
            for other, view in self._views.items()
            if other not in self._configured
        }
        oldest = min(newest, key=lambda other: newest[other], default='')
        if not oldest or newest[oldest] >= stamp_s - self.window_s:
            raise ContextError(
                f'no slot is left for {camera}: a context has {MAX_CAMERAS}, '
                f'in use by {", ".join(self._slots)}'
            )
        del self._views[oldest]
        return self._slots.pop(oldest)

    def _ranked(self, online: Mapping[str, CameraView], now_s: float) -> list[RankedTrack]:
        """Return all tracks in view, most salient first."""
        found = []
        for camera, view in online.items():
            view.drop_before(now_s - self.window_s)
            for key, track in view.tracks.items():
                salience = track.salience(len(view.frames))
                found.append(RankedTrack(salience, camera, self._slots[camera], key, view, track))
        return sorted(found, key=lambda item: (-item.salience, item.slot, item.key))
