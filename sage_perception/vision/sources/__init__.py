# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Where frames come from: cameras, video files, folders of images, a synthetic world.

A source is named by an address, `open_source(address)`:

=============================  ============================================================
`v4l2:///dev/video0`           a Video4Linux camera; also `v4l2:///dev/v4l/by-id/…` and bare
                               `/dev/…`. Options: width, height, fps, format=MJPG|YUYV. The
                               by-id link of the device is its identity and is what is
                               reopened.
`csi://0`                      a Jetson's CSI camera by sensor number, through GStreamer.
                               Options: width=1280, height=720, fps=30, flip=0…7,
                               wbmode=0…9, mode (of the sensor).
`rtsp://host/stream`           a network camera. Options: transport=tcp|udp. All unknown
                               options are the camera's own.
`file:///data/video.avi`       a video file; also a bare path. Options: fps (instead of the
                               file's), loop=true|false, pace=realtime|fast, lock=wall.
`images:///data/folder`        the images of a folder, img2 before img10; the first one
                               sets the size. Options: fps=10, loop, pace, lock.
`synthetic://`                 seeded moving shapes (`vision/synthetic.py`). Options: seed=0,
                               objects=3, width=640, height=480, fps=30, flicker=0, pace,
                               lock.
=============================  ============================================================

Options follow a question mark: `file:///data/video.avi?fps=30&size=640x480`. All sources take

- `roi=X,Y,WIDTH,HEIGHT`: a window of the source's image, as of a second, virtual camera;
- `size=WIDTHxHEIGHT`: scale the window to this size;
- `gain=1.15`: multiply the gray levels, saturating, as a longer exposure would.

With `pace=realtime`, the default, each frame is due at its time and a late reader misses frames
(the index jumps); `pace=fast` hands out every frame at once. With `lock=wall` the frame on show
is a function of the wall clock, floor(time · fps) modulo the length, so that independent processes
play the same footage in step, like genlocked cameras. In a path, write ? as %3F and % as %25 (not
in bare paths, which cannot hold a question mark).
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
