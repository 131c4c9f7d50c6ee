# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The sizes of LCT arrays as messages, without serializing each of them.

rclpy serializes a message several times slower than a publisher does, because it looks up the
functions of its type again.
"""

from __future__ import annotations

from rclpy.serialization import serialize_message
from sage_msgs.msg import LCTArray

MAX_FORMS = 256
"""Maximum number of forms whose size is remembered; beyond that all are forgotten."""


class ArraySizes:
    """The sizes of serialized arrays of crops.

    In CDR, arrays with the same numbers of elements differ in size only by the payloads, each
    rounded up to the alignment of the number that follows it, and by the energies of telemetry.
    One array of each form is serialized.
    """

    def __init__(self) -> None:
        self._fixed: dict[tuple[int, ...], int] = {}

    def of(self, message: LCTArray) -> int:
        """Return the bytes of an array without complete `lcts`, as of `serialize_message`."""
        codes = [code for crop in message.crops for code in crop.codes]
        size = sum(-(-len(code.payload) // 4) * 4 for code in codes)
        size += sum(4 * len(each.energy_trajectory) for each in message.telemetry)
        texts = [message.header.frame_id, message.camera]
        texts += [text for model in message.models for text in (model.name, model.version)]
        form = (
            len(message.crops),
            len(codes),
            len(message.telemetry),
            len(message.snarc),
            len(message.signature),
            *(len(text.encode()) for text in texts),
        )
        if form not in self._fixed:
            if len(self._fixed) >= MAX_FORMS:
                self._fixed.clear()
            self._fixed[form] = len(serialize_message(message)) - size
        return self._fixed[form] + size
