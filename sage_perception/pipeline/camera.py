# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Processing of the frames of one camera into crops and LCTs.

>>> camera = CameraPipeline(CropEncoder(load_crop_codec('tinyvae')), Identity('cam0'))
>>> frame = camera.process(image, stamp_ns)
>>> frame.lcts, frame.fault
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from sage_perception.core.frame import Crop
from sage_perception.core.lct import LCT
from sage_perception.pipeline.crop_encoder import CropEncoder, EncodedCrops
from sage_perception.trust.security.identity import Identity
from sage_perception.vision.attention import Attention, AttentionConfig
from sage_perception.vision.camera_health import CameraHealth, Fault


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """One processed frame of a camera.

    `size` is width and height in pixels. `crops` and `lcts` have the same order, best first;
    `lcts` are as receivers decode them. `encoded` is None in a frame without crops. `attend_s` and
    `encode_s` are the seconds that attention with camera health and the encoding took.
    """

    stamp_ns: int
    size: tuple[int, int]
    fault: Fault
    crops: list[Crop]
    encoded: EncodedCrops | None
    lcts: list[LCT]
    attend_s: float = 0.0
    encode_s: float = 0.0


class CameraPipeline:
    """Attention, camera health, and encoding for one camera.

    The result equals that of `attention_node` and `encoder_node` with the same parameters.
    `identity` gives the entity and the sequences of the LCTs.
    """

    def __init__(
        self,
        encoder: CropEncoder,
        identity: Identity,
        attention: AttentionConfig | None = None,
    ):
        self.encoder, self.identity = encoder, identity
        self.attention = Attention(attention)
        self.health = CameraHealth()

    def process(self, image: np.ndarray, stamp_ns: int, now_ns: int | None = None) -> CameraFrame:
        """Process a frame.

        `image` is uint8 `[H, W, 3]`, BGR. `stamp_ns` is the capture time and `now_ns` the present
        time on the same clock, by default the capture time. Raises `ValueError` for an image that
        attention rejects.
        """
        stamp_s = stamp_ns * 1e-9
        now_s = stamp_s if now_ns is None else now_ns * 1e-9
        begun_s = time.perf_counter()
        crops = self.attention.attend(image, stamp_s)
        fault = self.health.update(image, stamp_s, now_s)
        size = image.shape[1], image.shape[0]
        attended_s = time.perf_counter()
        attend_s = attended_s - begun_s
        if not crops:
            return CameraFrame(stamp_ns, size, fault, [], None, [], attend_s)
        encoded = self.encoder.encode_crops(crops, self.health.trust, stamp_ns)
        lcts = self.encoder.lcts(encoded.latents, stamp_ns, self.identity)
        received = [self.encoder.received(lct) for lct in lcts]
        encode_s = time.perf_counter() - attended_s
        return CameraFrame(stamp_ns, size, fault, crops, encoded, received, attend_s, encode_s)
