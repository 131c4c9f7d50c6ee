# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion between memory records and table rows.

Columns hold the values that queries filter by; `detail` is a JSON object with the rest. A database
file may be damaged or written by other software, so `decode_row` checks the type and range of
every value: a value that does not fit into a `sage_msgs` message must not reach a message.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, fields, replace
from typing import Any

import numpy as np

from sage_perception.core.latent import HaltReason, Latent, LatentKind, ModelId, Roi, Telemetry
from sage_perception.core.lct import LCT, Membership, Operation, Proof, Provenance
from sage_perception.memory import validation as valid
from sage_perception.memory.record import MemoryRecord, retention
from sage_perception.memory.snarc import Snarc
from sage_perception.memory.validation import DamagedRow
from sage_perception.trust.security.canonical import canonical_form
from sage_perception.trust.security.limits import MAX_ARRAY, MAX_PATH, MAX_STEPS
from sage_perception.trust.security.validation import find_latent_fault

COLUMNS = ('lct', 'fingerprint', 'entity', 'track', 'stamp', 'retention', 'latent', 'detail')

MAX_STAMP_NS = 2**31 * 10**9 - 1  # builtin_interfaces/Time has int32 seconds
ENTITY_KEY = 'speaker'  # the name of `LCT.entity_id` on disk
ID_BYTES, DIGEST_BYTES, MAX_SIGNATURE_BYTES = 16, 32, 64
SCORES = len(fields(Snarc))


def encode_row(record: MemoryRecord, half_life_s: float) -> tuple[Any, ...]:
    """Return the values of `COLUMNS` for a record."""
    lct = record.lct
    latent = lct.latent
    telemetry = asdict(replace(latent.telemetry, energy_trajectory=()))
    # NaN means "not measured". JSON has no NaN, so its key is left out.
    telemetry = {key: value for key, value in telemetry.items() if value == value}
    detail = {
        ENTITY_KEY: lct.entity_id,
        'sequence': lct.sequence,
        'trust': lct.trust,
        'kind': int(latent.kind),
        'model': [latent.model.name, latent.model.version],
        'roi': astuple(latent.roi) if latent.roi else None,
        'telemetry': telemetry,
        'snarc': astuple(record.snarc),
        'provenance': [_encode_step(step, latent.model) for step in lct.provenance],
        'signed': [lct.digest.hex(), lct.signature.hex(), _encode_membership(lct.membership)],
    }
    return (
        lct.id,
        latent.model.fingerprint,
        record.entity,
        latent.track_id,
        lct.stamp_ns,
        retention(record, half_life_s),
        latent.mean.astype('<f4').tobytes(),
        json.dumps(detail, allow_nan=False, ensure_ascii=False, separators=(',', ':')),
    )


def decode_row(row: Sequence[Any]) -> MemoryRecord:
    """Return the record of a row, the values of `COLUMNS`.

    Keys and list items that a later version adds to `detail` are ignored. Raises `DamagedRow`.
    """
    lct_id, fingerprint, entity, track, stamp, _, mean, text = row
    valid.text(entity, 'entity')
    detail = _decode_detail(text)
    model = _decode_model(valid.get(detail, 'model'), fingerprint)
    latent = Latent(
        mean=_decode_mean(mean),
        kind=valid.member(LatentKind, valid.get(detail, 'kind'), 'kind'),
        model=model,
        roi=_decode_roi(valid.get(detail, 'roi')),
        track_id=valid.integer(track, 'track', valid.MAX_UINT32),
        telemetry=_decode_telemetry(valid.get(detail, 'telemetry')),
    )
    # Early rows have no signature.
    digest, signature, *rest = valid.items(detail.get('signed', ['', '']), 'signed', 2)
    membership = _decode_membership(rest)
    lct = LCT(
        entity_id=valid.text(valid.get(detail, ENTITY_KEY), 'entity_id'),
        sequence=valid.integer(valid.get(detail, 'sequence'), 'sequence', valid.MAX_UINT64),
        stamp_ns=valid.integer(stamp, 'stamp', MAX_STAMP_NS),
        latent=latent,
        provenance=tuple(
            _decode_step(step, model)
            for step in valid.items(valid.get(detail, 'provenance'), 'provenance')
        ),
        trust=valid.probability(valid.get(detail, 'trust'), 'trust'),
        id=valid.blob(lct_id, 'lct', ID_BYTES),
        signature=valid.from_hex(signature, 'signature', range(MAX_SIGNATURE_BYTES + 1)),
        digest=valid.from_hex(digest, 'digest', (0, DIGEST_BYTES)),
        membership=membership,
        index=membership.index if membership else 0,
    )
    scores = valid.items(valid.get(detail, 'snarc'), 'snarc', SCORES)[:SCORES]
    record = MemoryRecord(lct, Snarc(*(valid.probability(score, 'snarc') for score in scores)))
    try:
        check_record(record)
    except ValueError as error:
        raise DamagedRow(str(error)) from error
    return record


def check_record(record: MemoryRecord) -> None:
    """Raise `ValueError` for a record that no message can hold when it is recalled."""
    lct = record.lct
    fault = find_latent_fault(lct.latent)
    if fault is not None:
        raise ValueError(f'the latent of {record.entity!r} is invalid: {fault.value}')
    if not 0 <= lct.stamp_ns <= MAX_STAMP_NS:
        raise ValueError(f'stamp is {lct.stamp_ns} ns, expected a time from 1970 to 2038')
    if len(lct.provenance) >= MAX_STEPS:  # recall appends one step
        raise ValueError(
            f'provenance has {len(lct.provenance)} steps, expected at most {MAX_STEPS - 1}'
        )
    canonical_form(lct)


