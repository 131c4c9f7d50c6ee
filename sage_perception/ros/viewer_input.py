# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The input of the viewer: the frame, crops and LCTs of one camera, matched by their headers."""

from __future__ import annotations

import numpy as np
from sage_msgs.msg import CropArray, LCTArray
from sage_msgs.msg import Latent as LatentMessage
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from sage_perception.codecs.packing import Packer
from sage_perception.models import Codec
from sage_perception.ros.conversions.latents import latent_from_msg
from sage_perception.ros.conversions.model_ids import model_id_from_msg
from sage_perception.ros.conversions.rois import roi_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.images import rgb_from_msg
from sage_perception.ros.on_demand import OnDemandGroup
from sage_perception.vision.crops import to_pixels
from sage_perception.vision.mosaic import Tile

# Track id and top left corner of a region, which identify a crop in a frame.
Key = tuple[int, int, int]


class ViewerInput:
    """The latest matching messages of one camera.

    For each request, the gates admit one frame, then the crops of that frame or of a later one, so
    that the viewer deserializes only the messages it draws.

    Attributes:
        frame: the latest frame.
        info: the latest calibration.
        crops: the latest crops.
        lcts: the LCTs of the latest crops that have any.
        pending: the header of the crops whose LCTs are missing, else None.
        tiles: the latest tiles, see `update_tiles`.
    """

    def __init__(self) -> None:
        self.frame_gate, self.crops_gate = OnDemandGroup(), OnDemandGroup()
        self.frame: Image | None = None
        self.info: CameraInfo | None = None
        self.crops: CropArray | None = None
        self.lcts: LCTArray | None = None
        self.pending: Header | None = None
        self.tiles: list[Tile] = []

    def request_frame(self) -> None:
        """Admit the next frame."""
        self.frame_gate.is_open = True

    def add_info(self, message: CameraInfo) -> None:
        """Store the calibration."""
        self.info = message

    def add_frame(self, message: Image) -> None:
        """Store the frame and admit crops."""
        self.frame = message
        self.frame_gate.is_open = False
        self.crops_gate.is_open = True

    def add_crops(self, message: CropArray) -> None:
        """Store the crops; if they are not older than the frame, wait for their LCTs."""
        self.crops = message
        if self.frame is None:
            return
        if stamp_from_msg(message.header.stamp) >= stamp_from_msg(self.frame.header.stamp):
            self.crops_gate.is_open = False
            self.pending = message.header
            if not message.crops:  # the arbiter may publish no LCTs for an empty frame
                self.add_lcts(LCTArray(header=message.header))

    def add_lcts(self, message: LCTArray) -> None:
        """Store the LCTs if they belong to the pending crops."""
        if message.header == self.pending:
            self.lcts, self.pending = message, None

    def update_tiles(self, decoder: TileDecoder) -> Header | None:
        """Update the tiles and return their header; None before there are crops and LCTs."""
        if self.crops is None or self.lcts is None:
            return None
        if self.crops.header.stamp == self.lcts.header.stamp:
            self.tiles = decoder.tiles(self.crops, self.lcts)
        return self.lcts.header


class TileDecoder:
    """Decodes the latents of `codec` to tiles of the mosaic."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._packers = {codec.id.fingerprint: Packer.of(codec)}

    def tiles(self, crops: CropArray, lcts: LCTArray) -> list[Tile]:
        """Return a tile for each crop, with the reconstruction from its latent if there is one.

        Malformed images are skipped; attention and encoder report them.
        """
        trusts: dict[Key, float] = {}
        latents: dict[Key, np.ndarray] = {}
        for lct in lcts.lcts:
            mean = self._mean(lct.latent)
            if mean is not None:
                key = (lct.latent.track_id, lct.latent.roi.x_offset, lct.latent.roi.y_offset)
                trusts[key], latents[key] = lct.trust, mean
        decoded: dict[Key, np.ndarray] = {}
        if latents:
            images = to_pixels(self._codec.decode(np.stack(list(latents.values()))))
            decoded = {k: np.squeeze(image) for k, image in zip(latents, images, strict=True)}
        tiles = []
        for crop in crops.crops:
            image = rgb_or_none(crop.image)
            if image is not None:
                key = (crop.track_id, crop.roi.x_offset, crop.roi.y_offset)
                roi = roi_from_msg(crop.roi)
                tile = Tile(roi, crop.track_id, image, decoded.get(key), trusts.get(key))
                tiles.append(tile)
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


def rgb_or_none(message: Image) -> np.ndarray | None:
    """Return an image as uint8 `[H, W, 3]` RGB, or None if it is malformed."""
    try:
        return rgb_from_msg(message)
    except ValueError:
        return None
