# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The file `trust.json` of a model: its quality map and its similarity weights.

`sage calibrate-trust MODEL CONFIG` writes it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sage_perception.core.files import write_atomically
from sage_perception.core.latent import ModelId
from sage_perception.core.reading import read_bounded
from sage_perception.core.text import one_line
from sage_perception.models import identity
from sage_perception.models.codec import Codec
from sage_perception.models.identity import IdentityHead
from sage_perception.trust.fusion import agreement
from sage_perception.trust.fusion.agreement import AgreementModel
from sage_perception.trust.fusion.comparison import (
    AGREEMENT_THRESHOLD,
    Comparer,
    CosineComparer,
    FittedComparer,
)
from sage_perception.trust.quality import QualityMap, TelemetryTrust

FILE = 'trust.json'
MAX_BYTES = 1 << 24
TRACK_FPR = 0.002
"""Share of other lost tracks that a new track may be taken for."""
FIX = 'run `sage calibrate-trust` to write it again, or delete it'


@dataclass(frozen=True)
class FittedTrust:
    """The trust estimates that are fitted to one model.

    `fingerprint` of its latent space is hexadecimal. `weights` `[D]`, above 0, scale the
    dimensions where latents of two views are compared, see
    `sage_perception.trust.fusion.matching.center`.
    """

    fingerprint: str
    quality: QualityMap
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights, float)
        if weights.ndim != 1 or not (np.isfinite(weights) & (weights > 0)).all():
            raise ValueError('weights must be finite numbers above 0')

    def write(self, folder: Path) -> Path:
        """Write `trust.json` to the folder of the model; return the file. Raises `OSError`."""
        path = Path(folder) / FILE
        write_atomically(path, json.dumps(asdict(self)) + '\n')
        return path

    @classmethod
    def read(cls, codec: Codec) -> FittedTrust | None:
        """Return the trust estimates of a loaded model; see `of`."""
        return cls.of(codec.artifact.path, codec.id, codec.latent_dim)

    @classmethod
    def of(cls, folder: Path, model: ModelId, dim: int) -> FittedTrust | None:
        """Return the trust estimates in the folder of a model, None if it has no `trust.json`.

        `dim` is that of its latents. Raises `ValueError` in one line for a file that is damaged or
        of another latent space.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            fitted = _parse(json.loads(read_bounded(path, MAX_BYTES)))
        except OSError as error:
            raise ValueError(f'{path} is invalid: {error.strerror}; {FIX}') from error
        except (ValueError, RecursionError) as error:
            reason = one_line(error)
            raise ValueError(f'{path} is invalid: {reason}; {FIX}') from error
        if fitted.fingerprint != model.fingerprint.hex():
            space = one_line(fitted.fingerprint[:8])
            raise ValueError(
                f'{path} is of the latent space {space}, but the model is {model}; {FIX}'
            )
        if len(fitted.weights) != dim:
            raise ValueError(
                f'{path} has {len(fitted.weights)} weights, but latents of {model} have '
                f'{dim} dimensions; {FIX}'
            )
        return fitted


def _parse(tree: Any) -> FittedTrust:
    """Return the content of a file; raise `ValueError` that names the first invalid entry."""
    quality = _entry(tree, 'quality', dict)
    names = ('error', 'variance', 'farthest', 'margin')
    return FittedTrust(
        _entry(tree, 'fingerprint', str),
        QualityMap(
            scores=_floats(_entry(quality, 'scores', list), 'scores'),
            qualities=_floats(_entry(quality, 'qualities', list), 'qualities'),
            **dict(zip(names, _floats([quality.get(n) for n in names], 'quality'), strict=True)),
        ),
        _floats(_entry(tree, 'weights', list), 'weights'),
    )


def _entry(tree: Any, name: str, kind: type) -> Any:
    """Return an entry of a mapping that must have a type."""
    value = tree.get(name) if isinstance(tree, dict) else None
    if not isinstance(value, kind):
        raise ValueError(f'the entry {name!r} is missing or of the wrong type')
    return value


def _floats(values: list[Any], name: str) -> tuple[float, ...]:
    """Return a list of JSON numbers as floats."""
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
        raise ValueError(f'the entry {name!r} must consist of numbers')
    try:
        return tuple(float(value) for value in values)
    except OverflowError:
        raise ValueError(f'the entry {name!r} has a number out of range') from None


def telemetry_trust_of(codec: Codec) -> TelemetryTrust:
    """Return the trust function of a model's own latents; raises as `FittedTrust.read` does."""
    fitted = FittedTrust.read(codec)
    quality = None if fitted is None else fitted.quality
    return TelemetryTrust(quality, codec.latent_mean, codec.latent_std)


