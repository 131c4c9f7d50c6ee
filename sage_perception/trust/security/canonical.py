# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The canonical bytes of an LCT, which its signature covers (docs/lct.md, field by field).

Two LCTs have the same bytes exactly when their content is the same, and a round trip through a
message does not change them. CDR, the encoding of messages, is not canonical: its padding is
undefined.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sage_perception.core.latent import Latent, ModelId, Telemetry
from sage_perception.core.lct import LCT, Proof, Provenance
from sage_perception.trust.security.limits import DIGEST_BYTES, MAX_TEXT_BYTES

VERSION = 1
LCT_TAG = b'sage.LCT' + bytes([VERSION])
LATENT_TAG = b'sage.Latent' + bytes([VERSION])
ID_BYTES = 16

FLOAT32 = 0  # `sage_msgs/Latent.ENCODING_FLOAT32`
NO_SNARC = b'\0'

_LCT = struct.Struct('<QqfB')  # sequence, stamp, trust, number of steps
_LATENT = struct.Struct('<BB')  # kind, encoding
_REGION = struct.Struct('<4II')  # region of interest, track id
_TELEMETRY = struct.Struct('<HBB6fH')
_LENGTH = struct.Struct('<I')
_SEQUENCE = struct.Struct('<Q')
_TRUST = struct.Struct('<f')


class Wire(NamedTuple):
    """The transmitted latent: `encoding` and `payload` of its message.

    With `FLOAT32` the elements are those of `Latent.mean` and the payload is ignored. Any other
    encoding has the elements in the payload and does not carry the variance.
    """

    encoding: int
    payload: bytes = b''

    @property
    def packed(self) -> bool:
        """Whether the elements are in the payload."""
        return self.encoding != FLOAT32


PLAIN = Wire(FLOAT32)


def canonical_form(lct: LCT, wire: Wire = PLAIN) -> bytes:
    """Return the bytes that the signature of `lct` covers.

    Raises `ValueError` for a value that no message can hold.
    """
    digest = latent_digest(lct.latent, wire)
    content = Proof(lct.sequence, lct.stamp_ns, lct.trust, digest, lct.signature)
    return proven_form(lct.id, lct.entity_id, lct.provenance, content)


def proven_form(
    lct_id: bytes, entity_id: str, provenance: Sequence[Provenance], proof: Proof
) -> bytes:
    """Return the bytes that the signature of `proof` covers; raises as `canonical_form` does."""
    try:
        return b''.join(
            (
                LCT_TAG,
                _fixed(lct_id, ID_BYTES),
                _text(entity_id),
                _LCT.pack(proof.sequence, proof.stamp_ns, proof.trust, len(provenance)),
                *(_step(step) for step in provenance),
                _fixed(proof.latent, DIGEST_BYTES),
            )
        )
    except (struct.error, OverflowError) as error:
        raise ValueError(f'an LCT of {entity_id!r} does not fit in a message: {error}') from error


def latent_digest(latent: Latent, wire: Wire = PLAIN) -> bytes:
    """Return the SHA-256 of the canonical bytes of a latent; raises as `canonical_form` does."""
    return hashlib.sha256(latent_form(latent, wire)).digest()


def latent_form(latent: Latent, wire: Wire = PLAIN) -> bytes:
    """Return the canonical bytes of a latent; raises as `canonical_form` does."""
    try:
        return _latent_form(latent, wire)
    except (struct.error, OverflowError) as error:
        raise ValueError(
            f'a latent of {latent.model} does not fit in a message: {error}'
        ) from error


def announcement_form(
    tag: bytes,
    entity_id: str,
    sequence: int,
    model: ModelId,
    arrays: Iterable[np.ndarray],
    digest: bytes = b'',
) -> bytes:
    """Return the canonical bytes of an announcement.

    `arrays` are written as float32, each with its shape. Raises `ValueError` for a value that no
    message can hold.
    """
    try:
        parts = [tag, bytes([VERSION]), _text(entity_id), _SEQUENCE.pack(sequence), _model(model)]
        for values in arrays:
            parts += [bytes([values.ndim]), *map(_LENGTH.pack, values.shape), _floats(values)]
    except (struct.error, OverflowError) as error:
        raise ValueError(
            f'an announcement of {entity_id!r} does not fit in a message: {error}'
        ) from error
    return b''.join((*parts, digest))


def _latent_form(latent: Latent, wire: Wire) -> bytes:
    payload, log_var = wire.payload, b''
    if not wire.packed:
        payload = _floats(latent.mean)
        log_var = b'' if latent.log_var is None else _floats(latent.log_var)
    roi = latent.roi
    corners = (roi.x, roi.y, roi.width, roi.height) if roi and roi.area else (0, 0, 0, 0)
    return b''.join(
        (
            LATENT_TAG,
            _LATENT.pack(latent.kind, wire.encoding),
            _LENGTH.pack(len(payload)),
            payload,
            _LENGTH.pack(len(log_var)),
            log_var,
            _REGION.pack(*corners, latent.track_id),
            _model(latent.model),
            _telemetry(latent.telemetry),
            NO_SNARC,
        )
    )


def _telemetry(telemetry: Telemetry) -> bytes:
    energies = telemetry.energy_trajectory
    values = (
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
        *_one_nan(values),
        len(energies),
    ) + struct.pack(f'<{len(energies)}f', *_one_nan(energies))


def _step(step: Provenance) -> bytes:
    return b''.join(
        (
            bytes([step.operation]),
            _text(step.entity_id),
            _model(step.model),
            _fixed(step.parent_id, ID_BYTES),
            _TRUST.pack(step.trust),
        )
    )


@lru_cache(maxsize=256)
def _model(model: ModelId) -> bytes:
    return _text(model.name) + _text(model.version) + model.fingerprint


def _floats(values: np.ndarray) -> bytes:
    return np.asarray(values, '<f4').tobytes()


def _one_nan(values: Iterable[float]) -> list[float]:
    """Return the values with every NaN replaced by the same one: float32 has 2²⁴ of them."""
    return [value if value == value else math.nan for value in values]


def _text(text: str) -> bytes:
    # A string in a message ends at its first zero byte.
    if len(text) > MAX_TEXT_BYTES or '\0' in text or len(data := text.encode()) > MAX_TEXT_BYTES:
        raise ValueError(
            f'{text[:MAX_TEXT_BYTES]!r} has a zero byte or more than {MAX_TEXT_BYTES} bytes'
        )
    return bytes([len(data)]) + data


def _fixed(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise ValueError(f'an id or digest has {len(data)} bytes, not {length}')
    return data
