# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A crop encoder with its parts, from the parameters of the encoder node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sage_perception.irp.frame import FrameRefiner
from sage_perception.models import Codec
from sage_perception.pipeline.code_encoder import CodeEncoder
from sage_perception.pipeline.code_schedule import CodePolicy
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.pipeline.track_linker import TrackLinker
from sage_perception.ros.wire_encoding import encoding_of
from sage_perception.trust.fitted import track_comparer


def code_policy(parameters: Mapping[str, Any]) -> CodePolicy:
    """Return when codes are computed."""
    return CodePolicy(parameters['semantic_period_s'], budget_ms=parameters['code_budget_ms'])


def build_encoder(
    parameters: Mapping[str, Any], codec: Codec, codes: CodeEncoder | None
) -> CropEncoder:
    """Return the encoder of one camera; `codes` is None without codes.

    Raises `ModelError` and `ValueError` as `CropEncoder` does, and `ImportError` for a refinement
    budget if torch is not installed.
    """
    linker = refiner = None
    if parameters['reentry_s']:
        linker = TrackLinker(track_comparer(codec), parameters['reentry_s'])
    if parameters['refine_budget_ms']:
        refiner = FrameRefiner(
            parameters['model'], parameters['device'], parameters['refine_budget_ms']
        )
    return CropEncoder(
        codec,
        encoding=encoding_of(parameters['encoding']),
        max_bytes=parameters['latent_bytes'],
        measure_every=parameters['measure_every'],
        refiner=refiner,
        codes=codes,
        linker=linker,
    )
