# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reads calibration files of `camera_calibration`."""

from __future__ import annotations

from urllib.parse import unquote, urlparse

import yaml
from sensor_msgs.msg import CameraInfo

from sage_perception.ros.errors import ConfigurationError

# Field of the message: name in the file, number of elements (None: depends on the model).
_MATRICES = {
    'd': ('distortion_coefficients', None),
    'k': ('camera_matrix', 9),
    'r': ('rectification_matrix', 9),
    'p': ('projection_matrix', 12),
}


def load_camera_info(url: str) -> CameraInfo:
    """Return the calibration in a file.

    Args:
        url: a `file://` URL or a path; empty for an uncalibrated camera.

    Raises:
        ConfigurationError: the file cannot be read, or is not a calibration.
    """
    if not url:
        return CameraInfo()
    parsed = urlparse(url)
    if parsed.scheme not in ('', 'file'):
        raise ConfigurationError(
            f"parameter 'camera_info_url': {url!r} is neither a file:// URL nor a path"
        )
    path = unquote(parsed.path) if parsed.scheme else url
    try:
        with open(path) as file:
            data = yaml.safe_load(file)
        info = CameraInfo(
            width=_side(data['image_width']),
            height=_side(data['image_height']),
            distortion_model=str(data['distortion_model']),
        )
        for field, (name, size) in _MATRICES.items():
            numbers = [float(number) for number in data[name]['data']]
            if len(numbers) != (size or len(numbers)):
                raise ValueError(f'{name} has {len(numbers)} elements, not {size}')
            setattr(info, field, numbers)
    except OSError as error:
        raise ConfigurationError(f"parameter 'camera_info_url': {error}") from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"parameter 'camera_info_url': {path} is not a calibration: "
            f'{type(error).__name__} {error}'
        ) from None
    return info


def _side(pixels: int) -> int:
    if type(pixels) is not int or not 0 < pixels < 2**16:
        raise ValueError(f'{pixels!r} is not a size in pixels')
    return pixels
