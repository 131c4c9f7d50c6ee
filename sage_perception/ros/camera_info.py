# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reads calibration files of `camera_calibration`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ament_index_python.packages import get_package_share_directory
from sensor_msgs.msg import CameraInfo

from sage_perception.core.yaml_file import read_mapping
from sage_perception.ros.errors import ConfigurationError

# Field of the message: name in the file, number of elements (None: depends on the model).
_MATRICES = {
    'd': ('distortion_coefficients', None),
    'k': ('camera_matrix', 9),
    'r': ('rectification_matrix', 9),
    'p': ('projection_matrix', 12),
}


def load_camera_info(url: str, camera: str = 'camera') -> CameraInfo:
    """Return the calibration in a file.

    Args:
        url: a path, or a URL as camera_info_manager takes it (see `path_of`); empty for an
            uncalibrated camera.
        camera: name of the camera.

    Raises:
        ConfigurationError: the file cannot be read, or is not a calibration.
    """
    if not url:
        return CameraInfo()
    try:
        path = path_of(url, camera)
    except ValueError as error:
        raise ConfigurationError(f"parameter 'camera_info_url': {error}") from None
    try:
        return _camera_info(read_mapping(Path(path)))
    except OSError as error:
        raise ConfigurationError(
            f"parameter 'camera_info_url': {path}: {error.strerror}"
        ) from None
    except ValueError as error:
        reason = str(error).removeprefix(path).lstrip(':, ')
        raise ConfigurationError(
            f"parameter 'camera_info_url': {path} is not a calibration: {reason}"
        ) from None


def path_of(url: str, camera: str) -> str:
    """Return the path that a URL of a calibration names.

    Substitutes `${NAME}` by the name of the camera and `${ROS_HOME}` by that folder (default:
    ~/.ros), as camera_info_manager does, and other variables by those of the environment.
    `package://PACKAGE/FILE` is in the share folder of a ROS package. `~` is the home folder.

    Raises:
        ValueError: the URL is invalid, or a variable or package does not exist.
    """
    known = {'ROS_HOME': str(Path.home() / '.ros'), **os.environ, 'NAME': camera}

    def substitute(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise ValueError(f'{url!r}: there is no environment variable {match[1]}')
        return known[match[1]]

    text = re.sub(r'\$\{(\w+)\}', substitute, url)
    scheme, separator, rest = text.partition('://')
    if not separator:
        return os.path.expanduser(text)
    if scheme == 'package':
        return _path_in_package(url, unquote(rest))
    if scheme != 'file':
        raise ValueError(f'{url!r} is neither a file:// or package:// URL nor a path')
    path = os.path.expanduser(unquote(rest).removeprefix('localhost'))
    if not path.startswith('/'):
        raise ValueError(f'{url!r} has no absolute path: write file:///{path}')
    return path


def _path_in_package(url: str, place: str) -> str:
    package, _, file = place.partition('/')
    try:
        return str(Path(get_package_share_directory(package), file))
    except (LookupError, ValueError):  # PackageNotFoundError is a KeyError
        raise ValueError(f'{url!r}: there is no ROS package {package!r}') from None


def _camera_info(data: Mapping[Any, Any]) -> CameraInfo:
    """Return the content of a calibration file as a message; raise `ValueError` for a fault."""
    info = CameraInfo(
        width=_side(data, 'image_width'),
        height=_side(data, 'image_height'),
        distortion_model=_text(data, 'distortion_model'),
    )
    for field, (name, size) in _MATRICES.items():
        setattr(info, field, _elements(data, name, size))
    return info


def _entry(data: Mapping[Any, Any], name: str) -> Any:
    if name not in data:
        raise ValueError(f'{name} is missing')
    return data[name]


def _side(data: Mapping[Any, Any], name: str) -> int:
    pixels = _entry(data, name)
    if type(pixels) is not int or not 0 < pixels < 2**16:
        raise ValueError(f'{name} {pixels!r} is not a size in pixels')
    return pixels


def _text(data: Mapping[Any, Any], name: str) -> str:
    text = _entry(data, name)
    # YAML can escape surrogates, which no message can transport.
    if not isinstance(text, str) or not text.isprintable():
        raise ValueError(f'{name} {text!r} is not printable text')
    return text


def _elements(data: Mapping[Any, Any], name: str, size: int | None) -> list[float]:
    """Return the elements of a matrix, of which there must be `size` unless it is None."""
    matrix = _entry(data, name)
    elements = matrix.get('data') if isinstance(matrix, dict) else None
    if not isinstance(elements, list):
        raise ValueError(f'{name} has no list of numbers named data')
    if size is not None and len(elements) != size:
        raise ValueError(f'{name} has {len(elements)} elements, not {size}')
    return [_number(element, name) for element in elements]


def _number(element: object, name: str) -> float:
    # Strings such as 1e-3 are numbers in YAML 1.2, but PyYAML implements version 1.1.
    if isinstance(element, (int, float, str)):
        try:
            return float(element)
        except (ValueError, OverflowError):
            pass
    raise ValueError(f'{name} contains {element!r:.40}, which is not a number')
