# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The input of the viewer: the messages of one moment, matched by headers, regions and ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from sage_msgs.msg import LCT as LCTMessage
from sage_msgs.msg import AgreementArray, CropArray, LCTArray
from sage_msgs.msg import Latent as LatentMessage
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest

from sage_perception.codecs.packing import Packer
from sage_perception.core.latent import LatentKind
from sage_perception.models import Codec
from sage_perception.pipeline.track_labels import TrackLabels
from sage_perception.ros.conversions.latents import latent_from_msg
from sage_perception.ros.conversions.lct_arrays import camera_of, lct_messages
from sage_perception.ros.conversions.model_ids import model_id_from_msg
from sage_perception.ros.conversions.rois import roi_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.images import rgb_from_msg
from sage_perception.ros.on_demand import OnDemandGroup
from sage_perception.vision.crops import to_pixels
from sage_perception.vision.intensity_range import IntensityRange
from sage_perception.vision.mosaic import Tile

# A region in a frame, which identifies a crop and its latent.
Region = tuple[int, int, int, int]

MAX_SKEW_NS = 20_000_000
"""Maximum difference between the stamps of the frames of one moment, nanoseconds."""
MAX_RETRIES = 8
"""Number of frames that a request replaces because their crops or counterparts were missed."""


@dataclass
class CameraMoment:
    """The messages of one frame of a camera; each has the header of `frame`."""

    frame: Image | CompressedImage
    crops: CropArray | None = None
    lcts: LCTArray | None = None

    @property
    def stamp_ns(self) -> int:
        """Return the stamp of the frame, nanoseconds."""
        return stamp_from_msg(self.frame.header.stamp)

    @property
    def is_complete(self) -> bool:
        """Return whether the crops, and their LCTs if there are crops, have arrived."""
        # The arbiter may publish no LCTs for a frame without crops.
        return self.crops is not None and (self.lcts is not None or not self.crops.crops)


@dataclass(frozen=True)
class Moment:
    """The messages of one moment: those of the frame of each camera, and their agreements."""

    cameras: Mapping[str, CameraMoment] = field(default_factory=dict)
    agreements: Sequence[AgreementArray] = ()


