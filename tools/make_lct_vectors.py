#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Write the golden vectors of signed arrays to test/data/lct_arrays.json (docs/lct.md).

Run it only when the format changes: the vectors exist so that it does not change by accident.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sage_perception.core.latent import Code, Latent, LatentKind, ModelId, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.trust.security.array_form import frame_digest
from sage_perception.trust.security.canonical import (
    IN_ARRAY,
    PLAIN,
    Wire,
    canonical_form,
    latent_form,
)
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.signing import sign_array

TARGET = Path(__file__).resolve().parents[1] / 'test' / 'data' / 'lct_arrays.json'
SECRET = bytes(range(32))
MODELS = [ModelId(fingerprint=bytes(range(n, n + 32))) for n in range(3)]
LATENTS: dict[str, list[tuple[Latent, Wire]]] = {
    'one crop, int8': [
        (
            Latent(
                np.empty(0, np.float32),
                model=MODELS[0],
                roi=Roi(16, 32, 64, 48),
                track_id=7,
                telemetry=Telemetry.trust_only(0.75),
            ),
            Wire(2, bytes.fromhex('00ff10203040')),
        )
    ],
    'three crops, float32, with variance, telemetry and scores': [
        (
            Latent(
                np.array([0.0, -1.5, 0.1 + n], np.float32),
                np.array([-4.0, 0.0, 1.0], np.float32),
                model=MODELS[0],
                roi=Roi(n, 0, 32, 32),
                track_id=n,
                telemetry=Telemetry(0.5, 0.0125, 0.5, 2.5, 0.002, 2, (0.5, 0.25)),
                snarc=(0.0, 0.25, 0.5, 0.75, 1.0),
            ),
            PLAIN,
        )
        for n in range(3)
    ],
    'identity and semantic codes of other models': [
        (
            Latent(
                np.empty(0, np.float32),
                model=MODELS[0],
                track_id=1,
                telemetry=Telemetry.trust_only(1.0),
                codes=(
                    Code(LatentKind.IDENTITY, MODELS[1], 2, bytes(range(16))),
                    Code(LatentKind.SEMANTIC, MODELS[2], 3, b'meaning', 200),
                ),
            ),
            Wire(3, bytes.fromhex('a1b2c3d4e5')),
        )
    ],
    'slot, audio, text, proprioception and action': [
        (
            Latent(
                np.empty(0, np.float32),
                kind=kind,
                model=MODELS[1],
                telemetry=Telemetry.trust_only(0.5),
            ),
            Wire(1, bytes.fromhex('003c00bc')),
        )
        for kind in (
            LatentKind.SLOT,
            LatentKind.AUDIO,
            LatentKind.TEXT,
            LatentKind.PROPRIOCEPTION,
            LatentKind.ACTION,
        )
    ],
}


def vector(name: str, latents: list[tuple[Latent, Wire]], sequence: int) -> dict[str, Any]:
    """Return a golden vector."""
    key = Ed25519PrivateKey.from_private_bytes(SECRET)
    frame_id, size, camera, stamp_ns = 'cam0_optical_frame', (640, 480), 'robot1/cam0', 18 * 10**17
    lcts = [
        (
            LCT.encoded(
                latent, entity_id=camera, sequence=sequence, stamp_ns=stamp_ns, index=index
            ),
            wire,
        )
        for index, (latent, wire) in enumerate(latents)
    ]
    frame = frame_digest(frame_id, *size)
    signed = sign_array(lcts, frame, key)
    wires = [wire for _, wire in lcts]
    return {
        'name': name,
        'secret_key': SECRET.hex(),
        'public_key': public_bytes(key).hex(),
        'frame_id': frame_id,
        'size': size,
        'stamp_ns': stamp_ns,
        'camera': camera,
        'sequence': sequence,
        'models': [model.fingerprint.hex() for model in MODELS],
        'crops': [crop(lct, wire) for lct, wire in zip(signed, wires, strict=True)],
        'frame': frame.hex(),
        'form': canonical_form(signed[0], wires[0]).hex(),
        'signature': signed[0].signature.hex(),
    }


def crop(lct: LCT, wire: Wire) -> dict[str, Any]:
    """Return an LCT of a golden vector."""
    latent, telemetry = lct.latent, lct.latent.telemetry
    payload = wire.payload if wire.packed else latent.mean.tobytes()
    codes = [code(Code(latent.kind, latent.model, wire.encoding, payload))]
    if latent.log_var is not None:
        codes.append(code(Code(LatentKind.VARIANCE, latent.model, 0, latent.log_var.tobytes())))
    roi = latent.roi or Roi(0, 0, 0, 0)
    assert lct.membership is not None
    return {
        'region': [roi.x, roi.y, roi.width, roi.height],
        'track_id': latent.track_id,
        'trust': lct.trust,
        'codes': [*codes, *map(code, latent.codes)],
        'telemetry': vars(telemetry) if telemetry.given else None,
        'snarc': latent.snarc,
        'id': lct.id.hex(),
        'latent_form': latent_form(latent, wire, IN_ARRAY).hex(),
        'latent_sha256': lct.digest.hex(),
        'path': [digest.hex() for digest in lct.membership.path],
    }


def code(value: Code) -> dict[str, Any]:
    """Return a code of a golden vector; its model is an index in `models`."""
    return {
        'kind': int(value.kind),
        'model': MODELS.index(value.model),
        'encoding': value.encoding,
        'trust': value.trust,
        'payload': value.payload.hex(),
    }


def main() -> None:
    """Write the vectors."""
    vectors = [vector(name, latents, n) for n, (name, latents) in enumerate(LATENTS.items(), 1)]
    TARGET.write_text(json.dumps(vectors, indent=1) + '\n')
    print(f'wrote {TARGET}')


if __name__ == '__main__':
    main()