def similarity_weights(codec: Codec) -> np.ndarray:
    """Return the weight of each dimension in similarities, float64 `[D]`; 1 if not fitted.

    Raises as `FittedTrust.read` does.
    """
    fitted = FittedTrust.read(codec)
    return np.ones(codec.latent_dim) if fitted is None else np.array(fitted.weights, float)


class Similarity(NamedTuple):
    """How latents of a model are compared.

    `weights` `[D]` scale the dimensions of centered latents in the fusion; `comparer` compares the
    crops of two cameras. `note` is a sentence for the log, or ''.
    """

    weights: np.ndarray
    comparer: Comparer
    note: str = ''


def similarity_of(
    codec: Codec, agreement_threshold: float = AGREEMENT_THRESHOLD, agreement_fpr: float = 0.0
) -> Similarity:
    """Return how latents of a model are compared.

    With `agreement_fpr` above 0, all cues are compared by the fitted agreement of the model, at
    the threshold that this share of pairs of different things exceeds. At 0, and for a model
    without a fitted agreement, weighted latents are compared at `agreement_threshold`. Raises
    `ValueError` for a damaged file.
    """
    weights = similarity_weights(codec)
    mean = codec.latent_mean.ravel()
    cosine = CosineComparer(mean, weights, agreement_threshold)
    if not agreement_fpr:
        return Similarity(weights, cosine)
    fitted = fitted_comparer(codec.artifact.path, codec.id, mean, agreement_fpr)
    if fitted is None:
        return Similarity(
            weights,
            cosine,
            f'{codec.id} has no fitted agreement: crops are compared by agreement_threshold',
        )
    return Similarity(weights, fitted)


def fitted_comparer(
    folder: Path,
    model: ModelId,
    mean: np.ndarray,
    agreement_fpr: float,
    file: str = agreement.FILE,
) -> FittedComparer | None:
    """Return the comparison by the fitted agreement in the folder of a model, None without one.

    `mean` `[D]` is that of its latents. The model itself is not loaded. Raises `ValueError` for a
    damaged file, and one that was fitted with another identity head.
    """
    fitted = agreement.read(folder, file)
    if fitted is None:
        return None
    head = identity.read(folder, model.fingerprint, mean.size)
    _check_agreement(fitted, model, mean.size, head, folder / file)
    trust = FittedTrust.of(folder, model, mean.size)
    weights = 1.0 if trust is None else np.array(trust.weights, float)
    return FittedComparer(fitted, agreement_fpr, mean, weights, head)


def reentry_comparer(
    folder: Path, model: ModelId, mean: np.ndarray, fpr: float
) -> FittedComparer | None:
    """Return the comparison of crops at different times, by the fit of a model for that.

    A model without one has that of two cameras, or none. Arguments and errors are those of
    `fitted_comparer`.
    """
    found = fitted_comparer(folder, model, mean, fpr, agreement.REENTRY_FILE)
    return found or fitted_comparer(folder, model, mean, fpr)


def track_comparer(codec: Codec) -> FittedComparer:
    """Return the comparison of latents of one camera a few seconds apart, see `TrackLinker`.

    The fit for two cameras keeps more ids there (.74) than that for re-entry (.67). Raises
    `ValueError` if the model has no fitted agreement, or a damaged one.
    """
    mean = codec.latent_mean.ravel()
    found = fitted_comparer(codec.artifact.path, codec.id, mean, TRACK_FPR)
    if found is None:
        raise ValueError(
            f'{codec.id} has no fitted agreement, which links of tracks require: set reentry_s to '
            '0, or use tinyvae'
        )
    return found


def _check_agreement(
    fitted: AgreementModel, model: ModelId, dim: int, head: IdentityHead | None, path: Path
) -> None:
    """Raise `ValueError` if an agreement was fitted to another model or identity head."""
    if fitted.fingerprint != model.fingerprint.hex():
        raise ValueError(f'{path} is not of the latent space of {model}; {agreement.FIX}')
    if fitted.color_map.shape[0] != dim:
        raise ValueError(f'{path} is not for {dim} dimensions; {agreement.FIX}')
    if fitted.head != ('' if head is None else head.digest):
        raise ValueError(
            f'{path} was fitted with another identity head than that of {model}; {agreement.FIX}'
        )
