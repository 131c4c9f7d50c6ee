# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Topic names of earlier releases, for bags that were recorded with them.

The message types did not change between 0.1 and 0.2. The table maps the last part of a topic and
its type to the last part of the current name.
"""

_RENAMED = {
    ('deltas', 'sage_msgs/msg/CropArray'): 'residuals',
    ('probes', 'sage_msgs/msg/ProbeSet'): 'probe_latents',
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
