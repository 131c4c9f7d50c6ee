# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Shows people what the graph sees, keeps and agrees on: one mosaic, images and markers."""

from __future__ import annotations

import os
import sys
from functools import partial

import numpy as np
from geometry_msgs.msg import Point
from sage_msgs.msg import Agreement, AgreementArray, CropArray, Latent, LCTArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from sage_perception import models
from sage_perception.codecs.packing import Packer
from sage_perception.ros import qos
from sage_perception.ros.common_parameters import CAMERAS
from sage_perception.ros.conversions.latents import latent_from_msg
from sage_perception.ros.conversions.model_ids import model_id_from_msg
from sage_perception.ros.conversions.rois import roi_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.diagnostics import OK, Status
from sage_perception.ros.endpoints import Node, Topic
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.images import to_jpeg, to_message, to_rgb
from sage_perception.ros.parameters import Parameter
from sage_perception.ros.rate_limit import Gate
from sage_perception.ros.run import run
from sage_perception.ros.statistics import Rate
from sage_perception.vision.crops import to_pixels
from sage_perception.vision.mosaic import CameraView, PairView, Tile, mosaic, track_color


class _Camera:
    """What is taken from one camera for each image: a frame, and what was made of it."""

    def __init__(self):
        self.frame_gate, self.crops_gate = Gate(), Gate()
        self.frame: Image | None = None
        self.info: CameraInfo | None = None
        self.crops: CropArray | None = None
        self.lcts: LCTArray | None = None
        self.awaited: Header | None = None
        self.tiles: list[Tile] = []

    def ask(self) -> None:
        """Ask for a new frame."""
        self.frame_gate.is_open = True

    def take_frame(self, message: Image) -> None:
        """Take the frame, and wait for the crops of it or of a later one."""
        self.frame = message
        self.frame_gate.is_open = False
        self.crops_gate.is_open = True

    def take_crops(self, message: CropArray) -> None:
        """Take the crops, and wait for what is believed of their latents."""
        self.crops = message
        if self.frame and stamp_from_msg(message.header.stamp) >= stamp_from_msg(
            self.frame.header.stamp
        ):
            self.crops_gate.is_open = False
            self.awaited = message.header
            if not message.crops:  # Of nothing an arbiter may say nothing.
                self.take_lcts(LCTArray(header=message.header))

    def take_lcts(self, message: LCTArray) -> None:
        """Take the latents that are waited for."""
        if message.header == self.awaited:
            self.lcts, self.awaited = message, None


