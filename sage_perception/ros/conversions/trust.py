# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions of the arbiter's results: `sage_msgs/TrustReport` and `sage_msgs/AgreementArray`."""

from __future__ import annotations

import math

import numpy as np
from builtin_interfaces.msg import Time
from sage_msgs.msg import Agreement, AgreementArray, TrustReport
from std_msgs.msg import Header

from sage_perception.context.builder import AgreementPair
from sage_perception.ros.conversions.model_ids import model_id_to_msg
from sage_perception.trust.compatibility.report import TrustReport as Report
from sage_perception.trust.fusion.moments import AcceptedFrame, Pairing

# A cosine may exceed 1 by the rounding to float32.
MAX_SIMILARITY = 1 + 1e-6
# `sage_msgs/TrustReport.reason` is limited to 256 bytes.
MAX_REASON_CHARS = 250


def trust_report_to_msg(report: Report, stamp: Time) -> TrustReport:
    """Return the compatibility and conduct of an entity as a message."""
    return TrustReport(
        header=Header(stamp=stamp),
        entity_a=report.entity_a,
        entity_b=report.entity_b,
        model_b=model_id_to_msg(report.model_b),
        forward=report.forward,
        backward=report.backward,
        compression_trust=report.compression_trust,
        level=int(report.level),
        calibrated=report.calibrated,
        probes=report.probes,
        accepted=report.accepted,
        refused=report.refused,
        reason=report.reason[:MAX_REASON_CHARS],
        reputation=report.reputation,
    )


def agreements_from_msg(message: AgreementArray) -> list[AgreementPair]:
    """Return the matched LCTs of a message.

    Raises:
        ValueError: a similarity is not in [-1, 1].
    """
    for pair in message.agreements:
        if not abs(pair.similarity) <= MAX_SIMILARITY:
            raise ValueError(f'a similarity is {pair.similarity:g}: it must be in [-1, 1]')
    return [
        AgreementPair(bytes(pair.lct_a), bytes(pair.lct_b), pair.similarity, pair.log_ratio)
        for pair in message.agreements
    ]


def agreements_to_msg(
    header: Header, primary: str, frame: AcceptedFrame, pairing: Pairing
) -> AgreementArray:
    """Return the matched crops of a frame of camera `primary` and a frame of another camera."""
    a, b = frame.lcts, pairing.frame.lcts
    level = (Agreement.LEVEL_LOW, Agreement.LEVEL_HIGH)
    return AgreementArray(
        header=header,
        entity_a=primary,
        entity_b=pairing.camera,
        stamp_delta_s=pairing.delta_ns * 1e-9,
        unmatched_a=len(a) - len(pairing.matches),
        unmatched_b=len(b) - len(pairing.matches),
        agreements=[
            Agreement(
                lct_a=np.frombuffer(a[match.a].id, np.uint8),
                lct_b=np.frombuffer(b[match.b].id, np.uint8),
                track_a=a[match.a].latent.track_id,
                track_b=b[match.b].latent.track_id,
                similarity=match.similarity,
                log_ratio=math.nan if match.log_ratio is None else match.log_ratio,
                level=level[agrees],
            )
            for match, agrees in zip(pairing.matches, pairing.agree, strict=True)
        ],
    )
