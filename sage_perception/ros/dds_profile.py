# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The profile of Fast DDS for the process of a node: how much shared memory it reserves.

Fast DDS makes a whole segment resident when a process starts, whatever the process sends.
"""

from __future__ import annotations

import os
from typing import Any

from sensor_msgs.msg import CompressedImage, Image

from sage_perception.bringup.environment import config_path

DEFAULT = 'fastdds_shm.xml'
COMPOSED = 'fastdds_composed.xml'
WITHOUT_IMAGES = 'fastdds_small.xml'


def select_profile(name: str) -> None:
    """Select another profile of `config/` where `DEFAULT` is selected; call it before `init`.

    A profile of the user, and another middleware, stay as they are.
    """
    for variable in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        if os.path.basename(os.environ.get(variable, '')) == DEFAULT:
            os.environ[variable] = str(config_path(name))


def sends_images(node: Any) -> bool:
    """Return whether a node class publishes whole images; True for another function."""
    topics = getattr(node, 'PUBLISHES', None)
    return topics is None or any(topic.type in (Image, CompressedImage) for topic in topics)
