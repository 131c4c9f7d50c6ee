# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Frames, crops and reconstructions around given times of a replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from sage_perception.codecs.latent_decoder import LatentDecoder
from sage_perception.core.latent import Roi
from sage_perception.core.lct import LCT
from sage_perception.core.metrics import psnr
from sage_perception.regression.events import Event, FrameEvent, LctEvent
from sage_perception.regression.timebase import Timebase
from sage_perception.reports.html.render import MAX_FRAME_WIDTH
from sage_perception.reports.html.report import CropImage, FrameImage, Moment, Region
from sage_perception.vision.composed_frame import composed_frame
from sage_perception.vision.crops import to_pixels

OFFSETS_S = (0.0, 0.5, 1.0)
"""Times of the frames of a strip after the start of the moment, seconds."""
LATEST_S = 1.0
"""Time after which a missing frame is not awaited any longer, seconds."""
MAX_CROPS = 8
"""Maximum number of crops per camera in a strip."""


@dataclass(frozen=True)
class Wanted:
    """A moment to show: from `second` on, of these cameras; regions of `track` are marked."""

    title: str
    second: float
    cameras: tuple[str, ...]
    track: int | None = None
    detail: str = ''


@dataclass(eq=False)
class _Kept:
    """A frame of a strip, its crops as the model reads them, and its LCTs."""

    time_s: float
    event: FrameEvent
    lcts: Sequence[LCT] = field(default_factory=tuple)


class MomentCollector:
    """An observer of events that keeps the frames of the wanted moments.

    Memory is bounded by the number of moments; frames are kept in a small size.
    """

    def __init__(self, wanted: Sequence[Wanted]) -> None:
        self._wanted = list(wanted)
        self._timebase = Timebase()
        self._kept: dict[tuple[int, str, int], _Kept] = {}

    def __call__(self, event: Event) -> None:
        """Observe one event."""
        if isinstance(event, FrameEvent):
            time_s = self._timebase.elapsed_s(f'{event.camera}/crops', event.stamp_ns)
            self._add_frame(event, time_s)
        elif isinstance(event, LctEvent):
            self._timebase.elapsed_s(f'{event.camera}/lcts', event.stamp_ns)
            for (_, camera, _), kept in self._kept.items():
                if camera == event.camera and kept.event.stamp_ns == event.stamp_ns:
                    kept.lcts = event.accepted

    def _add_frame(self, event: FrameEvent, time_s: float) -> None:
        for index, wanted in enumerate(self._wanted):
            if event.camera not in wanted.cameras or event.rejected:
                continue
            after_s = time_s - wanted.second
            if not 0 <= after_s < OFFSETS_S[-1] + LATEST_S:
                continue
            slot = max(i for i, offset_s in enumerate(OFFSETS_S) if offset_s <= after_s)
            key = index, event.camera, slot
            if key not in self._kept:
                self._kept[key] = _Kept(time_s, _reduced(event))

    def moments(self, decoder: LatentDecoder) -> tuple[Moment, ...]:
        """Return the moments; `decoder` decodes the reconstructions."""
        return tuple(self._moment(i, wanted, decoder) for i, wanted in enumerate(self._wanted))

    def _moment(self, index: int, wanted: Wanted, decoder: LatentDecoder) -> Moment:
        frames: list[FrameImage] = []
        crops: list[CropImage] = []
        for camera in wanted.cameras:
            strip = [self._kept.get((index, camera, slot)) for slot in range(len(OFFSETS_S))]
            kept = [each for each in strip if each is not None]
            frames += [_frame(each, wanted.track) for each in kept]
            # The crops of the first frame that shows the track, else of the one with most crops.
            showing = [k for k in kept if wanted.track in {r.track for r in k.event.regions}]
            fullest = sorted(kept, key=lambda k: -len(k.event.regions))
            for each in (showing or fullest)[:1]:
                crops += _crops(each, decoder)
        return Moment(wanted.title, wanted.second, wanted.detail, tuple(frames), tuple(crops))


def _reduced(event: FrameEvent) -> FrameEvent:
    """Return a frame with its image and regions in the size of a report."""
    if event.image is None or event.image.shape[1] <= MAX_FRAME_WIDTH:
        return event
    height, width = event.image.shape[:2]
    scale = MAX_FRAME_WIDTH / width
    size = MAX_FRAME_WIDTH, max(1, round(height * scale))
    regions = []
    for each in event.regions:
        edges = (each.roi.x, each.roi.y, each.roi.width, each.roi.height)
        regions.append(each._replace(roi=Roi(*(round(edge * scale) for edge in edges))))
    image = cv2.resize(event.image, size, interpolation=cv2.INTER_AREA)
    return replace(event, image=image, size=size, regions=regions)


def _frame(kept: _Kept, track: int | None) -> FrameImage:
    event = kept.event
    regions = tuple(
        Region(each.roi, str(each.track), each.track == track) for each in event.regions
    )
    label = f'{event.camera}, {kept.time_s:.2f} s'
    if event.image is not None:
        return FrameImage(label, cv2.cvtColor(event.image, cv2.COLOR_BGR2RGB), regions)
    crops = _inputs(event)
    placed = [(r.roi, image) for r, image in zip(event.regions, crops, strict=False)]
    image, scale = composed_frame(max(event.size[0], 1), max(event.size[1], 1), placed)
    if scale != 1:
        image = cv2.resize(image, event.size)
    return FrameImage(f'{label}, composed of the crops', image, regions)


def _inputs(event: FrameEvent) -> list[np.ndarray]:
    """Return the crops of a frame as uint8 RGB images."""
    if event.inputs is None:
        return []
    return [np.broadcast_to(i, (*i.shape[:2], 3)) for i in to_pixels(event.inputs)]


def _crops(kept: _Kept, decoder: LatentDecoder) -> list[CropImage]:
    """Return the crops of a frame beside the reconstructions from its accepted LCTs."""
    lcts = {lct.latent.track_id: lct for lct in kept.lcts}
    found = []
    pairs = zip(kept.event.regions, _inputs(kept.event), strict=False)
    for region, crop in list(pairs)[:MAX_CROPS]:
        label = f'{kept.event.camera}, track {region.track}'
        lct = lcts.get(region.track)
        decoded = lct and decoder.decode(lct.latent.model, lct.latent.mean[None])
        if lct is None or not decoded:
            found.append(CropImage(label, crop, note=f'score {region.score:.2f}, no LCT'))
            continue
        same_size = decoded[0].shape == crop.shape
        quality = f', {psnr(crop, decoded[0]):.1f} dB' if same_size else ''
        note = f'trust {lct.trust:.2f}{quality}'
        found.append(CropImage(label, crop, decoded[0], note))
    return found
