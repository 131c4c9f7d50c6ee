# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Frame sources: cameras, video files, folders of images, a synthetic world.

`open_source(uri)` opens a source by its URI:

=============================  ============================================================
`v4l2:///dev/video0`           A Video4Linux camera; also `v4l2:///dev/v4l/by-id/…` and a
                               bare `/dev/…`. Options: width, height, fps,
                               format=MJPG|YUYV. The by-id link of the device is its
                               identity and is used to reopen it.
`csi://0`                      A Jetson CSI camera by sensor number, through GStreamer.
                               Options: width=1280, height=720, fps=30, flip=0…7,
                               wbmode=0…9, mode (of the sensor).
`rtsp://host/stream`           A network camera. Option: transport=tcp|udp. Unknown options
                               are passed to the camera.
`file:///data/video.avi`       A video file; also a bare path. Options: fps (default: each
                               frame at the time that the file gives it), loop=true|false,
                               pace=realtime|fast, lock=wall. Frames that cannot be decoded
                               are passed over.
`images:///data/folder`        The images of a folder in natural order (img2 before img10).
                               The first one sets the size; others are scaled to fit, with
                               black bars. Options: fps=10, loop, pace, lock.
`synthetic://`                 Seeded moving shapes (`vision/synthetic.py`). Options: seed=0,
                               objects=3, width=640, height=480, fps=30, flicker=0, pace,
                               lock.
=============================  ============================================================

Options follow a question mark: `file:///data/video.avi?fps=30&size=640x480`. All sources accept

- `roi=X,Y,WIDTH,HEIGHT`: crop the image, to simulate a second camera;
- `size=WIDTHxHEIGHT`: scale the (cropped) image to this size;
- `gain=1.15`: multiply the gray levels, with saturation, to simulate a longer exposure.

Footage (`file`, `images`, `synthetic`) also accepts

- `pan=60`: move the `roi` horizontally by 60 pixels per second, between the edges of the image;
- `shake=4`: shake the `roi` by up to 4 pixels. Both are functions of the playback time, see
  `moving_window.MovingWindow`.

With `pace=realtime` (default) each frame is due at its time, and a slow reader skips frames: the
index jumps. With `pace=fast` each frame is due immediately. With `lock=wall` the current frame is
a function of the wall clock, the integer part of time · fps modulo the length, so that processes
play the same footage synchronously, like genlocked cameras. In a path, write ? as %3F and % as %25
(not in bare paths, which cannot contain a question mark).
"""

from __future__ import annotations

from sage_perception.vision.sources.base import (
    EndOfStream,
    FrameSource,
    SourceError,
    SourceLost,
    SourceUnavailable,
)
from sage_perception.vision.sources.csi import csi_pipeline
from sage_perception.vision.sources.opening import open_source
from sage_perception.vision.sources.reconnect import Connection, ReconnectingSource

__all__ = [
    'Connection',
    'EndOfStream',
    'FrameSource',
    'ReconnectingSource',
    'SourceError',
    'SourceLost',
    'SourceUnavailable',
    'csi_pipeline',
    'open_source',
]
