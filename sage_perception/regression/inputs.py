# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Processing of the recorded messages of one camera, up to its LCTs.

Each class has a method `process`, which may run in a thread of its own. The result depends only on
the messages of the camera, in their order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message

from sage_perception.bags.definitions import message_class
from sage_perception.bags.reader import BagMessage
from sage_perception.core.frame import Crop
from sage_perception.core.lct import LCT
from sage_perception.core.text import one_line
from sage_perception.pipeline.camera import CameraPipeline
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.ros.conversions.crops import crop_from_msg
from sage_perception.ros.conversions.latents import latent_size_bytes
from sage_perception.ros.conversions.lct_arrays import received_lcts
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.images import bgr_from_msg
from sage_perception.trust.security.canonical import PLAIN, Wire
from sage_perception.trust.security.identity import Identity
from sage_perception.vision.camera_health import TRUST, Fault
from sage_perception.vision.intensity_range import IntensityRange


@dataclass(eq=False)
class Processed:
    """What one recorded message became.

    `rejected` is the reason why it could not be used, or ''. `lcts` are as received, with the wire
    encoding of each latent; None stands for a message that is not an LCT. `image` and `inputs` are
    as in `events.FrameEvent`.
    """

    stamp_ns: int
    size: tuple[int, int] = (0, 0)
    fault: Fault = Fault.UNKNOWN
    crops: Sequence[Crop] = ()
    lcts: list[tuple[LCT, Wire] | None] = field(default_factory=list)
    rejected: str = ''
    image: np.ndarray | None = None
    inputs: np.ndarray | None = None
    size_bytes: int = 0
    stages_s: dict[str, float] = field(default_factory=dict)


class ImageInput:
    """Images: attention, camera health and encoding, by `CameraPipeline`."""

    def __init__(self, pipeline: CameraPipeline) -> None:
        self._pipeline = pipeline
        self._intensity = IntensityRange()

    def process(self, message: BagMessage) -> Processed:
        """Return the crops and LCTs of an image."""
        begun_s = time.perf_counter()
        parsed, done = _parse(message)
        if parsed is None:
            return done
        try:
            image = bgr_from_msg(parsed, self._intensity)
            decoded_s = time.perf_counter()
            frame = self._pipeline.process(image, done.stamp_ns)
        except ValueError as error:
            done.rejected = one_line(error)
            return done
        encoder, identity = self._pipeline.encoder, self._pipeline.identity
        return Processed(
            done.stamp_ns,
            frame.size,
            frame.fault,
            frame.crops,
            [(identity.sign(lct), PLAIN) for lct in frame.lcts],
            image=image,
            inputs=None if frame.encoded is None else frame.encoded.inputs,
            size_bytes=_size_bytes(frame.lcts, encoder),
            stages_s={
                'decode': decoded_s - begun_s,
                'attend': frame.attend_s,
                'encode': frame.encode_s,
            },
        )


class CropInput:
    """Recorded crops: the encoding, as `encoder_node` does it."""

    def __init__(self, encoder: CropEncoder, identity: Identity) -> None:
        self._encoder, self._identity = encoder, identity

    def process(self, message: BagMessage) -> Processed:
        """Return the LCTs of the crops of a frame."""
        begun_s = time.perf_counter()
        array, done = _parse(message)
        if array is None:
            return done
        done.size = array.source_width, array.source_height
        try:
            done.fault = Fault(array.fault)
            done.crops = [crop_from_msg(crop) for crop in array.crops]
        except ValueError as error:
            done.rejected = one_line(error)
            return done
        decoded_s = time.perf_counter()
        if done.crops:
            encoded = self._encoder.encode_crops(done.crops, TRUST[done.fault], done.stamp_ns)
            lcts = self._encoder.lcts(encoded.latents, done.stamp_ns, self._identity)
            received = [self._encoder.received(lct) for lct in lcts]
            done.lcts = [(self._identity.sign(lct), PLAIN) for lct in received]
            done.inputs = encoded.inputs
            done.size_bytes = _size_bytes(received, self._encoder)
        encoded_s = time.perf_counter()
        done.stages_s = {'decode': decoded_s - begun_s, 'encode': encoded_s - decoded_s}
        return done


class LctInput:
    """Recorded LCTs: their conversion; the arbiter judges them."""

    def process(self, message: BagMessage) -> Processed:
        """Return the LCTs of an array."""
        begun_s = time.perf_counter()
        array, done = _parse(message)
        if array is None:
            return done
        done.size = array.source_width, array.source_height
        for each in received_lcts(array):
            try:
                lct, wire = each.read()
            except ValueError:
                done.lcts.append(None)
                continue
            done.lcts.append((lct, wire))
            done.size_bytes += latent_size_bytes(lct.latent, wire)
        done.stages_s = {'decode': time.perf_counter() - begun_s}
        return done


def _size_bytes(lcts: Sequence[LCT], encoder: CropEncoder) -> int:
    """Return the size of the latents of a frame as they are transmitted."""
    if not encoder.encoding:  # FLOAT32, with the variance
        return sum(8 * lct.latent.dim for lct in lcts)
    return sum(len(encoder.packer.pack(lct.latent.mean, encoder.encoding)) for lct in lcts)


def _parse(message: BagMessage) -> tuple[Any, Processed]:
    """Return the ROS message and an empty result with its time, or None and a rejected result."""
    try:
        parsed = deserialize_message(message.data, message_class(message.type_name))
    except Exception as error:  # noqa: BLE001 (the kind depends on the middleware)
        reason = f'not a {message.type_name}: {one_line(error)}'
        return None, Processed(message.log_time_ns, rejected=reason)
    return parsed, Processed(stamp_from_msg(parsed.header.stamp) or message.log_time_ns)
