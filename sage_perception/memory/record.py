# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""One memory: an LCT with its salience, and how it is written to a row."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace

import numpy as np

from sage_perception.core.latent import HaltReason, Latent, LatentKind, ModelId, Roi, Telemetry
from sage_perception.core.lct import LCT, Operation, Proof, Provenance
from sage_perception.memory.snarc import Snarc

COLUMNS = ('lct', 'fingerprint', 'entity', 'track', 'stamp', 'retention', 'latent', 'detail')
"""What a row holds: what is searched by has a column of its own, `detail` is JSON of the rest."""


@dataclass(frozen=True, eq=False)
class MemoryRecord:
    """What is kept of an observation.

    All of the LCT but the variance of its latent and the energies of its refinement: they say how
    it was made, and would be most of its bytes. Its signature proves what is recalled.
    """

    lct: LCT
    snarc: Snarc

    @property
    def entity(self) -> str:
        """Return who saw it: the first of its provenance, whoever passed it on since."""
        return self.lct.provenance[0].entity_id if self.lct.provenance else self.lct.entity_id


def retention(entry: MemoryRecord, half_life_s: float) -> float:
    """Return how long an entry is kept, relative to others: the lowest is forgotten first.

    An entry is worth salience · 2^(−age / half-life), the exponential forgetting of Ebbinghaus.
    Who of two is worth more is the same at any time, so this is the logarithm of it without the
    time: a number that can be kept and sorted by.
    """
    return entry.lct.stamp_ns * 1e-9 / half_life_s + math.log2(max(entry.snarc.salience, 1e-3))


def to_row(entry: MemoryRecord, half_life_s: float) -> tuple:
    """Return the values of `COLUMNS`."""
    lct = entry.lct
    latent, telemetry = lct.latent, lct.latent.telemetry
    numbers = asdict(replace(telemetry, energy_trajectory=()))
    # What was not measured is NaN, which JSON has no word for.
    numbers = {key: value for key, value in numbers.items() if value == value}
    detail = {
        'speaker': lct.entity_id,
        'sequence': lct.sequence,
        'trust': lct.trust,
        'kind': int(latent.kind),
        'model': [latent.model.name, latent.model.version],
        'roi': astuple(latent.roi) if latent.roi else None,
        'telemetry': numbers,
        'snarc': astuple(entry.snarc),
        'provenance': [
            [
                int(step.operation),
                step.entity_id,
                _model(step.model) if step.model != latent.model else None,
                step.parent_id.hex(),
                step.trust,
                _proof(step.proof),
            ]
            for step in lct.provenance
        ],
        'signed': [lct.digest.hex(), lct.signature.hex()],
    }
    return (
        lct.id,
        latent.model.fingerprint,
        entry.entity,
        latent.track_id,
        lct.stamp_ns,
        retention(entry, half_life_s),
        latent.mean.astype('<f4').tobytes(),
        json.dumps(detail, allow_nan=False, ensure_ascii=False, separators=(',', ':')),
    )


def from_row(row: Sequence) -> MemoryRecord:
    """Return the entry of a row, the values of `COLUMNS`; `ValueError` if it is none.

    What later versions may have added to the detail is passed over.
    """
    lct_id, fingerprint, _, track, stamp, _, numbers, text = row
    try:
        detail = json.loads(text)
        measured = {f.name for f in fields(Telemetry)} & detail['telemetry'].keys()
        telemetry = {name: detail['telemetry'][name] for name in measured}
        latent = Latent(
            mean=np.frombuffer(numbers, '<f4').astype(np.float32),
            kind=LatentKind(detail['kind']),
            model=ModelId(*detail['model'], bytes(fingerprint)),
            roi=Roi(*detail['roi']) if detail['roi'] else None,
            track_id=track,
            telemetry=Telemetry(
                **{
                    **telemetry,
                    'energy_trajectory': (),
                    'halt_reason': HaltReason(telemetry['halt_reason']),
                }
            ),
        )
        provenance = tuple(
            Provenance(
                Operation(operation),
                entity,
                ModelId(*model[:2], bytes.fromhex(model[2])) if model else latent.model,
                bytes.fromhex(parent),
                trust,
                Proof(*proof[:3], *map(bytes.fromhex, proof[3:5])) if proof else None,
            )
            # Earlier versions kept no proofs.
            for operation, entity, model, parent, trust, proof, *_ in (
                (*step, None) for step in detail['provenance']
            )
        )
        digest, signature = map(bytes.fromhex, detail.get('signed', ('', '')))
        lct = LCT(
            detail['speaker'],
            detail['sequence'],
            stamp,
            latent,
            provenance,
            detail['trust'],
            bytes(lct_id),
            signature,
            digest,
        )
        return MemoryRecord(lct, Snarc(*detail['snarc'][: len(fields(Snarc))]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f'a row of memory cannot be read: {error!r}') from error


def _proof(proof: Proof | None) -> list | None:
    if proof is None:
        return None
    said = [proof.sequence, proof.stamp_ns, proof.trust]
    return [*said, proof.latent.hex(), proof.signature.hex()]


def _model(model: ModelId) -> list[str]:
    return [model.name, model.version, model.fingerprint.hex()]
