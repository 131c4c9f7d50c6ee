# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Draws frames, crops, reconstructions and matches of all cameras into images and markers."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any

import numpy as np
from rclpy.publisher import Publisher
from sage_msgs.msg import Agreement, AgreementArray, CropArray, LCTArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from sage_perception import models
from sage_perception.ros import qos
from sage_perception.ros.common_parameters import CAMERAS
from sage_perception.ros.conversions.markers import regions_to_markers
from sage_perception.ros.diagnostics import OK, Status
from sage_perception.ros.endpoints import Node, Topic
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.images import image_to_msg, jpeg_to_msg
from sage_perception.ros.on_demand import OnDemandGroup
from sage_perception.ros.parameters import Parameter
from sage_perception.ros.run import run
from sage_perception.ros.statistics import Rate
from sage_perception.ros.viewer_input import TileDecoder, ViewerInput, rgb_or_none
from sage_perception.vision.mosaic import CameraView, PairView, mosaic


class ViewerNode(Node):
    """Decodes reconstructions from the received latents. Draws only outputs with subscribers."""

    PARAMETERS = (
        CAMERAS,
        Parameter(
            'rate', 5.0, 'Rate of the images, Hz.', minimum=0.1, maximum=30.0, read_only=True
        ),
        Parameter(
            'model',
            'tinyvae',
            'Model that decodes the latents: the name of a model, or the folder of an artifact.',
            read_only=True,
        ),
    )
    SUBSCRIBES = (
        Topic('{camera}/image_raw', Image, qos.SENSOR_DATA, 'Images of each camera.'),
        Topic('{camera}/camera_info', CameraInfo, qos.SENSOR_DATA, 'Calibration of each camera.'),
        Topic('{camera}/crops', CropArray, qos.SENSOR_DATA, 'Crops of each camera.'),
        Topic(
            'trusted',
            LCTArray,
            qos.SENSOR_DATA_SHARED,
            'LCTs of all cameras that the arbiter accepted.',
        ),
        Topic('agreement', AgreementArray, qos.SENSOR_DATA, 'Matched crops of the cameras.'),
    )
    PUBLISHES = (
        Topic(
            'mosaic',
            Image,
            qos.VISUALIZATION,
            'Frames with regions, crops, reconstructions and matches of all cameras.',
        ),
        Topic('mosaic/compressed', CompressedImage, qos.VISUALIZATION, 'The same image as JPEG.'),
        Topic(
            '{camera}/crop_image',
            Image,
            qos.VISUALIZATION,
            'Crop of each camera with the highest score.',
        ),
        Topic(
            '{camera}/reconstruction',
            Image,
            qos.VISUALIZATION,
            'Image decoded from the latent of that crop.',
        ),
        Topic(
            '{camera}/markers',
            MarkerArray,
            qos.VISUALIZATION,
            'Regions and track ids, 1 m in front of the camera.',
        ),
    )

    def __init__(self, **options: Any) -> None:
        super().__init__('viewer', **options)

    def setup(self) -> None:
        """Load the decoder and create the endpoints."""
        try:
            self._decoder = TileDecoder(models.load_crop_codec(self.parameters.model))
        except ValueError as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        self._cameras = {camera: ViewerInput() for camera in self.parameters.cameras}
        self._agreement: AgreementArray | None = None
        self._rate = Rate()
        self._mosaic = self.publisher('mosaic')
        self._compressed = self.publisher('mosaic/compressed')
        self._crop_images: dict[str, Publisher] = {}
        self._reconstructions: dict[str, Publisher] = {}
        self._markers: dict[str, Publisher] = {}
        for name, camera in self._cameras.items():
            self._crop_images[name] = self.publisher('{camera}/crop_image', name)
            self._reconstructions[name] = self.publisher('{camera}/reconstruction', name)
            self._markers[name] = self.publisher('{camera}/markers', name)
            subscribe = partial(self.subscribe, camera=name, timeout_s=0)
            subscribe('{camera}/image_raw', camera.add_frame, group=camera.frame_gate)
            subscribe('{camera}/camera_info', camera.add_info, group=camera.frame_gate)
            subscribe('{camera}/crops', partial(self._add_crops, camera), group=camera.crops_gate)
        self._trusted_gate, self._agreement_gate = OnDemandGroup(), OnDemandGroup()
        self.subscribe('trusted', self._add_trusted, timeout_s=0, group=self._trusted_gate)
        if len(self._cameras) > 1:
            self.subscribe(
                'agreement', self._add_agreement, timeout_s=0, group=self._agreement_gate
            )
        self.add_timer(1 / self.parameters.rate, self._draw)
        self.diagnostics.add('viewer', self._report)

    def _add_crops(self, camera: ViewerInput, message: CropArray) -> None:
        camera.add_crops(message)
        self._trusted_gate.is_open = True

    def _add_trusted(self, message: LCTArray) -> None:
        for camera in self._cameras.values():
            camera.add_lcts(message)
        self._trusted_gate.is_open = any(camera.pending for camera in self._cameras.values())

    def _add_agreement(self, message: AgreementArray) -> None:
        self._agreement = message
        self._agreement_gate.is_open = False

    def _draw(self) -> None:
        """Draw the outputs that have subscribers, and request the next frame of each camera."""
        mosaic_wanted = _has_subscribers(self._mosaic, self._compressed)
        for name, camera in self._cameras.items():
            outputs = (self._crop_images[name], self._reconstructions[name], self._markers[name])
            if mosaic_wanted or _has_subscribers(*outputs):
                self._draw_camera(name, camera)
            camera.request_frame()
        if mosaic_wanted:
            self._draw_mosaic()
        self._agreement_gate.is_open = True

    def _draw_camera(self, name: str, camera: ViewerInput) -> None:
        header = camera.update_tiles(self._decoder)
        if header is None or camera.lcts is None:
            return
        if camera.tiles:
            best = camera.tiles[0]
            self._crop_images[name].publish(image_to_msg(best.crop, 'rgb8', header))
            if best.reconstruction is not None:
                encoding = 'rgb8' if best.reconstruction.ndim == 3 else 'mono8'
                self._reconstructions[name].publish(
                    image_to_msg(best.reconstruction, encoding, header)
                )
        if _has_subscribers(self._markers[name]):
            regions = [(tile.roi, tile.track_id) for tile in camera.tiles if tile.roi is not None]
            size = camera.lcts.source_width, camera.lcts.source_height
            self._markers[name].publish(regions_to_markers(header, regions, size, camera.info))

    def _draw_mosaic(self) -> None:
        views: list[CameraView] = []
        header = Header(stamp=self.get_clock().now().to_msg())
        for name, camera in self._cameras.items():
            frame: np.ndarray | None = None
            if camera.frame is not None:
                frame = rgb_or_none(camera.frame)
                header = camera.frame.header if not views else header
            views.append(CameraView(name, frame, camera.tiles))
        image = mosaic(views, self._pairs())
        if _has_subscribers(self._mosaic):
            self._mosaic.publish(image_to_msg(image, 'rgb8', header))
        if _has_subscribers(self._compressed):
            self._compressed.publish(jpeg_to_msg(image[..., ::-1], header))
        self._rate.tick()

    def _pairs(self) -> list[PairView]:
        """Return the last matches whose crops are drawn."""
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
        message = 'drawing' if self._rate.hz else 'no subscribers'
        return OK, message, {'rate_hz': self._rate.hz}


def _has_subscribers(*publishers: Publisher) -> bool:
    return any(publisher.get_subscription_count() for publisher in publishers)


def main(args: list[str] | None = None) -> None:
    """Run the node at a lower priority than the nodes of perception."""
    os.nice(10)
    sys.exit(run(ViewerNode, args))


if __name__ == '__main__':
    main()