class MomentCollector:
    """Collects the messages of one moment of all cameras: frames, crops, LCTs and agreements.

    For each request, the gates admit one frame of each camera and the messages with the header of
    that frame, so that the viewer deserializes few messages that it does not draw. A frame is
    replaced if its crops were missed, or if the frame of another camera is newer by more than
    `MAX_SKEW_NS`.

    `on_complete` is called with the message that completes a moment, perhaps more than once.

    Attributes:
        frame_gates, crops_gates: callback groups of the subscriptions by camera.
        trusted_gate, agreement_gate: callback groups of the results of the arbiter.
        infos: the latest calibration of each camera.
        labels: the nouns of the tracks.
        labeled: whether encoders announced semantic codes. They come with few frames, so all LCTs
            are then received, also between two moments, until `close` is called.
    """

    def __init__(
        self, cameras: Sequence[str], on_complete: Callable[[], None] = lambda: None
    ) -> None:
        self._on_complete = on_complete
        self.frame_gates = {camera: OnDemandGroup() for camera in cameras}
        self.crops_gates = {camera: OnDemandGroup() for camera in cameras}
        self.trusted_gate, self.agreement_gate = OnDemandGroup(), OnDemandGroup()
        self.infos: dict[str, CameraInfo] = {}
        self.labels, self.labeled = TrackLabels(), False
        self.moments: dict[str, CameraMoment] = {}
        self._agreements: list[AgreementArray] = []
        self._early: dict[str, CropArray] = {}  # the newest crops that came before a frame
        self._compared = False  # whether the last moment had agreements
        self._retries = 0
        self.close()

    def close(self) -> None:
        """Receive nothing until the next request."""
        groups = (*self.frame_gates.values(), *self.crops_gates.values())
        for gate in (*groups, self.trusted_gate, self.agreement_gate):
            gate.is_open = False

    def request(self) -> None:
        """Receive another moment."""
        self.moments, self._agreements, self._retries = {}, [], 0
        self._early = {}
        # Those of crops, too: crops may arrive before a node that is late has taken their frame.
        for gate in (*self.frame_gates.values(), *self.crops_gates.values()):
            gate.is_open = True

    @property
    def is_complete(self) -> bool:
        """Return whether the messages of all cameras have arrived, and their agreements."""
        # The arbiter may publish none for frames without crops, and publishes none for cameras
        # that are not synchronous.
        crops = [moment.crops for moment in self.moments.values()]
        compared = self._compared and all(array is not None and array.crops for array in crops)
        return self._has_all_lcts() and (self._has_agreements() or not compared)

    def agreements(self) -> list[AgreementArray]:
        """Return the agreements between the frames of this moment."""
        headers = [moment.frame.header for moment in self.moments.values()]
        return [array for array in self._agreements if array.header in headers]

    def take(self) -> Moment:
        """Return the messages that have arrived, and receive no more until the next request."""
        taken = Moment(self.moments, self.agreements())
        self._compared = self._has_agreements()
        self.close()
        self.moments, self.trusted_gate.is_open = {}, self.labeled
        return taken

    def add_info(self, camera: str, message: CameraInfo) -> None:
        """Store the calibration of a camera."""
        self.infos[camera] = message

    def add_frame(self, camera: str, message: Image | CompressedImage) -> None:
        """Store a frame, and admit its crops, LCTs and agreements."""
        self.moments[camera] = CameraMoment(message)
        self.frame_gates[camera].is_open = False
        self.trusted_gate.is_open = self.agreement_gate.is_open = True
        early = self._early.pop(camera, None)
        if early is not None:
            self.add_crops(camera, early)
        if len(self.moments) == len(self.frame_gates):
            oldest = min(self.moments, key=lambda name: self.moments[name].stamp_ns)
            newest = max(moment.stamp_ns for moment in self.moments.values())
            if newest - self.moments[oldest].stamp_ns > MAX_SKEW_NS:
                self._replace(oldest)

    def add_crops(self, camera: str, message: CropArray) -> None:
        """Store the crops of the frame; later ones show that its crops were missed."""
        moment = self.moments.get(camera)
        if moment is None:
            self._early[camera] = message
        elif message.header == moment.frame.header:
            moment.crops = message
            self.crops_gates[camera].is_open = False
            self._note_completion()
        elif stamp_from_msg(message.header.stamp) > moment.stamp_ns:
            self._replace(camera)

    def add_lcts(self, message: LCTArray) -> None:
        """Store the LCTs if they belong to a frame of this moment, and the labels of tracks."""
        if self.labeled:
            note_labels(self.labels, message)
        for moment in self.moments.values():
            if message.header == moment.frame.header:
                moment.lcts = message
        self.trusted_gate.is_open = self.labeled or not self._has_all_lcts()
        self._note_completion()

    def add_agreement(self, message: AgreementArray) -> None:
        """Store the matches of two cameras; `agreements` selects those of this moment."""
        self._compared = True
        self._agreements.append(message)
        del self._agreements[:-MAX_RETRIES]
        self.agreement_gate.is_open = not self._has_agreements()
        self._note_completion()

    def _note_completion(self) -> None:
        if self.is_complete:
            self._on_complete()

    def _has_all_lcts(self) -> bool:
        return len(self.moments) == len(self.frame_gates) and all(
            moment.is_complete for moment in self.moments.values()
        )

    def _has_agreements(self) -> bool:
        """Return whether the agreements of this moment have arrived, or were missed.

        Agreements come in the order of the frames, so later ones show that these were missed.
        """
        if len(self.agreements()) >= len(self.frame_gates) - 1:
            return True
        newest = max((moment.stamp_ns for moment in self.moments.values()), default=0)
        return any(stamp_from_msg(array.header.stamp) > newest for array in self._agreements)

    def _replace(self, camera: str) -> None:
        """Admit another frame of a camera."""
        if self._retries < MAX_RETRIES:
            self._retries += 1
            del self.moments[camera]
            self.frame_gates[camera].is_open = self.crops_gates[camera].is_open = True


