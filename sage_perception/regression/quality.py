# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measures the reconstructions of a replay: PSNR and SSIM of what the accepted LCTs decode to."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np

from sage_perception.codecs.latent_decoder import LatentDecoder
from sage_perception.core.metrics import psnr, ssim
from sage_perception.regression.events import AgreementEvent, Event, FrameEvent, LctEvent
from sage_perception.vision.crops import to_pixels

EVERY = 5
"""Every n-th frame of a camera is measured."""
MAX_WAITING = 64
"""Maximum number of frames whose LCTs are awaited."""


class Quality:
    """An observer of events that accumulates the quality of reconstructions, and sizes.

    Attributes:
        frames: number of frames of all cameras.
        crops: number of crops.
        lcts: number of accepted LCTs.
        size_bytes: size of the transmitted latents.
        matches, agreements: numbers of matched crops, and of those that agree.
    """

    def __init__(self, decoder: LatentDecoder, every: int = EVERY) -> None:
        self.frames = self.crops = self.lcts = self.size_bytes = 0
        self.matches = self.agreements = 0
        self._decoder, self._every = decoder, every
        self._counts: dict[str, int] = {}
        self._waiting: OrderedDict[tuple[str, int], dict[int, np.ndarray]] = OrderedDict()
        self._psnr: list[float] = []
        self._ssim: list[float] = []
        self._trust = self._similarity = 0.0

    def __call__(self, event: Event) -> None:
        """Observe one event."""
        if isinstance(event, FrameEvent):
            self._add_frame(event)
        elif isinstance(event, LctEvent):
            self._add_lcts(event)
        elif isinstance(event, AgreementEvent):
            self.matches += len(event.pairs)
            self.agreements += sum(pair.agrees for pair in event.pairs)
            self._similarity += sum(pair.similarity for pair in event.pairs)

    def _add_frame(self, event: FrameEvent) -> None:
        self.frames += 1
        self.crops += len(event.regions)
        count = self._counts[event.camera] = self._counts.get(event.camera, -1) + 1
        if event.inputs is None or count % self._every:
            return
        tracks = [region.track for region in event.regions]
        self._waiting[event.camera, event.stamp_ns] = dict(
            zip(tracks, to_pixels(event.inputs), strict=False)
        )
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)

    def _add_lcts(self, event: LctEvent) -> None:
        self.lcts += len(event.accepted)
        self.size_bytes += event.size_bytes
        self._trust += sum(lct.trust for lct in event.accepted)
        crops = self._waiting.pop((event.camera, event.stamp_ns), {})
        pairs = [
            (lct, crops[lct.latent.track_id])
            for lct in event.accepted
            if lct.latent.track_id in crops
        ]
        if not pairs:
            return
        values = np.stack([lct.latent.mean for lct, _ in pairs])
        decoded = self._decoder.decode(pairs[0][0].latent.model, values)
        for image, (_, crop) in zip(decoded or [], pairs, strict=False):
            crop = np.broadcast_to(crop, (*crop.shape[:2], 3))
            if image.shape == crop.shape:
                self._psnr.append(psnr(crop, image))
                self._ssim.append(ssim(np.ascontiguousarray(crop), np.ascontiguousarray(image)))

    @property
    def psnr_db(self) -> float:
        """Return the mean PSNR of the measured crops, dB; NaN without any."""
        return float(np.mean(self._psnr)) if self._psnr else math.nan

    @property
    def ssim(self) -> float:
        """Return the mean SSIM of the measured crops; NaN without any."""
        return float(np.mean(self._ssim)) if self._ssim else math.nan

    @property
    def trust(self) -> float:
        """Return the mean trust of the accepted LCTs; NaN without any."""
        return self._trust / self.lcts if self.lcts else math.nan

    @property
    def similarity(self) -> float:
        """Return the mean similarity of matched crops; NaN without any."""
        return self._similarity / self.matches if self.matches else math.nan
