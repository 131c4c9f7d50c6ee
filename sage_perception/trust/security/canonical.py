# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The canonical bytes of an LCT: what a signature is made over (docs/lct.md, field by field).

Two LCTs have the same bytes exactly when they say the same; to go through a message and back
changes none. CDR, in which messages travel, would not do: its padding is whatever was there.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sage_perception.core.latent import Latent, ModelId, Telemetry
from sage_perception.core.lct import LCT, Proof, Provenance
from sage_perception.trust.security.rejection import MAX_TEXT_BYTES

VERSION = 1
LCT_TAG = b'sage.LCT' + bytes([VERSION])
LATENT_TAG = b'sage.Latent' + bytes([VERSION])

FLOAT32 = 0  # `sage_msgs/Latent.ENCODING_FLOAT32`
NO_SNARC = b'\0'

_WHO = struct.Struct('<QqfB')
_WHAT = struct.Struct('<BB')
_WHERE = struct.Struct('<4II')
_TELEMETRY = struct.Struct('<HBB6fH')
_LENGTH = struct.Struct('<I')
_SEQUENCE = struct.Struct('<Q')
_TRUST = struct.Struct('<f')


class Wire(NamedTuple):
    """The form in which the numbers of a latent travel: `encoding` and `payload` of its message.

    For `FLOAT32` the payload is not looked at: there the numbers are those of `Latent.mean`. Any
    other form does not carry the variance.
    """

    encoding: int
    payload: bytes = b''

    @property
    def packed(self) -> bool:
        """Whether the numbers are in the payload."""
        return self.encoding != FLOAT32


PLAIN = Wire(FLOAT32)


def canonical_form(lct: LCT, wire: Wire = PLAIN) -> bytes:
    """Return the bytes that the signature of `lct` is made over; the signature is not in them.

    Raises `ValueError` for what no message can hold.
    """
    digest = latent_digest(lct.latent, wire)
    said = Proof(lct.sequence, lct.stamp_ns, lct.trust, digest, lct.signature)
    return proven_form(lct.id, lct.entity_id, lct.provenance, said)


def proven_form(
    lct_id: bytes, entity_id: str, provenance: tuple[Provenance, ...], proof: Proof
) -> bytes:
    """Return the bytes that the signature of `proof` is made over; raises as `canonical_form`."""
    try:
        return b''.join(
            (
                LCT_TAG,
                _fixed(lct_id, 16),
                _text(entity_id),
                _WHO.pack(proof.sequence, proof.stamp_ns, proof.trust, len(provenance)),
                *(_step(step) for step in provenance),
                _fixed(proof.latent, 32),
            )
        )
    except (struct.error, OverflowError) as error:
        raise ValueError(f'an LCT of {entity_id!r} fits no message: {error}') from error


def latent_digest(latent: Latent, wire: Wire = PLAIN) -> bytes:
    """Return the SHA-256 of the canonical bytes of a latent; raises as `canonical_form` does."""
    return hashlib.sha256(latent_form(latent, wire)).digest()


def latent_form(latent: Latent, wire: Wire = PLAIN) -> bytes:
    """Return the canonical bytes of a latent; raises as `canonical_form` does."""
    try:
        return _latent_form(latent, wire)
    except (struct.error, OverflowError) as error:
        raise ValueError(f'a latent of {latent.model} fits no message: {error}') from error


def announcement_form(
    tag: bytes,
    entity_id: str,
    sequence: int,
    model: ModelId,
    arrays: Iterable[np.ndarray],
    digest: bytes = b'',
) -> bytes:
    """Return the canonical bytes of what an entity says of its model.

    `arrays` are float32, each with its shape; raises `ValueError` for what no message can hold.
    """
    try:
        said = [tag, bytes([VERSION]), _text(entity_id), _SEQUENCE.pack(sequence), _model(model)]
        for numbers in arrays:
            said += [bytes([numbers.ndim]), *map(_LENGTH.pack, numbers.shape), _numbers(numbers)]
    except (struct.error, OverflowError) as error:
        raise ValueError(f'a statement of {entity_id!r} fits no message: {error}') from error
    return b''.join((*said, digest))


def _latent_form(latent: Latent, wire: Wire) -> bytes:
    payload, log_var = wire.payload, b''
    if not wire.packed:
        payload = _numbers(latent.mean)
        log_var = b'' if latent.log_var is None else _numbers(latent.log_var)
    roi = latent.roi
    corners = (roi.x, roi.y, roi.width, roi.height) if roi and roi.area else (0, 0, 0, 0)
    return b''.join(
        (
            LATENT_TAG,
            _WHAT.pack(latent.kind, wire.encoding),
            _LENGTH.pack(len(payload)),
            payload,
            _LENGTH.pack(len(log_var)),
            log_var,
            _WHERE.pack(*corners, latent.track_id),
            _model(latent.model),
            _telemetry(latent.telemetry),
            NO_SNARC,
        )
    )


def _telemetry(telemetry: Telemetry) -> bytes:
    energies = telemetry.energy_trajectory
    numbers = (
        telemetry.trust,
        telemetry.reconstruction_error,
        telemetry.kl_per_dim,
        telemetry.latent_norm,
        telemetry.time_s,
        telemetry.budget_spent,
    )
    return _TELEMETRY.pack(
        telemetry.iterations,
        telemetry.converged,
        telemetry.halt_reason,
        *_one_nan(numbers),
        len(energies),
    ) + struct.pack(f'<{len(energies)}f', *_one_nan(energies))


def _step(step: Provenance) -> bytes:
    return b''.join(
        (
            bytes([step.operation]),
            _text(step.entity_id),
            _model(step.model),
            _fixed(step.parent_id, 16),
            _TRUST.pack(step.trust),
        )
    )


@lru_cache(maxsize=256)
def _model(model: ModelId) -> bytes:
    return _text(model.name) + _text(model.version) + model.fingerprint


def _numbers(values: np.ndarray) -> bytes:
    return np.asarray(values, '<f4').tobytes()


def _one_nan(values: Iterable[float]) -> list[float]:
    """Return the values with every NaN the same one: there are 2²⁴ of them, and none says more."""
    return [value if value == value else math.nan for value in values]


def _text(text: str) -> bytes:
    # A message ends a string at its first zero.
    if len(text) > MAX_TEXT_BYTES or '\0' in text or len(data := text.encode()) > MAX_TEXT_BYTES:
        raise ValueError(
            f'{text[:MAX_TEXT_BYTES]!r} has a zero or more than {MAX_TEXT_BYTES} bytes'
        )
    return bytes([len(data)]) + data


def _fixed(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise ValueError(f'an id or digest has {len(data)} bytes, not {length}')
    return data
