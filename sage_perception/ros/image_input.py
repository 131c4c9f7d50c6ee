# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Subscribes to the images of a camera, raw or compressed."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.callback_groups import CallbackGroup
from sensor_msgs.msg import CompressedImage, Image

from sage_perception.ros import qos
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.input_monitor import InputMonitor
from sage_perception.ros.receiver import Guard
from sage_perception.ros.tables import Topic
from sage_perception.vision.image_messages import COMPRESSED_TYPE, IMAGE_TYPE

DISCOVERY_PERIOD_S = 0.5
PATIENCE = 3
"""Consecutive checks without a publisher of raw images, after which compressed ones are used."""
_SUFFIX = '/compressed'


def image_topics(name: str, description: str) -> tuple[Topic, Topic]:
    """Return the entries of `SUBSCRIBES` for the raw and the compressed images of a topic."""
    return (
        Topic(name, Image, qos.SENSOR_DATA, description),
        Topic(
            name + _SUFFIX,
            CompressedImage,
            qos.SENSOR_DATA,
            'The same images as JPEG, PNG, WebP or compressedDepth, see `image_transport`.',
        ),
    )


class ImageInput:
    """The subscription to one image topic of a node with the parameter `image_transport`.

    With `auto`, a topic that has only publishers of CompressedImage, itself or with /compressed
    appended, is subscribed as such, once and for all.
    """

    def __init__(
        self,
        node: Endpoints,
        name: str,
        callback: Callable[..., None],
        camera: str = '',
        timeout_s: float = 2.0,
        max_age_s: float = 0.0,
        group: CallbackGroup | None = None,
        guard: Guard | None = None,
    ) -> None:
        """Subscribe to the topics that `image_topics` returned for `name`.

        The other arguments are those of `Endpoints.subscribe`; with a `guard`, `callback` is
        called with the publisher's GID, too.
        """
        self._node, self._name, self._callback = node, name, callback
        self._camera, self._timeout_s, self._group = camera, timeout_s, group
        self._max_age_s, self._guard = max_age_s, guard
        self._silent, self._found = 0, ''
        self._raw = node.resolve_topic_name(name.format(camera=camera))
        transport = node.parameters.image_transport
        self._is_open = transport == 'auto'
        if transport == 'compressed':
            self._monitor = self._subscribe(_SUFFIX, self._raw + _SUFFIX)
        elif self._is_open and self._compressed_topic() == self._raw:
            self._is_open = False
            self._monitor = self._subscribe(_SUFFIX, self._raw)
        else:
            self._monitor = self._subscribe('', '')
        if self._is_open:
            node.add_timer(DISCOVERY_PERIOD_S, self._discover, node.diagnostics.clock)

    @property
    def name(self) -> str:
        """Return the resolved name of the topic."""
        return self._monitor.name

    def reject(self, reason: str) -> None:
        """Count an image that cannot be used, see `InputMonitor.reject`."""
        self._monitor.reject(reason)

    def _subscribe(self, suffix: str, topic: str) -> InputMonitor:
        return self._node.subscribe(
            self._name + suffix,
            self._callback,
            self._camera,
            self._timeout_s,
            self._max_age_s,
            self._group,
            self._guard,
            topic=topic,
        )

    def _discover(self) -> None:
        """Change to compressed images if there are no others."""
        if self._found:
            try:
                self._monitor = self._subscribe(_SUFFIX, self._found)
            except RuntimeError:
                # A topic has one type per process, and the executor or another node of this
                # process still has a subscription of raw images.
                self._node.get_logger().warning(
                    f'{self._found} cannot be subscribed as compressed images while a node of '
                    'this process subscribes to it as raw images: set image_transport of that '
                    'node to auto',
                    throttle_duration_sec=10.0,
                    skip_first=True,
                )
                return
            self._found = ''
        if not self._is_open:
            return
        if self._monitor.has_received:
            self._is_open = False
            return
        found = self._compressed_topic()
        self._silent = self._silent + 1 if found else 0
        if self._silent < PATIENCE:
            return
        self._is_open = False
        self._node.get_logger().info(f'{found} has compressed images, which are used')
        self._node.unsubscribe(self._monitor)
        self._found = found

    def _compressed_topic(self) -> str:
        """Return the topic of compressed images, or '' if raw ones are or may be published."""
        for topic in (self._raw, self._raw + _SUFFIX):
            publishers = self._node.get_publishers_info_by_topic(topic)
            types = {publisher.topic_type for publisher in publishers}
            if IMAGE_TYPE in types:
                return ''
            if COMPRESSED_TYPE in types:
                return topic
        return ''
