# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the calibration files that `camera_calibration` writes."""

from __future__ import annotations

from urllib.parse import unquote, urlparse

import yaml
from sensor_msgs.msg import CameraInfo

from sage_perception.ros.errors import ConfigurationError

_MATRICES = {
    'd': 'distortion_coefficients',
    'k': 'camera_matrix',
    'r': 'rectification_matrix',
    'p': 'projection_matrix',
}


def load_camera_info(url: str) -> CameraInfo:
    """Return the calibration at `url`, a `file://` URL or a path; uncalibrated when empty.

    Raises:
        ConfigurationError: it is not there, or not a calibration.
    """
    if not url:
        return CameraInfo()
    parsed = urlparse(url)
    if parsed.scheme not in ('', 'file'):
        raise ConfigurationError(
            f"parameter 'camera_info_url': {url!r} is neither file://... nor a path"
        )
    path = unquote(parsed.path)
    try:
        with open(path) as file:
            data = yaml.safe_load(file)
        info = CameraInfo(
            width=data['image_width'],
            height=data['image_height'],
            distortion_model=data['distortion_model'],
        )
        for field, name in _MATRICES.items():
            setattr(info, field, [float(number) for number in data[name]['data']])
    except OSError as error:
        raise ConfigurationError(f"parameter 'camera_info_url': {error}") from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AssertionError) as error:
        raise ConfigurationError(
            f"parameter 'camera_info_url': {path} is not a calibration: "
            f'{type(error).__name__} {error}'
        ) from None
    return info
