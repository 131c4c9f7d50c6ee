# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Between the messages of `sage_msgs` and the values of the core."""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Time
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from sage_perception.codecs.packing import Form, Packer
from sage_perception.core.frame import Crop
from sage_perception.core.latent import HaltReason, Latent, LatentKind, ModelId, Roi, Telemetry
from sage_perception.core.lct import LCT, Operation, Proof, Provenance
from sage_perception.models import Codec
from sage_perception.ros.images import to_message
from sage_perception.trust.security.announcements import (
    ModelAnnouncement,
    ProbeSet,
    sign_announcement,
)
from sage_perception.trust.security.canonical import Wire, latent_digest
from sage_perception.trust.security.signing import sign

if TYPE_CHECKING:
    from sage_perception.irp.orchestrator import Result
    from sage_perception.trust.arbiter import Frame, Pairing
    from sage_perception.trust.compatibility.estimator import Report

try:
    from sage_msgs import msg as sage
except ImportError as error:
    raise ImportError(
        'the messages of sage_msgs are not built or not on the path: build them with `make build`,'
        ' or with `colcon build` and then `source install/setup.bash`'
    ) from error


REASON_LETTERS = 250

# What reads packed latents, by the fingerprint of their model.
Packers = Mapping[bytes, Packer]


class UnknownModel(ValueError):
    """A latent is packed, and what its model's latents are like is not known."""


