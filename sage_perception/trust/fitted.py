# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What is fitted to a model so that its latents can be judged: `trust.json` beside it.

`sage calibrate-trust MODEL CONFIG` makes it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sage_perception.trust.quality import QualityMap, TelemetryTrust

if TYPE_CHECKING:
    from sage_perception.models import Codec

FILE = 'trust.json'


@dataclass(frozen=True)
class FittedTrust:
    """A model's map of quality, and what each dimension is worth where two views are compared.

    `fingerprint` of the latent space is hexadecimal. `weights` `[D]`, above 0, are factors for
    latents less their mean: `sage_perception.trust.fusion.matching.center`.
    """

    fingerprint: str
    quality: QualityMap
    weights: tuple[float, ...]

    def __post_init__(self):
        weights = np.asarray(self.weights, float)
        if weights.ndim != 1 or not (np.isfinite(weights) & (weights > 0)).all():
            raise ValueError('its weights are not numbers above 0')

    def write(self, folder: Path) -> Path:
        """Write it beside its model; return the file."""
        path = Path(folder) / FILE
        part = path.with_suffix('.part')
        part.write_text(json.dumps(asdict(self)) + '\n')
        os.replace(part, path)
        return path

    @classmethod
    def of(cls, codec: Codec) -> FittedTrust | None:
        """Return what was fitted to a loaded model, None if nothing was.

        Raises `ValueError` if it is damaged, or of another latent space.
        """
        path = Path(codec.artifact.path) / FILE
        if not path.is_file():
            return None
        try:
            tree = json.loads(path.read_text())
            found = cls(tree['fingerprint'], QualityMap(**tree['quality']), tree['weights'])
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f'{path} cannot be used: {error}; make it anew: `sage calibrate-trust`'
            ) from error
        known = codec.id.fingerprint.hex()
        if found.fingerprint != known or len(found.weights) != codec.latent_dim:
            raise ValueError(
                f'{path} is for the latent space {found.fingerprint[:8]}, the model is '
                f'{codec.id}: make it anew: `sage calibrate-trust`'
            )
        return found


def telemetry_trust_of(codec: Codec) -> TelemetryTrust:
    """Return what judges latents that a model makes; raises as `Fitted.of` does."""
    fitted = FittedTrust.of(codec)
    quality = None if fitted is None else fitted.quality
    return TelemetryTrust(quality, codec.latent_mean, codec.latent_std)


def similarity_weights(codec: Codec) -> np.ndarray:
    """Return what each dimension is worth, float64 `[D]`; ones where it was not fitted."""
    fitted = FittedTrust.of(codec)
    return np.ones(codec.latent_dim) if fitted is None else np.array(fitted.weights, float)
