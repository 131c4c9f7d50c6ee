# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Models, video decoding, GPU and cameras."""

from __future__ import annotations

import glob
import os
from importlib.util import find_spec

from sage_perception.installation.finding import MISSING, OK, OPTIONAL, Finding


def gstreamer() -> Finding:
    """Check that OpenCV can open the CSI cameras of a Jetson."""
    import cv2

    lines = cv2.getBuildInformation().splitlines()
    if any('GStreamer' in line and 'YES' in line for line in lines):
        return Finding('GStreamer', OK, 'OpenCV supports csi:// cameras')
    fix = 'apt install python3-opencv; only csi:// cameras require it'
    return Finding(
        'GStreamer', OPTIONAL, 'not supported by this OpenCV; required for csi:// cameras', fix
    )


def cuda() -> Finding:
    """Check whether torch finds a GPU."""
    if find_spec('torch') is not None:
        import torch

        if torch.cuda.is_available():
            return Finding('CUDA', OK, torch.cuda.get_device_name(0))
    fix = 'none required; to use a GPU, install the torch build for it or for JetPack'
    return Finding('CUDA', OPTIONAL, 'torch finds no GPU', fix)


def model() -> Finding:
    """Check that the default model can be loaded."""
    from sage_perception.models import load_codec

    codec = load_codec('tinyvae')
    return Finding('model', OK, f'{codec.id} on {codec.backend}')


def cameras() -> Finding:
    """Check that this user may open the V4L2 cameras."""
    devices = sorted(glob.glob('/dev/video*'))
    if not devices:
        return Finding(
            'cameras',
            OPTIONAL,
            'no /dev/video*',
            'connect a camera, or use a file://, rtsp:// or synthetic:// source',
        )
    closed = [device for device in devices if not os.access(device, os.R_OK | os.W_OK)]
    if closed:
        fix = 'run "sudo usermod -aG video $USER" and log in again'
        return Finding('cameras', MISSING, f'no permission for {", ".join(closed)}', fix)
    return Finding('cameras', OK, ', '.join(devices))