def _decode_detail(text: Any) -> Mapping[str, Any]:
    encoded = valid.text(text, 'detail')
    try:
        detail = json.loads(encoded)
    except (ValueError, RecursionError) as error:  # RecursionError: nested too deeply
        raise DamagedRow(f'detail is not valid JSON: {error}') from error
    return valid.mapping(detail, 'detail')


def _decode_mean(value: Any) -> np.ndarray:
    data = valid.blob(value, 'latent')
    if len(data) % 4:
        raise DamagedRow(f'latent has {len(data)} bytes, expected float32 values')
    return np.frombuffer(data, '<f4').astype(np.float32)


def _decode_model(names: Any, fingerprint: Any) -> ModelId:
    name, version = valid.items(names, 'model', 2)[:2]
    return ModelId(
        valid.text(name, 'model name'),
        valid.text(version, 'model version'),
        valid.blob(fingerprint, 'fingerprint', DIGEST_BYTES),
    )


def _decode_roi(value: Any) -> Roi | None:
    if value is None:
        return None
    corners = valid.items(value, 'roi', 4)[:4]
    return Roi(*(valid.integer(corner, 'roi', valid.MAX_UINT32) for corner in corners))


def _decode_telemetry(value: Any) -> Telemetry:
    values = valid.mapping(value, 'telemetry')
    halt_reason = valid.member(HaltReason, valid.get(values, 'halt_reason'), 'halt_reason')
    decoded: dict[str, Any] = {}
    for field in fields(Telemetry):
        name = field.name
        if name not in values or name in ('energy_trajectory', 'halt_reason'):
            continue
        if name == 'iterations':
            decoded[name] = valid.integer(values[name], name, valid.MAX_UINT16)
        elif name == 'converged':
            decoded[name] = valid.boolean(values[name], name)
        elif name == 'trust':
            decoded[name] = valid.probability(values[name], 'telemetry trust')
        else:
            decoded[name] = valid.number(values[name], name)
    return Telemetry(**decoded, halt_reason=halt_reason)


def _encode_step(step: Provenance, latent_model: ModelId) -> list[Any]:
    model = step.model
    names = [model.name, model.version, model.fingerprint.hex()]
    return [
        int(step.operation),
        step.entity_id,
        names if model != latent_model else None,
        step.parent_id.hex(),
        step.trust,
        _encode_proof(step.proof),
    ]


def _decode_step(values: Any, latent_model: ModelId) -> Provenance:
    operation, entity, names, parent, trust, *rest = valid.items(values, 'provenance step', 5)
    model = latent_model
    if names is not None:
        *names, fingerprint = valid.items(names, 'model of a step', 3)[:3]
        digest = valid.from_hex(fingerprint, 'fingerprint of a step', (DIGEST_BYTES,))
        model = _decode_model(names, digest)
    return Provenance(
        valid.member(Operation, operation, 'operation'),
        valid.text(entity, 'entity of a step'),
        model,
        valid.from_hex(parent, 'parent of a step', (ID_BYTES,)),
        valid.probability(trust, 'trust of a step'),
        # Early rows have no proofs.
        _decode_proof(rest[0]) if rest and rest[0] is not None else None,
    )


def _encode_proof(proof: Proof | None) -> list[Any] | None:
    if proof is None:
        return None
    signed = [proof.sequence, proof.stamp_ns, proof.trust]
    evidence = [proof.latent.hex(), proof.signature.hex()]
    return [*signed, *evidence, _encode_membership(proof.membership)]


def _decode_proof(value: Any) -> Proof:
    sequence, stamp, trust, latent, signature, *rest = valid.items(value, 'proof', 5)
    return Proof(
        valid.integer(sequence, 'sequence of a proof', valid.MAX_UINT64),
        valid.integer(stamp, 'stamp of a proof', MAX_STAMP_NS),
        valid.probability(trust, 'trust of a proof'),
        valid.from_hex(latent, 'latent of a proof', (DIGEST_BYTES,)),
        valid.from_hex(signature, 'signature of a proof', range(MAX_SIGNATURE_BYTES + 1)),
        _decode_membership(rest),
    )


def _encode_membership(membership: Membership | None) -> list[Any] | None:
    if membership is None:
        return None
    digests = [membership.frame.hex(), b''.join(membership.path).hex()]
    return [membership.index, membership.count, *digests]


def _decode_membership(rest: Sequence[Any]) -> Membership | None:
    """Return the membership that may follow a signature; rows of release 0.2 have none."""
    if not rest or rest[0] is None:
        return None
    index, count, frame, path = valid.items(rest[0], 'membership', 4)[:4]
    lengths = range(0, MAX_PATH * DIGEST_BYTES + 1, DIGEST_BYTES)
    joined = valid.from_hex(path, 'path of a membership', lengths)
    return Membership(
        valid.integer(index, 'index of a membership', MAX_ARRAY - 1),
        valid.integer(count, 'count of a membership', MAX_ARRAY),
        valid.from_hex(frame, 'frame of a membership', (DIGEST_BYTES,)),
        tuple(joined[i : i + DIGEST_BYTES] for i in range(0, len(joined), DIGEST_BYTES)),
    )
