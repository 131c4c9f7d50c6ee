# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Receives the messages of a graph that a measurement needs, without deserializing them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import time_ns
from types import TracebackType
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sage_msgs.msg import LCTArray
from sensor_msgs.msg import CameraInfo, CompressedImage

from sage_perception.ros import qos
from sage_perception.ros.conversions.stamps import stamp_from_cdr

Arrivals = list[tuple[int, int]]
"""The stamp of each message and the time it was received, nanoseconds."""


class Receiver:
    """Subscribes to the results of a graph in this process; a context manager.

    The subscription to the mosaic makes the viewer draw, as in a graph that is watched.

    Attributes:
        published: the frames of each camera.
        encoded: the LCT arrays of each camera.
        fused: the fused LCT arrays.
        mosaics: the mosaics.
    """

    def __init__(self, cameras: Sequence[str], domain: int, namespace: str = '') -> None:
        self.published: dict[str, Arrivals] = {}
        self.encoded: dict[str, Arrivals] = {}
        self._diagnostics: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = Node('sage_benchmark', namespace=namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        for camera in cameras:
            self.published[camera] = self.subscribe(CameraInfo, f'{camera}/camera_info')
            self.encoded[camera] = self.subscribe(LCTArray, f'{camera}/lcts')
        self.fused = self.subscribe(LCTArray, 'fused')
        self.mosaics = self.subscribe(CompressedImage, 'mosaic/compressed')
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._read, 100)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._spin, name='receiver', daemon=True)
        self._thread.start()

    def diagnostics(self) -> dict[str, dict[str, str]]:
        """Return the last values of each part of each node, by '<node>: <part>'."""
        with self._lock:
            return dict(self._diagnostics)

    def __enter__(self) -> Receiver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def _spin(self) -> None:
        while not self._stopping.is_set():
            self._executor.spin_once(timeout_sec=0.2)

    def subscribe(self, kind: type, topic: str) -> Arrivals:
        """Return the list that the messages of a topic will be added to.

        Messages of this type start with a header.
        """
        arrivals: Arrivals = []

        # Releases before Jazzy pass no message info.
        def receive(data: bytes, info: Any = None) -> None:
            received_ns = (info or {}).get('received_timestamp') or time_ns()
            arrivals.append((stamp_from_cdr(data), received_ns))

        def receive_with_info(data: bytes, info: Any) -> None:
            receive(data, info)

        has_info = hasattr(rclpy.subscription.Subscription, 'CallbackType')
        callback = receive_with_info if has_info else receive
        self._node.create_subscription(kind, topic, callback, qos.DEFAULT, raw=True)
        return arrivals

    def _read(self, message: DiagnosticArray) -> None:
        with self._lock:
            for status in message.status:
                self._diagnostics[status.name] = {pair.key: pair.value for pair in status.values}
