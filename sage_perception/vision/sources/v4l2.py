# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""USB and other Video4Linux cameras, addressed so that they are found again after unplugging."""

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
CAPABILITY = struct.Struct('=16s32s32sII I 12x')  # driver, card, bus, version, all, this node's
CAN_CAPTURE = 0x00000001 | 0x00001000  # single- and multi-planar
HAS_NODE_CAPABILITIES = 0x80000000

LINK_FOLDERS = ('/dev/v4l/by-id', '/dev/v4l/by-path')
LATEST_STAMP_NS = 1_000_000_000  # a driver's stamp further back than this is another clock's


def open_v4l2(uri: SourceUri) -> LiveSource:
    """Open a camera by device or link; its by-id link becomes its identity."""
    path = stable_path(uri.path)
    trouble = camera_trouble(path)
    if trouble:
        raise uri.unavailable(f'camera {path} {trouble}')
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
        f'or {explain(errno.ENOSPC)}',
        reopen=uri.at(path),
        stamp=lambda opened: capture_stamp(opened.get(cv2.CAP_PROP_POS_MSEC), time.monotonic_ns()),
    )


def capture_stamp(driver_ms: float, now_ns: int) -> int:
    """Return when the image was captured, monotonic ns.

    The kernel stamps buffers on CLOCK_MONOTONIC, which OpenCV hands on as milliseconds; a value
    that is not just past (a driver on another clock, a backend without stamps) gives `now_ns`.
    """
    if not driver_ms > 0 or driver_ms > now_ns:  # the latter also excludes infinity
        return now_ns
    stamp_ns = round(driver_ms * 1e6)
    return stamp_ns if now_ns - LATEST_STAMP_NS < stamp_ns <= now_ns else now_ns


def stable_path(path: str, folders: tuple[str, ...] = LINK_FOLDERS) -> str:
    """Return the link that will lead to this camera wherever it is plugged in, else `path`.

    By model and serial number if there is such a link, else by the socket it is plugged into.
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


def camera_trouble(path: str) -> str:
    """Return why `path` cannot be used as a camera, with the fix; '' if it looks well."""
    try:
        device = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return explain(error.errno)
    try:
        answer = fcntl.ioctl(device, VIDIOC_QUERYCAP, bytes(CAPABILITY.size))
    except OSError:
        return 'is not a Video4Linux device'
    finally:
        os.close(device)
    *_, whole, node = CAPABILITY.unpack(answer)
    if not (node if whole & HAS_NODE_CAPABILITIES else whole) & CAN_CAPTURE:
        return "captures no video (a camera's metadata node?); use its link ending in index0"
    return ''


def explain(code: int) -> str:
    """Return what an error number of a camera means, and what to do."""
    known = {
        errno.ENOENT: 'is not there; plug it in; "ls -l /dev/v4l/by-id" lists those that are',
        errno.EACCES: 'may not be opened by this user; run "sudo usermod -aG video $USER" '
        '(the group video) and log in again',
        errno.EBUSY: 'is in use by another program; "fuser -v /dev/video*" shows which one',
        errno.ENOSPC: 'the USB bus has no bandwidth left for it; use format=MJPG, a smaller width '
        'and height or fps, or a socket of another USB controller',
        errno.ENODEV: 'is gone or does not answer; unplug it and plug it in again',
    }
    for alike, code_known in ((errno.EPERM, errno.EACCES), (errno.ENXIO, errno.ENODEV)):
        known[alike] = known[code_known]
    return known.get(code, f'cannot be opened: {os.strerror(code)}')
