# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between `sage_msgs/Latent` and `Latent`, in every wire encoding."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from sage_msgs.msg import Latent as LatentMessage

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.latent import Latent, LatentKind, Telemetry
from sage_perception.ros.conversions.arrays import floats_to_msg
from sage_perception.ros.conversions.building import build
from sage_perception.ros.conversions.codes import (
    codes_from_msg,
    codes_to_msg,
    scores_from_msg,
    scores_to_msg,
)
from sage_perception.ros.conversions.model_ids import model_id_from_msg, model_id_to_msg
from sage_perception.ros.conversions.rois import roi_from_msg, roi_to_msg
from sage_perception.ros.conversions.telemetry import telemetry_from_msg, telemetry_to_msg
from sage_perception.trust.security.canonical import PLAIN, Wire

# The packers that unpack received latents, by the fingerprint of their model.
Packers = Mapping[bytes, Packer]


class UnknownModel(ValueError):
    """A latent is packed, and no packer for its model is given."""


def latent_to_msg(
    latent: Latent, encoding: Encoding = Encoding.FLOAT32, packer: Packer | None = None
) -> LatentMessage:
    """Return a latent as a message.

    Args:
        latent: the latent.
        encoding: the wire encoding; only FLOAT32 carries the variance.
        packer: the packer of the latent's model; FLOAT32 needs none.

    Raises:
        PackingError: the encoding cannot represent the latent.
    """
    return packed_latent_to_msg(latent, pack(latent, encoding, packer))


def pack(latent: Latent, encoding: Encoding, packer: Packer | None = None) -> Wire:
    """Return a latent in a wire encoding; FLOAT32 needs no packer, and has no payload.

    Raises:
        PackingError: the encoding cannot represent the latent.
        ValueError: the encoding needs a packer, and none is given.
    """
    if encoding == Encoding.FLOAT32:
        return PLAIN
    if packer is None:
        raise ValueError(f'encoding {encoding.name} needs the packer of model {latent.model}')
    return Wire(int(encoding), packer.pack(latent.mean, encoding))


def packed_latent_to_msg(latent: Latent, wire: Wire) -> LatentMessage:
    """Return a latent in the wire encoding `wire` as a message."""
    codes, models = codes_to_msg(latent.codes)
    return build(
        LatentMessage,
        kind=int(latent.kind),
        mean=_floats_to_msg(None if wire.packed else latent.mean),
        log_var=_floats_to_msg(None if wire.packed else latent.log_var),
        roi=roi_to_msg(latent.roi),
        track_id=latent.track_id,
        model=model_id_to_msg(latent.model),
        telemetry=[telemetry_to_msg(latent.telemetry)] if latent.telemetry.given else [],
        snarc=[] if latent.snarc is None else [scores_to_msg(latent.snarc)],
        encoding=wire.encoding,
        payload=array('B', wire.payload if wire.packed else b''),
        codes=codes,
        models=models,
    )


def _floats_to_msg(values: np.ndarray | None) -> array[float]:
    return array('f') if values is None else floats_to_msg(values)


def latent_from_msg(message: LatentMessage, packers: Packers | None = None) -> Latent:
    """Return the latent of a message, unpacked.

    Raises:
        UnknownModel: it is packed, and `packers` has no packer for its model.
        ValueError: the fields do not form a latent.
    """
    wire = wire_from_msg(message)
    return unpack(packed_latent_from_msg(message), wire, packers or {})


def packed_latent_from_msg(message: LatentMessage, trust: float = 0.0) -> Latent:
    """Return the latent of a message; `mean` is empty if the message is packed.

    `trust` is that of the telemetry if the message has none.

    Raises:
        ValueError: the fields do not form a latent.
    """
    return Latent(
        mean=np.array(message.mean, np.float32),
        log_var=np.array(message.log_var, np.float32) if len(message.log_var) else None,
        kind=LatentKind(message.kind),
        model=model_id_from_msg(message.model),
        roi=roi_from_msg(message.roi),
        track_id=message.track_id,
        telemetry=(
            telemetry_from_msg(message.telemetry[0])
            if message.telemetry
            else Telemetry.trust_only(trust)
        ),
        codes=codes_from_msg(message.codes, message.models),
        snarc=scores_from_msg(message.snarc[0]) if message.snarc else None,
    )


def wire_from_msg(message: LatentMessage) -> Wire:
    """Return the wire encoding of a latent and its payload.

    Raises:
        ValueError: the encoding is unknown, or the message has both a payload and numbers.
    """
    encoding = Encoding(message.encoding)
    given = len(message.mean), len(message.log_var), len(message.payload)
    if encoding == Encoding.FLOAT32 and given[2]:
        raise ValueError(
            f'a FLOAT32 latent has {given[2]} bytes of payload: the payload must be empty'
        )
    if encoding != Encoding.FLOAT32 and (given[0] or given[1]):
        raise ValueError(
            f'a packed latent has {given[0] + given[1]} floats beside its payload: mean and '
            'log_var must be empty'
        )
    return Wire(int(encoding), bytes(message.payload))


def unpack(latent: Latent, wire: Wire, packers: Packers) -> Latent:
    """Return a latent with `mean` decoded from `wire` if it is packed, else the latent itself.

    Raises:
        UnknownModel: `packers` has no packer for the model of a packed latent.
        ValueError: the payload does not decode to a latent.
    """
    if not wire.packed:
        return latent
    encoding, packer = Encoding(wire.encoding), packers.get(latent.model.fingerprint)
    if packer is None:
        raise UnknownModel(
            f'a latent of {latent.model} in encoding {encoding.name} needs the model_info of its '
            'model, which has not been received yet'
        )
    return replace(latent, mean=packer.unpack(wire.payload, encoding))


def latent_size_bytes(latent: Latent, wire: Wire) -> int:
    """Return the size of mean, variance, payload and further codes in bytes."""
    numbers = latent.mean.nbytes + (0 if latent.log_var is None else latent.log_var.nbytes)
    own = len(wire.payload) if wire.packed else numbers
    return own + sum(len(code.payload) for code in latent.codes)
