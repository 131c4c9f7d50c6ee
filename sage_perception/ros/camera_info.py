# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reads calibration files of `camera_calibration`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

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
        return _camera_info(read_mapping(Path(path)))
    except OSError as error:
        raise ConfigurationError(f"parameter 'camera_info_url': {error}") from None
    except ValueError as error:
        reason = str(error).removeprefix(path).lstrip(':, ')
        raise ConfigurationError(
            f"parameter 'camera_info_url': {path} is not a calibration: {reason}"
        ) from None


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
