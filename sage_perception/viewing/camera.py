# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The items of one camera: frame, regions, crops beside reconstructions, latents and curves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sage_perception.codecs.latent_decoder import LatentDecoder
from sage_perception.core.latent import Roi
from sage_perception.core.track_ids import short_label
from sage_perception.pipeline.track_labels import TrackLabels
from sage_perception.viewing.items import (
    Boxes,
    Color,
    HeatMap,
    ImageItem,
    Item,
    Path,
    Points,
    Scalar,
    Text,
)
from sage_perception.viewing.messages import (
    lcts_of,
    rgb_of,
    roi_of,
    semantic_codes_of,
    stamp_ns,
)
from sage_perception.viewing.projection import Projection
from sage_perception.viewing.sheets import sheet
from sage_perception.vision.camera_health import Fault
from sage_perception.vision.composed_frame import composed_frame
from sage_perception.vision.intensity_range import IntensityRange
from sage_perception.vision.mosaic import track_color

KEPT_FRAMES = 64
"""Number of frames whose crops wait for their LCTs."""


class CropView(NamedTuple):
    """A crop as it is drawn."""

    roi: Roi
    track_id: int
    image: np.ndarray


class CameraScene:
    """Turns the crops and LCTs of one camera into items.

    Attributes:
        path: the namespace of the camera as a path.
        has_images: whether an image topic of the camera was seen; otherwise frames are composed
            from crops.
        intensity: the range of its images, for pixels of more than 8 bits.
        latest: the newest crop of each track, uint8 RGB.
        labels: the nouns of tracks.
    """

    def __init__(
        self, path: Path, decoder: LatentDecoder, projection: Projection, period_ns: int
    ) -> None:
        self.path = path
        self.has_images = False
        self.intensity = IntensityRange()
        self.latest: OrderedDict[int, np.ndarray] = OrderedDict()
        self.labels = TrackLabels()
        self._decoder, self._projection, self._period_ns = decoder, projection, period_ns
        self._crops: OrderedDict[int, list[CropView]] = OrderedDict()
        self._drawn_ns: dict[str, int] = {}
        self._regions_wanted = False
        self._matched: dict[int, Color] = {}
        self._fault = Fault.UNKNOWN

    @property
    def name(self) -> str:
        """Return the namespace of the camera, such as 'robot1/cam0'."""
        return '/'.join(self.path)

    def color(self, track_id: int) -> Color:
        """Return the color of a track: that of the matched track of the primary camera, if any."""
        return self._matched.get(track_id, track_color(track_id))

    def match(self, colors: dict[int, Color]) -> None:
        """Set the colors of the tracks that are matched at present."""
        self._matched = colors

    def due(self, what: str, now_ns: int) -> bool:
        """Return whether images of a kind are due again; a clock that jumped back is allowed."""
        last = self._drawn_ns.get(what)
        if last is not None and 0 <= now_ns - last < self._period_ns:
            return False
        self._drawn_ns[what] = now_ns
        return True

    def frame_due(self, now_ns: int) -> bool:
        """Return whether the frame with this stamp is to be drawn, and its regions after it."""
        if self.due('frame', now_ns):
            self._regions_wanted = True
            return True
        return False

    def add_crops(self, message: Any) -> Iterator[Item]:
        """Yield the items of a `sage_msgs/CropArray`; raises `ValueError` if it is malformed."""
        at = stamp_ns(message)
        crops = [CropView(roi_of(c.roi), int(c.track_id), rgb_of(c.image)) for c in message.crops]
        scores = [float(crop.score) for crop in message.crops]
        self._crops[at] = crops
        while len(self._crops) > KEPT_FRAMES:
            self._crops.popitem(last=False)
        for crop in crops:
            self.latest[crop.track_id] = crop.image
            self.latest.move_to_end(crop.track_id)
        while len(self.latest) > KEPT_FRAMES:
            self.latest.popitem(last=False)

        scale = 1.0
        if not self.has_images and self.frame_due(at):
            size = int(message.source_width), int(message.source_height)
            image, scale = composed_frame(*size, [(c.roi, c.image) for c in crops])
            yield ImageItem((*self.path, 'image'), image)
        if self._regions_wanted and at >= self._drawn_ns.get('frame', at):
            self._regions_wanted = False
            labels = [self.labels.text('', crop.track_id) for crop in crops]
            yield Boxes(
                (*self.path, 'regions'),
                [_scaled(crop.roi, scale) for crop in crops],
                [
                    f'{short_label(c.track_id)}  {score:.2f}  {label}'.rstrip()
                    for c, score, label in zip(crops, scores, labels, strict=True)
                ],
                [self.color(crop.track_id) for crop in crops],
            )
        yield Scalar(('crops', self.name), float(len(crops)))
        yield from self._health(Fault(int(message.fault)))

    def _health(self, fault: Fault) -> Iterator[Item]:
        yield Scalar(('health', self.name), float(fault <= Fault.NONE))
        if fault != self._fault:
            self._fault = fault
            level = 'INFO' if fault <= Fault.NONE else 'WARN'
            yield Text(('log', self.name), f'camera health: {fault.name.lower()}', level)

    def add_lcts(self, message: Any) -> Iterator[Item]:
        """Yield the items of the `sage_msgs/LCTArray` of this camera.

        Raises `ValueError` if it is malformed.
        """
        lcts = lcts_of(message)
        at = stamp_ns(message)
        self.labels.see('', [int(lct.latent.track_id) for lct in lcts], at)
        for track, space, payload in semantic_codes_of(message):
            self.labels.add('', track, space, payload, at)
        if not lcts:
            return
        yield Scalar(('trust', self.name), float(np.mean([lct.trust for lct in lcts])))
        sizes = [_size(lct.latent) for lct in lcts]
        yield Scalar(('bytes', self.name), float(sum(sizes)))
        if not self.due('latents', at):
            return
        latents = [lct.latent for lct in lcts]
        values = [self._decoder.values(latent) for latent in latents]
        known = [(each, z) for each, z in zip(latents, values, strict=True) if z is not None]
        if not known or len({len(z) for _, z in known}) > 1:
            return
        model = known[0][0].model
        stacked = np.stack([z for _, z in known])
        yield HeatMap((*self.path, 'latents'), self._decoder.standardized(model, stacked))
        tracks = [int(latent.track_id) for latent, _ in known]
        yield self._sheet(at, known, tracks, self._decoder.decode(model, stacked))

    def project(self, message: Any) -> list[tuple[int, Points]]:
        """Return the points of latents that can be projected now, with their stamps."""
        lcts = lcts_of(message)
        values = [self._decoder.values(lct.latent) for lct in lcts]
        tracks = [int(lct.latent.track_id) for lct in lcts]
        known = [(z, t) for z, t in zip(values, tracks, strict=True) if z is not None]
        if not known or len({len(z) for z, _ in known}) > 1:
            return []
        tag = (self, stamp_ns(message), [t for _, t in known])
        return points_of(self._projection.add(np.stack([z for z, _ in known]), tag))

    def _sheet(
        self,
        at: int,
        known: list[tuple[Any, np.ndarray]],
        tracks: list[int],
        decoded: list[np.ndarray] | None,
    ) -> ImageItem:
        crops = {(c.track_id, c.roi.x, c.roi.y): c.image for c in self._crops.get(at, [])}
        columns = []
        for i, (latent, _) in enumerate(known):
            roi = roi_of(latent.roi)
            crop = crops.get((tracks[i], roi.x, roi.y))
            columns.append([crop, None if decoded is None else decoded[i]])
        colors = [self.color(track) for track in tracks]
        image = sheet(columns, [f'track {track}' for track in tracks], colors)
        return ImageItem((*self.path, 'crops'), image)


def points_of(projected: list[tuple[np.ndarray, Any]]) -> list[tuple[int, Points]]:
    """Return projected latents as points of their cameras, with their stamps."""
    found = []
    for points, (camera, at, tracks) in projected:
        labels = [f'{camera.name} {track}' for track in tracks]
        colors = [camera.color(track) for track in tracks]
        found.append((at, Points(('projection', camera.name), points, labels, colors)))
    return found


def _scaled(roi: Roi, scale: float) -> Roi:
    if scale == 1.0:
        return roi
    return Roi(*(round(v * scale) for v in (roi.x, roi.y, roi.width, roi.height)))


def _size(latent: Any) -> int:
    """Return the size of mean, variance and payload in bytes."""
    return 4 * (len(latent.mean) + len(latent.log_var)) + len(latent.payload)
