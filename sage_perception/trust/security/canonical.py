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
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from sage_perception.core.latent import Latent, ModelId, Telemetry
from sage_perception.core.lct import LCT, Operation, Proof, Provenance
from sage_perception.trust.security.array_form import array_member_form
from sage_perception.trust.security.limits import DIGEST_BYTES
from sage_perception.trust.security.text_form import text_form as _text

VERSION = 1
LCT_TAG = b'sage.LCT' + bytes([VERSION])
LATENT_TAG = b'sage.Latent'
ALONE, IN_ARRAY = 1, 2
"""Versions of the form of a latent: in an LCT that is signed alone, and in an array."""
ID_BYTES = 16

FLOAT32 = 0  # `sage_msgs/Latent.ENCODING_FLOAT32`
NO_SNARC = b'\0'

_LCT = struct.Struct('<QqfB')  # sequence, stamp, trust, number of steps
_LATENT = struct.Struct('<BB')  # kind, encoding
_CODE = struct.Struct('<BBB')  # kind, encoding, trust
_SNARC = struct.Struct('<B5f')
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

    Raises `ValueError` for a value that no message can hold, and for an LCT with a membership that
    is not one of an encoder.
    """
    digest = latent_digest(lct.latent, wire, version_of(lct))
    content = Proof(lct.sequence, lct.stamp_ns, lct.trust, digest, lct.signature, lct.membership)
    return proven_form(lct.id, lct.entity_id, lct.provenance, content)


def version_of(lct: LCT) -> int:
    """Return the version of the form of the latent of `lct`, ALONE or IN_ARRAY.

    Version 1, that of earlier releases, has neither further codes nor scores. A relayed latent
    keeps the version of its array, so that its digest stays the same.
    """
    relays = takewhile(lambda step: step.operation is Operation.RELAY, reversed(lct.provenance))
    from_array = any(step.proof and step.proof.membership for step in relays)
    if lct.membership is not None or from_array:
        return IN_ARRAY
    return _version_alone(lct.latent)


def _version_alone(latent: Latent) -> int:
    plain = latent.telemetry.given and not latent.codes and latent.snarc is None
    return ALONE if plain else IN_ARRAY


def proven_form(
    lct_id: bytes, entity_id: str, provenance: Sequence[Provenance], proof: Proof
) -> bytes:
    """Return the bytes that the signature of `proof` covers; raises as `canonical_form` does."""
    if proof.membership is not None:
        return array_member_form(lct_id, entity_id, provenance, proof, proof.membership)
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


def latent_digest(latent: Latent, wire: Wire = PLAIN, version: int | None = None) -> bytes:
    """Return the SHA-256 of `latent_form`; raises as `canonical_form` does."""
    return hashlib.sha256(latent_form(latent, wire, version)).digest()


def latent_form(latent: Latent, wire: Wire = PLAIN, version: int | None = None) -> bytes:
    """Return the canonical bytes of a latent; raises as `canonical_form` does.

    `version` is ALONE or IN_ARRAY; None for that of an LCT signed alone.
    """
    try:
        return _latent_form(latent, wire, version or _version_alone(latent))
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


def _latent_form(latent: Latent, wire: Wire, version: int) -> bytes:
    payload, log_var = wire.payload, b''
    if not wire.packed:
        payload = _floats(latent.mean)
        log_var = b'' if latent.log_var is None else _floats(latent.log_var)
    roi = latent.roi
    corners = (roi.x, roi.y, roi.width, roi.height) if roi and roi.area else (0, 0, 0, 0)
    telemetry = latent.telemetry
    parts = [
        LATENT_TAG,
        bytes([version]),
        _LATENT.pack(latent.kind, wire.encoding),
        _LENGTH.pack(len(payload)),
        payload,
        _LENGTH.pack(len(log_var)),
        log_var,
        _REGION.pack(*corners, latent.track_id),
    ]
    if version == ALONE:
        return b''.join((*parts, _model(latent.model), _telemetry(telemetry), NO_SNARC))
    parts += [latent.model.fingerprint, bytes([telemetry.given])]
    if telemetry.given:
        parts.append(_telemetry(telemetry))
    parts.append(NO_SNARC if latent.snarc is None else _SNARC.pack(1, *_one_nan(latent.snarc)))
    parts.append(bytes([len(latent.codes)]))
    for code in latent.codes:
        parts += [
            _CODE.pack(code.kind, code.encoding, code.trust),
            code.model.fingerprint,
            _LENGTH.pack(len(code.payload)),
            code.payload,
        ]
    return b''.join(parts)


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


def _model(model: ModelId) -> bytes:
    return _names(model.name, model.version) + model.fingerprint


@lru_cache(maxsize=256)
def _names(name: str, version: str) -> bytes:
    return _text(name) + _text(version)


def _floats(values: np.ndarray) -> bytes:
    return np.asarray(values, '<f4').tobytes()


def _one_nan(values: Iterable[float]) -> list[float]:
    """Return the values with every NaN replaced by the same one: float32 has 2²⁴ of them."""
    return [value if value == value else math.nan for value in values]


def _fixed(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise ValueError(f'an id or digest has {len(data)} bytes, not {length}')
    return data
