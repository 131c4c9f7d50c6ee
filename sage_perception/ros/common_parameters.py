# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters that several nodes have in common."""

from sage_perception.core.track_ids import MAX_ID
from sage_perception.ros.parameters import Parameter

AUTOSTART = Parameter(
    'autostart',
    True,
    'Configure and activate the node at start; false leaves the transitions to a lifecycle '
    'manager.',
    read_only=True,
)

CAMERAS = Parameter(
    'cameras',
    ['cam0', 'cam1'],
    'Namespaces of the cameras, relative to this node. The first camera is the primary one.',
    read_only=True,
)

CAMERA_ENTITIES = Parameter(
    'camera_entities',
    '',
    'Entities that sign for the cameras, as camera=entity, separated by commas. Default for each '
    'camera: its namespace. If signatures are required, LCTs of any other entity on the topics of '
    'a camera are rejected.',
    read_only=True,
)

IMAGE_TRANSPORT = Parameter(
    'image_transport',
    'auto',
    'Transport of the images: raw; compressed: CompressedImage on the topic of the images with '
    '/compressed appended, as in image_transport; auto: raw, but compressed if only compressed '
    'images are published.',
    choices=('auto', 'raw', 'compressed'),
    read_only=True,
)

MAX_AGE = Parameter(
    'max_age_s',
    0.5,
    'Messages that have waited longer for this node are dropped and counted as late in '
    'diagnostics, seconds; 0: none are dropped.',
    minimum=0.0,
    maximum=60.0,
    read_only=True,
)

FIRST_TRACK_ID = Parameter(
    'first_track_id',
    0,
    'Id of the first track; 0: from the clock at start, 100 ids for each second, so that a node '
    'that starts again does not reuse the ids that it used before.',
    minimum=0,
    maximum=MAX_ID,
    read_only=True,
)


def rate(default: float, description: str, maximum: float) -> Parameter:
    """Return the parameter that sets the rate of a node, Hz."""
    return Parameter('rate', default, description, minimum=0.1, maximum=maximum, read_only=True)


def threads(library: str) -> Parameter:
    """Return the parameter that bounds the threads of a library in the process of a node."""
    return Parameter(
        'threads',
        1,
        f'Threads of {library}. The nodes of a graph already share the cores.',
        minimum=1,
        maximum=64,
        read_only=True,
    )


ENTITY_ID = Parameter(
    'entity_id',
    '',
    'Entity id in the LCTs; empty: the namespace of the node.',
    read_only=True,
)
