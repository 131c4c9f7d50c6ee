# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between `sage_msgs/LCTArray` and LCTs."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sage_msgs.msg import LCT as LCTMessage
from sage_msgs.msg import EncodedCrop, LCTArray
from std_msgs.msg import Header

from sage_perception.codecs.packing import Encoding
from sage_perception.core.latent import Code, Latent, LatentKind, ModelId, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.core.track_codes import CARRIED
from sage_perception.ros.conversions.building import build
from sage_perception.ros.conversions.codes import (
    ModelTable,
    code_from_msg,
    code_to_msg,
    scores_from_msg,
    scores_to_msg,
)
from sage_perception.ros.conversions.lcts import packed_lct_from_msg, packed_lct_to_msg
from sage_perception.ros.conversions.model_ids import model_id_from_msg
from sage_perception.ros.conversions.stamps import normal_stamp_from_msg
from sage_perception.ros.conversions.telemetry import telemetry_from_msg, telemetry_to_msg
from sage_perception.trust.security.array_form import frame_digest
from sage_perception.trust.security.canonical import PLAIN, Wire
from sage_perception.trust.security.signing import array_members, array_signature

if TYPE_CHECKING:  # not needed without a key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAX_PIXELS = 2**16 - 1
PackedLCT = tuple[LCT, Wire]
"""An LCT as it is signed, and the wire encoding of its latent."""


class ReceivedLCT(NamedTuple):
    """An LCT of a received array that is not yet converted.

    `read` returns it as `packed_lct_from_msg` does, or raises `ValueError`; `message` returns the
    message that forwards it alone. `entity_id` is the entity that it claims to be of.
    """

    entity_id: str
    read: Callable[[], PackedLCT]
    message: Callable[[], LCTMessage]


def lct_array_to_msg(
    header: Header,
    size: tuple[int, int],
    camera: str,
    lcts: Sequence[PackedLCT],
    key: Ed25519PrivateKey | None = None,
) -> LCTArray:
    """Return the LCTs that an encoder made of one frame as a message.

    Args:
        header: the header of the frame.
        size: its width and height, pixels.
        camera: the entity of the camera.
        lcts: its LCTs, with one sequence and the ids of their order, and their wire encodings.
            All latents must be of one model; telemetry and scores are given for all or none.
        key: the key to sign with; None leaves the array unsigned.

    Raises:
        ValueError: the message cannot represent a value.
    """
    width, height = size
    if max(size) > MAX_PIXELS:
        raise ValueError(f'a frame of {width} x {height} pixels: at most {MAX_PIXELS}')
    message = LCTArray(header=header, camera=camera, source_width=width, source_height=height)
    if not lcts:
        return message
    if key is not None:
        frame = frame_digest(header.frame_id, width, height)
        message.signature = array('B', array_signature(lcts, frame, key))
    latents = [lct.latent for lct, _ in lcts]
    model = latents[0].model
    if any(latent.model != model for latent in latents):
        raise ValueError('the latents of an array are of several models')
    message.sequence = lcts[0][0].sequence
    message.model = np.frombuffer(model.fingerprint, np.uint8)
    models = ModelTable(model)
    message.crops = [_crop_to_msg(lct, wire, models) for lct, wire in lcts]
    message.models = models.to_msg()
    if latents[0].telemetry.given:
        message.telemetry = [telemetry_to_msg(latent.telemetry) for latent in latents]
    if latents[0].snarc is not None:
        message.snarc = [scores_to_msg(latent.snarc or ()) for latent in latents]
    return message


def received_lcts(message: LCTArray) -> list[ReceivedLCT]:
    """Return the LCTs of an array, each to be converted when it is read.

    Those of `crops` share the work, which is done when the first one is read.
    """
    crops = cache(partial(_crops_from_msg, message))

    def read(index: int) -> PackedLCT:
        return crops()[index]

    def forward(index: int) -> LCTMessage:
        return packed_lct_to_msg(*crops()[index])

    own = [
        ReceivedLCT(message.camera, partial(read, index), partial(forward, index))
        for index in range(len(message.crops))
    ]
    others = [
        ReceivedLCT(lct.entity_id, partial(packed_lct_from_msg, lct), partial(_unchanged, lct))
        for lct in message.lcts
    ]
    return own + others


def claimed_camera(message: LCTArray) -> str:
    """Return the camera entity of an array as the array claims it, before verification."""
    return camera_of(message.lcts[0]) if message.lcts and not message.crops else message.camera


def carries_codes(message: LCTArray) -> bool:
    """Return whether an array has identity or semantic codes, before verification."""
    kinds = set(map(int, CARRIED))
    of_crops = (code.kind for crop in message.crops for code in crop.codes)
    of_lcts = (code.kind for lct in message.lcts for code in lct.latent.codes)
    return any(kind in kinds for kind in itertools.chain(of_crops, of_lcts))


def lct_messages(message: LCTArray) -> list[LCTMessage]:
    """Return all LCTs of an array as complete messages, which can be verified alone.

    Raises:
        ValueError: the fields of `crops` do not form LCTs.
    """
    own = _crops_from_msg(message) if message.crops else []
    return [packed_lct_to_msg(lct, wire) for lct, wire in own] + list(message.lcts)


