# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""USB and other Video4Linux cameras, addressed by a name that survives unplugging."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time

import cv2

from sage_perception.vision.sources.live import LiveSource
from sage_perception.vision.sources.uri import SourceUri

# linux/videodev2.h
VIDIOC_QUERYCAP = 0x80685600
CAPABILITY = struct.Struct('=16s32s32sII I 12x')  # driver, card, bus, version, device, node
CAN_CAPTURE = 0x00000001 | 0x00001000  # single- and multi-planar
HAS_NODE_CAPABILITIES = 0x80000000

LINK_FOLDERS = ('/dev/v4l/by-id', '/dev/v4l/by-path')
MAX_STAMP_AGE_NS = 1_000_000_000  # an older stamp is from another clock


def open_v4l2(uri: SourceUri) -> LiveSource:
    """Open a camera by device or link; its by-id link is its identity."""
    path = stable_path(uri.path)
    problem = camera_problem(path)
    if problem:
        raise uri.unavailable(f'camera {path} {problem}')
    capture = cv2.VideoCapture(path, cv2.CAP_V4L2)
    if not capture.isOpened():
        raise uri.unavailable(f'camera {path} {explain(errno.EBUSY)}')
    options = uri.options
    if 'format' in options:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*options['format']))
    for name, number in (
        ('width', cv2.CAP_PROP_FRAME_WIDTH),
        ('height', cv2.CAP_PROP_FRAME_HEIGHT),
        ('fps', cv2.CAP_PROP_FPS),
    ):
        if name in options:
            capture.set(number, options[name])
    return LiveSource(
        uri,
        capture,
        identity=f'v4l2://{path}',
        silent=f'camera {path} opens but delivers no image: it {explain(errno.EBUSY)}; '
        f'or it {explain(errno.ENOSPC)}',
        reopen=uri.at(path),
        stamp=lambda opened: capture_stamp(opened.get(cv2.CAP_PROP_POS_MSEC), time.monotonic_ns()),
    )


def capture_stamp(driver_ms: float, now_ns: int) -> int:
    """Return the time of capture, monotonic ns.

    The kernel stamps buffers with CLOCK_MONOTONIC, which OpenCV returns in milliseconds. If
    `driver_ms` is not within the last second (a driver with another clock, a backend without
    stamps), the result is `now_ns`.
    """
    if not driver_ms > 0 or driver_ms > now_ns:  # the latter also excludes infinity
        return now_ns
    stamp_ns = round(driver_ms * 1e6)
    return stamp_ns if now_ns - MAX_STAMP_AGE_NS < stamp_ns <= now_ns else now_ns


def stable_path(path: str, folders: tuple[str, ...] = LINK_FOLDERS) -> str:
    """Return a link to this camera that survives unplugging, else `path`.

    A link by model and serial number is preferred to one by port.
    """
    if os.path.dirname(path) in folders:
        return path
    device = os.path.realpath(path)
    for folder in folders:
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            link = os.path.join(folder, name)
            if os.path.realpath(link) == device:
                return link
    return path


def camera_problem(path: str) -> str:
    """Return the reason why `path` is not a usable camera, and the fix; empty if it is usable."""
    try:
        device = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return explain(error.errno or errno.ENODEV)
    try:
        answer = fcntl.ioctl(device, VIDIOC_QUERYCAP, bytes(CAPABILITY.size))
    except OSError:
        return 'is not a Video4Linux device'
    finally:
        os.close(device)
    *_, device_caps, node_caps = CAPABILITY.unpack(answer)
    if not (node_caps if device_caps & HAS_NODE_CAPABILITIES else device_caps) & CAN_CAPTURE:
        return 'captures no video (it may be a metadata node); use the link ending in index0'
    return ''


def explain(code: int) -> str:
    """Return the meaning of a camera's error number, and the fix."""
    known = {
        errno.ENOENT: 'does not exist; plug it in; "ls -l /dev/v4l/by-id" lists the '
        'connected cameras',
        errno.EACCES: 'cannot be opened by this user; run "sudo usermod -aG video $USER" '
        'and log in again',
        errno.EBUSY: 'is in use by another program; "fuser -v /dev/video*" shows which one',
        errno.ENOSPC: 'exceeds the bandwidth of the USB bus; use format=MJPG, a smaller width, '
        'height or fps, or a port of another USB controller',
        errno.ENODEV: 'does not respond; unplug it and plug it in again',
    }
    for alike, code_known in ((errno.EPERM, errno.EACCES), (errno.ENXIO, errno.ENODEV)):
        known[alike] = known[code_known]
    return known.get(code, f'cannot be opened: {os.strerror(code)}')