class TileDecoder:
    """Decodes the latents of `codec` to tiles of the mosaic."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._packers = {codec.id.fingerprint: Packer.of(codec)}

    def tiles(
        self, crops: CropArray, lcts: LCTArray | None, labels: TrackLabels | None = None
    ) -> list[Tile]:
        """Return a tile for each crop of a frame, with the reconstruction from its latent if any.

        `labels` are the nouns of tracks. Malformed images are skipped; attention and encoder
        report them.
        """
        found: dict[Region, LCTMessage] = {}
        latents: dict[Region, np.ndarray] = {}
        for lct in _messages(lcts):
            mean = self._mean(lct.latent)
            if mean is not None:
                region = _region(lct.latent.roi)
                found[region], latents[region] = lct, mean
        decoded: dict[Region, np.ndarray] = {}
        if latents:
            images = to_pixels(self._codec.decode(np.stack(list(latents.values()))))
            decoded = {k: np.squeeze(image) for k, image in zip(latents, images, strict=True)}
        tiles = []
        for crop in crops.crops:
            image = rgb_or_none(crop.image)
            if image is None:
                continue
            region = _region(crop.roi)
            match = found.get(region)
            tiles.append(
                Tile(
                    roi_from_msg(crop.roi),
                    match.latent.track_id if match is not None else crop.track_id,
                    image,
                    decoded.get(region),
                    match.trust if match is not None else None,
                    match.id.tobytes() if match is not None else b'',
                    ''
                    if labels is None or match is None
                    else labels.text(camera_of(match), match.latent.track_id),
                )
            )
        return tiles

    def _mean(self, latent: LatentMessage) -> np.ndarray | None:
        """Return the latent, float32 `[D]`, or None if it is not one of the codec."""
        if model_id_from_msg(latent.model).fingerprint != self._codec.id.fingerprint:
            return None
        try:
            mean = latent_from_msg(latent, self._packers).mean
        except ValueError:
            return None
        return mean if mean.size == self._codec.latent_dim else None


def note_labels(labels: TrackLabels, message: LCTArray) -> None:
    """Set the labels of the tracks whose semantic codes an array has."""
    own = [message.model, *(model.fingerprint for model in message.models)]
    found = [(message.camera, crop.track_id, crop.codes, own) for crop in message.crops]
    for lct in message.lcts:
        latent = lct.latent
        models = [latent.model.fingerprint, *(model.fingerprint for model in latent.models)]
        found.append((camera_of(lct), latent.track_id, latent.codes, models))
    stamp_ns = stamp_from_msg(message.header.stamp)
    for camera, track_id, codes, models in found:
        labels.see(camera, [track_id], stamp_ns)
        for code in codes:
            if code.kind == LatentKind.SEMANTIC and code.model < len(models):
                space, payload = bytes(models[code.model]), bytes(code.payload)
                labels.add(camera, track_id, space, payload, stamp_ns)


def rgb_or_none(
    message: Image | CompressedImage, intensity: IntensityRange | None = None
) -> np.ndarray | None:
    """Return an image as uint8 `[H, W, 3]` RGB, or None if it is malformed."""
    try:
        return rgb_from_msg(message, intensity)
    except ValueError:
        return None


def _messages(lcts: LCTArray | None) -> list[LCTMessage]:
    try:
        return [] if lcts is None else lct_messages(lcts)
    except ValueError:
        return []


def _region(roi: RegionOfInterest) -> Region:
    return roi.x_offset, roi.y_offset, roi.width, roi.height