def check_region(latent: Latent) -> None:
    """Raise `ValueError` if an array cannot hold the region of a latent."""
    roi = latent.roi
    if roi and (max(roi.x, roi.y, roi.width, roi.height) > MAX_PIXELS or min(roi.x, roi.y) < 0):
        raise ValueError(f'{roi} does not fit in a message: at most {MAX_PIXELS} pixels')


def camera_of(lct: LCT | LCTMessage) -> str:
    """Return the entity of the first step of the provenance of an LCT."""
    return lct.provenance[0].entity_id if lct.provenance else lct.entity_id


def _unchanged(message: LCTMessage) -> LCTMessage:
    return message


def _crop_to_msg(lct: LCT, wire: Wire, models: ModelTable) -> EncodedCrop:
    latent = lct.latent
    payload = wire.payload if wire.packed else latent.mean.astype('<f4').tobytes()
    own = [Code(latent.kind, latent.model, wire.encoding, payload)]
    if latent.log_var is not None and not wire.packed:
        variance = latent.log_var.astype('<f4').tobytes()
        own.append(Code(LatentKind.VARIANCE, latent.model, Encoding.FLOAT32, variance))
    codes = [code_to_msg(code, models) for code in (*own, *latent.codes)]
    check_region(latent)
    roi = latent.roi or Roi(0, 0, 0, 0)
    return build(
        EncodedCrop,
        x_offset=roi.x,
        y_offset=roi.y,
        width=roi.width,
        height=roi.height,
        track_id=latent.track_id,
        trust=lct.trust,
        codes=codes,
    )


def _crops_from_msg(message: LCTArray) -> list[PackedLCT]:
    """Return the LCTs of `crops`; raises `ValueError` if the fields do not form LCTs."""
    count = len(message.crops)
    for name, values in (('telemetry', message.telemetry), ('snarc', message.snarc)):
        if len(values) not in (0, count):
            raise ValueError(f'{name} has {len(values)} elements for {count} crops')
    models = [ModelId(fingerprint=bytes(message.model)), *map(model_id_from_msg, message.models)]
    stamp_ns = normal_stamp_from_msg(message.header.stamp)
    lcts = []
    for index, crop in enumerate(message.crops):
        telemetry = Telemetry.trust_only(crop.trust)
        if message.telemetry:
            telemetry = telemetry_from_msg(message.telemetry[index])
        snarc = scores_from_msg(message.snarc[index]) if message.snarc else None
        latent, wire = _latent_from_crop(crop, models, telemetry, snarc)
        lct = LCT.encoded(
            latent,
            entity_id=message.camera,
            sequence=message.sequence,
            stamp_ns=stamp_ns,
            trust=crop.trust,
            index=index,
        )
        lcts.append((lct, wire))
    # An unsigned LCT has its place in the array, too: it is known by its sequence and index.
    frame = frame_digest(message.header.frame_id, message.source_width, message.source_height)
    signature = bytes(message.signature)
    return [
        (replace(lct, signature=signature, digest=lct.digest if signature else b''), wire)
        for lct, (_, wire) in zip(array_members(lcts, frame), lcts, strict=True)
    ]


def _latent_from_crop(
    crop: EncodedCrop,
    models: Sequence[ModelId],
    telemetry: Telemetry,
    snarc: tuple[float, ...] | None,
) -> tuple[Latent, Wire]:
    if not crop.codes:
        raise ValueError('an LCT has no codes; the first one is its latent')
    first, *others = (code_from_msg(code, models) for code in crop.codes)
    if first.model != models[0] or first.kind is LatentKind.VARIANCE:
        raise ValueError('the first code of an LCT is not a latent of the model of the array')
    encoding = Encoding(first.encoding)
    wire, mean, log_var = PLAIN, np.empty(0, np.float32), None
    if encoding == Encoding.FLOAT32:
        mean = _floats(first)
        if others and others[0].kind is LatentKind.VARIANCE:
            variance = others.pop(0)
            if variance.model != models[0] or variance.encoding != Encoding.FLOAT32:
                raise ValueError('the variance of a latent is not in encoding FLOAT32')
            log_var = _floats(variance)
    else:
        wire = Wire(int(encoding), first.payload)
    if any(code.kind is LatentKind.VARIANCE for code in others):
        raise ValueError('a variance does not follow a latent in encoding FLOAT32')
    region = Roi(crop.x_offset, crop.y_offset, crop.width, crop.height)
    latent = Latent(
        mean=mean,
        log_var=log_var,
        kind=first.kind,
        model=first.model,
        roi=region if region.area else None,
        track_id=crop.track_id,
        telemetry=telemetry,
        codes=tuple(others),
        snarc=snarc,
    )
    return latent, wire


def _floats(code: Code) -> np.ndarray:
    if len(code.payload) % 4:
        raise ValueError(f'{len(code.payload)} bytes are not float32 values')
    return np.frombuffer(code.payload, '<f4').astype(np.float32)