class ViewerNode(Node):
    """Decodes latents with a decoder of its own: what it shows came through 64 numbers."""

    PARAMETERS = (
        CAMERAS,
        Parameter('rate', 5.0, 'Images a second.', minimum=0.1, maximum=30.0, read_only=True),
        Parameter(
            'model',
            'tinyvae',
            'Model whose decoder shows the latents: a name, or the folder of an artifact.',
            read_only=True,
        ),
    )
    SUBSCRIBES = (
        Topic('{camera}/image_raw', Image, qos.SENSOR_DATA, 'Frames of each camera.'),
        Topic('{camera}/camera_info', CameraInfo, qos.SENSOR_DATA, 'Calibration of each camera.'),
        Topic('{camera}/crops', CropArray, qos.SENSOR_DATA, 'Crops of each camera.'),
        Topic(
            'trusted',
            LCTArray,
            qos.SENSOR_DATA_SHARED,
            'LCTs that the arbiter accepted, of any camera.',
        ),
        Topic('agreement', AgreementArray, qos.SENSOR_DATA, 'Matched crops of the cameras.'),
    )
    PUBLISHES = (
        Topic(
            'mosaic',
            Image,
            qos.VISUALIZATION,
            'Frames with regions, crops, reconstructions, matches.',
        ),
        Topic('mosaic/compressed', CompressedImage, qos.VISUALIZATION, 'The same as JPEG.'),
        Topic('{camera}/crop_image', Image, qos.VISUALIZATION, 'The best crop of each camera.'),
        Topic('{camera}/reconstruction', Image, qos.VISUALIZATION, 'What its latent decodes to.'),
        Topic(
            '{camera}/markers',
            MarkerArray,
            qos.VISUALIZATION,
            'Regions and track ids, 1 m before the camera.',
        ),
    )

    def __init__(self, **options):
        super().__init__('viewer', **options)

    def setup(self) -> None:
        """Load the decoder and create the endpoints."""
        try:
            self._codec = models.load_crop_codec(self.parameters.model)
            self._packers = {self._codec.id.fingerprint: Packer.of(self._codec)}
        except ValueError as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        self._cameras = {camera: _Camera() for camera in self.parameters.cameras}
        self._agreement: AgreementArray | None = None
        self._drawn = Rate()
        self._mosaic = self.publisher('mosaic')
        self._compressed = self.publisher('mosaic/compressed')
        self._crop_images, self._reconstructions, self._markers = {}, {}, {}
        for name, camera in self._cameras.items():
            self._crop_images[name] = self.publisher('{camera}/crop_image', name)
            self._reconstructions[name] = self.publisher('{camera}/reconstruction', name)
            self._markers[name] = self.publisher('{camera}/markers', name)
            listen = partial(self.subscribe, camera=name, timeout_s=0)
            listen('{camera}/image_raw', camera.take_frame, group=camera.frame_gate)
            listen(
                '{camera}/camera_info', partial(setattr, camera, 'info'), group=camera.frame_gate
            )
            listen('{camera}/crops', partial(self._take_crops, camera), group=camera.crops_gate)
        self._trusted_gate = Gate()
        self.subscribe('trusted', self._take_trusted, timeout_s=0, group=self._trusted_gate)
        self._agreement_gate = Gate()
        if len(self._cameras) > 1:
            self.subscribe(
                'agreement', self._take_agreement, timeout_s=0, group=self._agreement_gate
            )
        self.create_timer(1 / self.parameters.rate, self._show)
        self.diagnostics.add('viewer', self._report)

    def _take_crops(self, camera: _Camera, message: CropArray) -> None:
        camera.take_crops(message)
        self._trusted_gate.is_open = True

    def _take_trusted(self, message: LCTArray) -> None:
        # An array is of the frame that its header is from.
        for camera in self._cameras.values():
            camera.take_lcts(message)
        self._trusted_gate.is_open = any(camera.awaited for camera in self._cameras.values())

    def _take_agreement(self, message: AgreementArray) -> None:
        self._agreement = message
        self._agreement_gate.is_open = False

    def _show(self) -> None:
        """Show what is in hand, and ask for the next frame."""
        mosaic_watched = _watched(self._mosaic, self._compressed)
        for name, camera in self._cameras.items():
            outputs = (self._crop_images[name], self._reconstructions[name], self._markers[name])
            if mosaic_watched or _watched(*outputs):
                self._show_camera(name, camera)
            camera.ask()
        if mosaic_watched:
            self._show_mosaic()
        self._agreement_gate.is_open = True

    def _tiles(self, crops: CropArray, array: LCTArray) -> list[Tile]:
        """Return crops with what their latents decode to."""
        lcts, latents = {}, {}
        for lct in array.lcts:
            mean = self._numbers(lct.latent)
            if mean is not None:
                roi = lct.latent.roi
                key = (lct.latent.track_id, roi.x_offset, roi.y_offset)
                lcts[key], latents[key] = lct, mean
        decoded = {}
        if latents:
            pictures = to_pixels(self._codec.decode(np.stack(list(latents.values()))))
            decoded = dict(zip(lcts, pictures, strict=True))
        tiles = []
        for crop in crops.crops:
            cut_out = _image(crop.image)
            if cut_out is None:
                continue
            key = (crop.track_id, crop.roi.x_offset, crop.roi.y_offset)
            picture = decoded.get(key)
            tiles.append(
                Tile(
                    roi=roi_from_msg(crop.roi),
                    track_id=crop.track_id,
                    crop=cut_out,
                    reconstruction=picture if picture is None else np.squeeze(picture),
                    trust=lcts[key].trust if key in lcts else None,
                )
            )
        return tiles

    def _numbers(self, latent: Latent) -> np.ndarray | None:
        """Return a latent that our decoder is for, None for others."""
        if model_id_from_msg(latent.model).fingerprint != self._codec.id.fingerprint:
            return None
        try:
            mean = latent_from_msg(latent, self._packers).mean
        except ValueError:
            return None
        return mean if mean.size == self._codec.latent_dim else None

    def _show_camera(self, name: str, camera: _Camera) -> None:
        if camera.crops is None or camera.lcts is None:
            return
        header = camera.lcts.header
        if camera.crops.header.stamp == header.stamp:
            camera.tiles = self._tiles(camera.crops, camera.lcts)
        if camera.tiles:
            best = camera.tiles[0]
            self._crop_images[name].publish(to_message(best.crop, 'rgb8', header))
            if best.reconstruction is not None:
                encoding = 'rgb8' if best.reconstruction.ndim == 3 else 'mono8'
                self._reconstructions[name].publish(
                    to_message(best.reconstruction, encoding, header)
                )
        if _watched(self._markers[name]):
            self._markers[name].publish(_markers(header, camera))

    def _show_mosaic(self) -> None:
        views = []
        newest = Header(stamp=self.get_clock().now().to_msg())
        for name, camera in self._cameras.items():
            picture = None
            if camera.frame is not None:
                picture = _image(camera.frame)
                newest = camera.frame.header if not views else newest
            views.append(CameraView(name, picture, camera.tiles))
        picture = mosaic(views, self._pairs())
        if _watched(self._mosaic):
            self._mosaic.publish(to_message(picture, 'rgb8', newest))
        if _watched(self._compressed):
            self._compressed.publish(to_jpeg(picture[..., ::-1], newest))
        self._drawn.tick()

    def _pairs(self) -> list[PairView]:
        """Return the last matches whose crops are on show."""
        if self._agreement is None:
            return []
        cameras = self._cameras
        a, b = (
            {tile.track_id: tile for tile in cameras[name].tiles} if name in cameras else {}
            for name in (self._agreement.entity_a, self._agreement.entity_b)
        )
        return [
            PairView(
                a[match.track_a],
                b[match.track_b],
                match.similarity,
                match.level == Agreement.LEVEL_HIGH,
            )
            for match in self._agreement.agreements
            if match.track_a in a and match.track_b in b
        ]

    def _report(self) -> Status:
        return OK, 'showing' if self._drawn.hz else 'nobody looks', {'rate_hz': self._drawn.hz}


