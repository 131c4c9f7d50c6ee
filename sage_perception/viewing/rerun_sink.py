# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Log the items of a scene to Rerun: into a file, a viewer, or a browser."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sage_perception.core.files import replacing
from sage_perception.viewing import GRPC_PORT, WEB_PORT
from sage_perception.viewing.blueprint import blueprint
from sage_perception.viewing.items import (
    Boxes,
    Graph,
    HeatMap,
    ImageItem,
    Item,
    Points,
    Scalar,
    Text,
    Timed,
)
from sage_perception.viewing.items import Path as ItemPath

INSTALL = (
    'rerun-sdk is not installed: create an environment for it, python3 -m venv view, and run '
    'view/bin/pip install -r requirements/view.txt (docs/howto/view.md); it needs Python 3.11 '
    'and numpy 2'
)
STAMP, RECEIVED = 'stamp', 'received'
"""Names of the timelines: header stamps, and times at which messages were received."""
JPEG_QUALITY = 85

try:
    import rerun as rr
except ModuleNotFoundError:
    rr = None


class ViewError(ValueError):
    """The view cannot be opened; the message names the fix."""


class RerunSink:
    """Logs items to a Rerun recording."""

    def __init__(self, name: str) -> None:
        """Start a recording; raises `ViewError` if Rerun is not installed."""
        if rr is None:
            raise ViewError(INSTALL)
        self._recording = rr.RecordingStream(f'sage {name}')
        self._blueprint: Any = None

    def save(self, path: Path) -> None:
        """Write the recording to a file; call it before the first item. Raises `OSError`."""
        with replacing(path):  # checks that the file can be written
            pass
        self._recording.save(str(path))

    def spawn(self) -> None:
        """Open the viewer of the desktop."""
        rr.spawn(connect=False, port=GRPC_PORT)
        self._recording.connect_grpc()

    def serve(self, grpc_port: int = GRPC_PORT, web_port: int = WEB_PORT) -> str:
        """Serve the viewer and the recording to a browser; return the URL to open."""
        server = rr.serve_grpc(grpc_port=grpc_port, recording=self._recording)
        rr.serve_web_viewer(web_port=web_port, open_browser=False, connect_to=server)
        return f'http://127.0.0.1:{web_port}/?url={server.replace("+", "%2B")}'

    def arrange(self, cameras: Iterable[ItemPath]) -> None:
        """Arrange the views for these cameras, if they are not those of the last call."""
        wanted = tuple(cameras)
        if wanted != self._blueprint:
            self._blueprint = wanted
            rr.send_blueprint(blueprint(wanted), recording=self._recording)

    def write(self, timed: Timed, log_time_ns: int) -> None:
        """Log an item at its stamp and its time of reception."""
        recording = self._recording
        for name, time_ns in ((STAMP, timed.stamp_ns), (RECEIVED, log_time_ns)):
            recording.set_time(name, timestamp=np.datetime64(time_ns, 'ns'))
        for content in _archetypes(timed.item):
            recording.log(list(timed.item.path), content)

    def close(self) -> None:
        """Flush what was logged."""
        self._recording.flush()
        self._recording.disconnect()


def _archetypes(item: Item) -> list[Any]:
    """Return what to log for an item; a value that is not finite is left out."""
    if isinstance(item, ImageItem):
        return [_image(item.image)]
    if isinstance(item, Boxes):
        array = np.array([[r.x, r.y, r.width, r.height] for r in item.rois], float).reshape(-1, 4)
        return [
            rr.Boxes2D(
                mins=array[:, :2],
                sizes=array[:, 2:],
                labels=list(item.labels),
                colors=list(item.colors),
                show_labels=True,
            )
        ]
    if isinstance(item, Scalar):
        return [rr.Scalars(item.value)] if math.isfinite(item.value) else []
    if isinstance(item, Text):
        return [rr.TextLog(item.text, level=item.level)]
    if isinstance(item, HeatMap):
        values = item.values.astype(np.float32)
        return [rr.Tensor(values, dim_names=('latent', 'dimension'), value_range=(-3.0, 3.0))]
    if isinstance(item, Points):
        return [
            rr.Points2D(
                item.points,
                labels=list(item.labels),
                colors=list(item.colors),
                radii=rr.Radius.ui_points(4.0),
                show_labels=False,
            )
        ]
    if isinstance(item, Graph):
        nodes = rr.GraphNodes(list(item.nodes), labels=list(item.nodes), colors=list(item.colors))
        return [nodes, rr.GraphEdges(edges=list(item.edges))]
    raise TypeError(f'{type(item).__name__} is not an item')


def _image(image: np.ndarray) -> Any:
    """Return an image, encoded as JPEG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    jpeg = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return rr.EncodedImage(contents=jpeg.tobytes(), media_type='image/jpeg')