def stamp_ns(stamp: Time) -> int:
    """Return a stamp in nanoseconds."""
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def stamp_of(ns: int) -> Time:
    """Return nanoseconds as a stamp."""
    sec, nanosec = divmod(ns, 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


def roi_message(roi: Roi | None) -> RegionOfInterest:
    """Return a region as a message; all zeros for None."""
    if roi is None:
        return RegionOfInterest()
    return RegionOfInterest(x_offset=roi.x, y_offset=roi.y, width=roi.width, height=roi.height)


def roi_value(message: RegionOfInterest) -> Roi | None:
    """Return a region; None for an empty one."""
    if not message.width or not message.height:
        return None
    return Roi(message.x_offset, message.y_offset, message.width, message.height)


def model_message(model: ModelId) -> sage.ModelId:
    """Return a model's identity as a message."""
    return sage.ModelId(
        name=model.name,
        version=model.version,
        fingerprint=np.frombuffer(model.fingerprint, np.uint8),
    )


def model_value(message: sage.ModelId) -> ModelId:
    """Return a model's identity."""
    return ModelId(message.name, message.version, bytes(message.fingerprint))


def model_info_message(
    codec: Codec, stamp: Time, entity: str = '', key: Ed25519PrivateKey | None = None
) -> sage.ModelInfo:
    """Return what a loaded model is and how to read its latents; signed, with a `key`."""
    said = ModelAnnouncement(
        entity,
        time.time_ns(),
        codec.id,
        np.asarray(codec.latent_mean, np.float32).ravel(),
        np.asarray(codec.latent_std, np.float32).ravel(),
    )
    if key is not None:
        said = sign_announcement(said, key)
    return sage.ModelInfo(
        header=Header(stamp=stamp),
        model=model_message(codec.id),
        latent_dim=codec.latent_dim,
        input_width=codec.input_size,
        input_height=codec.input_size,
        input_encoding='rgb8' if codec.input_channels == 3 else 'mono8',
        input_mean=array('f', [0.0] * codec.input_channels),
        input_std=array('f', [1.0] * codec.input_channels),
        backend=codec.backend,
        precision=codec.precision,
        device=codec.device,
        latent_mean=_floats(said.mean),
        latent_std=_floats(said.std),
        card=codec.card,
        entity_id=said.entity_id,
        sequence=said.sequence,
        signature=array('B', said.signature),
    )


def announcement_value(info: sage.ModelInfo) -> ModelAnnouncement:
    """Return what an entity says of its model's latents; `ValueError` when it cannot be."""
    said = ModelAnnouncement(
        info.entity_id,
        info.sequence,
        model_value(info.model),
        np.array(info.latent_mean, np.float32),
        np.array(info.latent_std, np.float32),
        bytes(info.signature),
    )
    if said.dim != info.latent_dim:
        raise ValueError(
            f'statistics of {said.dim} dimensions where latents have {info.latent_dim}'
        )
    return said


def probe_set_message(
    said: ProbeSet, stamp: Time, key: Ed25519PrivateKey | None = None
) -> sage.ProbeSet:
    """Return an entity's latents of the probes as a message; signed, with a `key`."""
    if key is not None:
        said = sign_announcement(said, key)
    return sage.ProbeSet(
        header=Header(stamp=stamp),
        entity_id=said.entity_id,
        sequence=said.sequence,
        model=model_message(said.model),
        probe_set=np.frombuffer(said.images, np.uint8),
        dim=said.latents.shape[1],
        latents=_floats(said.latents),
        signature=array('B', said.signature),
    )


def probe_set_value(message: sage.ProbeSet) -> ProbeSet:
    """Return an entity's latents of the probes; `ValueError` when they are none."""
    latents = np.array(message.latents, np.float32)
    if not message.dim or latents.size % message.dim:
        raise ValueError(f'{latents.size} numbers are no latents of {message.dim} dimensions')
    return ProbeSet(
        message.entity_id,
        message.sequence,
        model_value(message.model),
        latents.reshape(-1, message.dim),
        bytes(message.probe_set),
        bytes(message.signature),
    )


def report_message(report: Report, stamp: Time) -> sage.TrustReport:
    """Return how an entity fares as a message."""
    return sage.TrustReport(
        header=Header(stamp=stamp),
        entity_a=report.entity_a,
        entity_b=report.entity_b,
        model_b=model_message(report.model_b),
        forward=report.forward,
        backward=report.backward,
        compression_trust=report.compression_trust,
        level=int(report.level),
        calibrated=report.calibrated,
        probes=report.probes,
        accepted=report.accepted,
        refused=report.refused,
        reason=report.reason[:REASON_LETTERS],
        reputation=report.reputation,
    )


def agreement_message(
    header: Header, ours: str, frame: Frame, pairing: Pairing
) -> sage.AgreementArray:
    """Return the matched crops of a frame of the camera `ours` and that of another one."""
    a, b = frame.lcts, pairing.frame.lcts
    level = (sage.Agreement.LEVEL_LOW, sage.Agreement.LEVEL_HIGH)
    return sage.AgreementArray(
        header=header,
        entity_a=ours,
        entity_b=pairing.camera,
        stamp_delta_s=pairing.delta_ns * 1e-9,
        unmatched_a=len(a) - len(pairing.matches),
        unmatched_b=len(b) - len(pairing.matches),
        agreements=[
            sage.Agreement(
                lct_a=np.frombuffer(a[match.a].id, np.uint8),
                lct_b=np.frombuffer(b[match.b].id, np.uint8),
                track_a=a[match.a].latent.track_id,
                track_b=b[match.b].latent.track_id,
                similarity=match.similarity,
                level=level[agrees],
            )
            for match, agrees in zip(pairing.matches, pairing.agree, strict=True)
        ],
    )


def crop_message(crop: Crop, header: Header) -> sage.Crop:
    """Return a crop as a message, with its frame's header."""
    return sage.Crop(
        roi=roi_message(crop.roi),
        score=float(crop.score),
        source=int(crop.source),
        track_id=crop.track_id,
        image=to_message(crop.image, 'rgb8' if crop.image.ndim == 3 else 'mono8', header),
    )


def budget_message(
    result: Result, tracks: Sequence[int], total: int, header: Header
) -> sage.Budget:
    """Return how a frame's budget was shared among its crops, whose tracks are `tracks`."""
    return sage.Budget(
        header=header,
        total=total,
        shares=[
            sage.BudgetShare(
                plugin=share.plugin,
                track_id=track,
                trust=share.trust,
                need=share.need,
                granted=share.granted,
                extra=share.extra,
                spent=share.spent,
                outcome=int(result.outcome),
            )
            for share, track in zip(result.shares, tracks, strict=True)
        ],
    )


def telemetry_message(telemetry: Telemetry) -> sage.IrpTelemetry:
    """Return telemetry as a message."""
    return sage.IrpTelemetry(
        iterations=telemetry.iterations,
        energy_trajectory=array('f', telemetry.energy_trajectory),
        converged=telemetry.converged,
        halt_reason=int(telemetry.halt_reason),
        trust=telemetry.trust,
        reconstruction_error=telemetry.reconstruction_error,
        kl_per_dim=telemetry.kl_per_dim,
        latent_norm=telemetry.latent_norm,
        time_s=telemetry.time_s,
        budget_spent=telemetry.budget_spent,
    )


def telemetry_value(message: sage.IrpTelemetry) -> Telemetry:
    """Return telemetry; raises `ValueError` for an unknown reason to halt."""
    return Telemetry(
        trust=message.trust,
        reconstruction_error=message.reconstruction_error,
        kl_per_dim=message.kl_per_dim,
        latent_norm=message.latent_norm,
        time_s=message.time_s,
        iterations=message.iterations,
        energy_trajectory=tuple(message.energy_trajectory),
        converged=message.converged,
        halt_reason=HaltReason(message.halt_reason),
        budget_spent=message.budget_spent,
    )


def latent_message(
    latent: Latent, form: Form = Form.FLOAT32, packer: Packer | None = None
) -> sage.Latent:
    """Return a latent as a message, its numbers in a wire form.

    `packer` is that of the latent's model; FLOAT32, which alone tells the variance, needs none.
    Raises `WireError` when the form cannot hold the latent.
    """
    if form == Form.FLOAT32:
        log_var = array('f') if latent.log_var is None else _floats(latent.log_var)
        numbers = {'mean': _floats(latent.mean), 'log_var': log_var}
    else:
        numbers = {'payload': array('B', packer.pack(latent.mean, form))}
    return sage.Latent(
        kind=int(latent.kind),
        roi=roi_message(latent.roi),
        track_id=latent.track_id,
        model=model_message(latent.model),
        telemetry=telemetry_message(latent.telemetry),
        encoding=int(form),
        **numbers,
    )


def wire_value(message: sage.Latent) -> Wire:
    """Return the form in which the numbers of a latent travel; `ValueError` when it has two."""
    form = Form(message.encoding)
    given = len(message.mean), len(message.log_var), len(message.payload)
    if form == Form.FLOAT32 and given[2]:
        raise ValueError(f'{given[2]} bytes of payload beside the numbers of a latent')
    if form != Form.FLOAT32 and (given[0] or given[1]):
        raise ValueError(f'{given[0] + given[1]} numbers beside the payload of a latent')
    return Wire(int(form), bytes(message.payload))


def unpack(latent: Latent, wire: Wire, packers: Packers) -> Latent:
    """Return a latent with its numbers, which are in `wire` where they travel packed.

    Raises `UnknownModel` for one that no packer is for, `ValueError` for what is no latent.
    """
    if not wire.packed:
        return latent
    form, packer = Form(wire.encoding), packers.get(latent.model.fingerprint)
    if packer is None:
        raise UnknownModel(
            f'the form {form.name} needs the model_info of {latent.model}, not come yet'
        )
    return replace(latent, mean=packer.unpack(wire.payload, form))


def latent_value(message: sage.Latent, packers: Packers | None = None) -> Latent:
    """Return a latent; raises as `wire_value` and `unpack` do, and when its parts do not fit."""
    wire = wire_value(message)
    return unpack(_latent_as_sent(message), wire, packers or {})


def _latent_as_sent(message: sage.Latent) -> Latent:
    """Return a latent, without its numbers where they travel packed."""
    return Latent(
        mean=np.array(message.mean, np.float32),
        log_var=np.array(message.log_var, np.float32) if len(message.log_var) else None,
        kind=LatentKind(message.kind),
        model=model_value(message.model),
        roi=roi_value(message.roi),
        track_id=message.track_id,
        telemetry=telemetry_value(message.telemetry),
    )


def latent_bytes(message: sage.Latent) -> int:
    """Return how many bytes the numbers of a latent take, variance included."""
    return 4 * (len(message.mean) + len(message.log_var)) + len(message.payload)


def lct_message(
    lct: LCT,
    form: Form = Form.FLOAT32,
    packer: Packer | None = None,
    key: Ed25519PrivateKey | None = None,
) -> sage.LCT:
    """Return an LCT as a message, its latent in a wire form; see `latent_message`.

    With a `key` it is signed, for the form in which it travels; without, its own signature stays.
    Raises `ValueError` also for what no message can hold.
    """
    latent = latent_message(lct.latent, form, packer)
    if key is not None:
        lct = sign(lct, key, wire_value(latent))
    return sage.LCT(
        id=np.frombuffer(lct.id, np.uint8),
        entity_id=lct.entity_id,
        sequence=lct.sequence,
        stamp=stamp_of(lct.stamp_ns),
        latent=latent,
        trust=lct.trust,
        provenance=[
            sage.Provenance(
                operation=int(step.operation),
                entity_id=step.entity_id,
                model=model_message(step.model),
                parent_id=np.frombuffer(step.parent_id, np.uint8),
                trust=step.trust,
                proof=[proof_message(step.proof)] if step.proof else [],
            )
            for step in lct.provenance
        ],
        signature=array('B', lct.signature),
    )


def lct_value(message: sage.LCT, packers: Packers | None = None) -> LCT:
    """Return an LCT; raises as `lct_as_sent` and `unpack` do."""
    lct, wire = lct_as_sent(message)
    return replace(lct, latent=unpack(lct.latent, wire, packers or {}))


def lct_as_sent(message: sage.LCT) -> tuple[LCT, Wire]:
    """Return an LCT, and the form of its latent: what its signature is made over.

    A latent that travels packed has no numbers here: `unpack` makes them of the form. Raises
    `ValueError` for what is no LCT.
    """
    if message.latent.snarc:
        raise ValueError('it has a snarc, which no signature covers yet')
    wire = wire_value(message.latent)
    latent = _latent_as_sent(message.latent)
    lct = LCT(
        entity_id=message.entity_id,
        sequence=message.sequence,
        stamp_ns=stamp_ns(message.stamp),
        latent=latent,
        provenance=tuple(
            Provenance(
                Operation(step.operation),
                step.entity_id,
                model_value(step.model),
                bytes(step.parent_id),
                step.trust,
                proof_value(step.proof[0]) if step.proof else None,
            )
            for step in message.provenance
        ),
        trust=message.trust,
        id=bytes(message.id),
        signature=bytes(message.signature),
        digest=latent_digest(latent, wire) if message.signature else b'',
    )
    return lct, wire


def proof_message(proof: Proof) -> sage.Proof:
    """Return the proof of a step as a message."""
    return sage.Proof(
        sequence=proof.sequence,
        stamp=stamp_of(proof.stamp_ns),
        trust=proof.trust,
        latent=np.frombuffer(proof.latent, np.uint8),
        signature=array('B', proof.signature),
    )


def proof_value(message: sage.Proof) -> Proof:
    """Return the proof of a step."""
    return Proof(
        message.sequence,
        stamp_ns(message.stamp),
        message.trust,
        bytes(message.latent),
        bytes(message.signature),
    )


def _floats(values: np.ndarray) -> array:
    return array('f', np.ascontiguousarray(values, np.float32).tobytes())