def _watched(*publishers) -> bool:
    return any(publisher.get_subscription_count() for publisher in publishers)


def _image(message: Image) -> np.ndarray | None:
    """Return an image as uint8 RGB, None for a malformed one: others complain of those."""
    try:
        return to_rgb(message)
    except ValueError:
        return None


def _markers(header: Header, camera: _Camera) -> MarkerArray:
    """Return regions as boxes on the plane 1 m before the camera, with their track ids."""
    k = camera.info.k if camera.info is not None else np.zeros(9)
    width = camera.lcts.source_width or 1
    height = camera.lcts.source_height
    # Uncalibrated: as a camera that sees about 60 degrees.
    focal = (k[0], k[4]) if k[0] else (0.87 * width, 0.87 * width)
    center = (k[2], k[5]) if k[0] else (width / 2, height / 2)

    def point(x: float, y: float) -> Point:
        return Point(x=(x - center[0]) / focal[0], y=(y - center[1]) / focal[1], z=1.0)

    array = MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])
    for number, tile in enumerate(tile for tile in camera.tiles if tile.roi is not None):
        red, green, blue = (c / 255 for c in track_color(tile.track_id))
        roi = tile.roi
        box = Marker(header=header, ns='regions', id=number, type=Marker.LINE_STRIP)
        box.scale.x = 0.005
        box.pose.orientation.w = 1.0
        box.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        right, below = roi.x + roi.width, roi.y + roi.height
        corners = [(roi.x, roi.y), (right, roi.y), (right, below), (roi.x, below), (roi.x, roi.y)]
        box.points = [point(x, y) for x, y in corners]
        label = Marker(header=header, ns='tracks', id=number, type=Marker.TEXT_VIEW_FACING)
        label.scale.z = 0.04
        label.color = box.color
        label.pose.orientation.w = 1.0
        label.pose.position = point(roi.x + roi.width / 2, roi.y)
        label.text = f'{tile.track_id}'
        array.markers += [box, label]
    return array


def main(args: list[str] | None = None) -> None:
    """Run the node; images for people may wait for a core, perception may not."""
    os.nice(10)
    sys.exit(run(ViewerNode, args))


if __name__ == '__main__':
    main()
