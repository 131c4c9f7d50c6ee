# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Bags that were recorded with earlier releases: names of topics, and message types.

Releases 0.1 and 0.2 have the same message types. Release 0.3 changed some of them; messages of the
old ones are converted when they are read. Their signatures stay valid, since an LCT that is signed
alone has the same signed bytes in all releases.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

try:
    from rclpy.serialization import serialize_message
except ModuleNotFoundError:  # ROS is not installed: messages are read with their old types
    serialize_message = None

# The last part of a topic of an earlier release, and its type: the last part of the current name.
_RENAMED = {
    ('deltas', 'sage_msgs/msg/CropArray'): 'residuals',
    ('probes', 'sage_msgs/msg/ProbeSet'): 'probe_latents',
}

# RIHS01 hashes of the types of release 0.2 that have other fields now.
_CHANGED = {
    'RIHS01_41965f21b7c3d13dd1b6f82951720d722bae85c444fbeada3ae32f1029846a5d',  # LCTArray
    'RIHS01_2ba4d3743ceb345426fbf8c8d4f2a482584e5409a7c88e778893bc3f168ee5be',  # LatentArray
    'RIHS01_30bce9c00fb6745bee0cf85905fe74da0ca4cd224ba3baa12bc9d71eefe167cf',  # HContext
    'RIHS01_48a56b35ad6b07cef609a3d72d0e055789501e20e4ab8bc67bc5c71bb2170d72',  # CropArray
    'RIHS01_f7716a38cb4e96a77c0aa3f179294305428ee1a32b71170e5a8794bfb96c267f',  # AgreementArray
    'RIHS01_71f61a7e42675bf9e583f13a963422ff7e2b3f578323403fe359e15af738fe1e',  # SnarcArray
    'RIHS01_6000a74840fd6479ad662f49343d90d0b3d00f08320b65dbd8f7c7ba994ca884',  # TrustReport
}


def current_name(topic: str, type_name: str) -> str:
    """Return the current name of a recorded topic, for example /cam0/residuals.

    Args:
        topic: the recorded name.
        type_name: the type, for example 'sage_msgs/msg/CropArray'; topics of other types that
            happen to have an old name are not renamed.
    """
    head, separator, last = topic.rpartition('/')
    return head + separator + _RENAMED.get((last, type_name), last)


def is_convertible(type_hash: str) -> bool:
    """Return whether messages of a recorded type are converted to the installed type."""
    return serialize_message is not None and type_hash in _CHANGED


def converted(message: Any, kind: type, class_of: Callable[[str], type]) -> bytes:
    """Return a message of an earlier release as a serialized message of the type `kind`.

    `message` is an object of the `rosbags` library; `class_of` returns the class of a message
    type by its name. Fields that the type no longer has are dropped, new ones have their defaults,
    and a field that became a list is a list with one element.
    """
    return bytes(serialize_message(_convert(message, kind, class_of)))


def _convert(message: Any, kind: Any, class_of: Callable[[str], type]) -> Any:
    result = kind()
    for name, field_type in kind.get_fields_and_field_types().items():
        if hasattr(message, name):
            setattr(result, name, _value(getattr(message, name), field_type, class_of))
    return result


def _value(value: Any, field_type: str, class_of: Callable[[str], type]) -> Any:
    """Return the value of a field; `field_type` as in `sequence<sage_msgs/Latent, 64>`."""
    element = field_type.removeprefix('sequence<').partition(',')[0].rstrip('>').partition('[')[0]
    is_list = field_type.startswith('sequence<') or '[' in field_type
    if '/' in element:
        package, _, name = element.partition('/')
        kind = class_of(f'{package}/msg/{name}')
        if not is_list:
            return _convert(value, kind, class_of)
        values = value if isinstance(value, list) else [value]
        return [_convert(each, kind, class_of) for each in values]
    if isinstance(value, np.ndarray) and field_type.startswith('sequence<'):
        return array(value.dtype.char, value.tobytes())
    return value
