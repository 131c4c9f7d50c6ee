# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Read messages by the names of their fields: those of rclpy and those decoded from a bag."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from sage_perception.core.latent import LatentKind, Roi
from sage_perception.vision.image_messages import to_bgr
from sage_perception.vision.intensity_range import IntensityRange


def stamp_ns(message: Any) -> int:
    """Return the header stamp of a message, nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def roi_of(message: Any) -> Roi:
    """Return a `sensor_msgs/RegionOfInterest` as a region."""
    return Roi(
        int(message.x_offset), int(message.y_offset), int(message.width), int(message.height)
    )


def lcts_of(message: Any) -> list[Any]:
    """Return the LCTs of a `sage_msgs/LCTArray` with the fields of `sage_msgs/LCT` that are drawn.

    Raises `ValueError` for an LCT without codes.
    """
    return [_lct_of(message, crop) for crop in getattr(message, 'crops', ())] + [*message.lcts]


def _lct_of(message: Any, crop: Any) -> Any:
    if not len(crop.codes):
        raise ValueError('an LCT has no codes; the first one is its latent')
    first = crop.codes[0]
    payload = np.asarray(first.payload, np.uint8).tobytes()
    plain = not first.encoding and len(payload) % 4 == 0
    latent = SimpleNamespace(
        encoding=first.encoding,
        mean=np.frombuffer(payload, '<f4') if plain else (),
        log_var=(),
        payload=b'' if plain else payload,
        model=SimpleNamespace(name='', version='', fingerprint=message.model),
        roi=crop,
        track_id=crop.track_id,
    )
    return SimpleNamespace(trust=crop.trust, stamp=message.header.stamp, latent=latent)


def semantic_codes_of(message: Any) -> list[tuple[int, bytes, bytes]]:
    """Return track, space and payload of the semantic codes of a `sage_msgs/LCTArray`.

    Codes of models that the message does not list are left out.
    """
    models = [
        getattr(message, 'model', b''),
        *(m.fingerprint for m in getattr(message, 'models', ())),
    ]
    return [
        (
            int(crop.track_id),
            np.asarray(models[code.model], np.uint8).tobytes(),
            np.asarray(code.payload, np.uint8).tobytes(),
        )
        for crop in getattr(message, 'crops', ())
        for code in crop.codes
        if int(code.kind) == LatentKind.SEMANTIC and int(code.model) < len(models)
    ]


def rgb_of(message: Any, intensity: IntensityRange | None = None) -> np.ndarray:
    """Return an Image or a CompressedImage as uint8 RGB `[H, W, 3]`; raises `ValueError`.

    `intensity` is the range of the stream, for pixels of more than 8 bits.
    """
    return cv2.cvtColor(to_bgr(message, intensity), cv2.COLOR_BGR2RGB)
