# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The file `trust.json` of a model: its quality map and its similarity weights.

`sage calibrate-trust MODEL CONFIG` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sage_perception.core.files import write_atomically
from sage_perception.core.reading import read_bounded
from sage_perception.core.text import one_line
from sage_perception.models.artifact import ModelError
from sage_perception.models.codec import Codec
from sage_perception.trust.quality import QualityMap, TelemetryTrust

FILE = 'trust.json'
MAX_BYTES = 1 << 24
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
        """Return the trust estimates of a loaded model, None if it has no `trust.json`.

        Raises `ValueError` in one line for a file that is damaged or of another latent space.
        """
        path = Path(codec.artifact.path) / FILE
        if not path.is_file():
            return None
        try:
            fitted = _parse(json.loads(read_bounded(path, MAX_BYTES)))
        except OSError as error:
            raise ValueError(f'{path} is invalid: {error.strerror}; {FIX}') from error
        except (ValueError, RecursionError) as error:
            reason = one_line(error)
            raise ValueError(f'{path} is invalid: {reason}; {FIX}') from error
        if fitted.fingerprint != codec.id.fingerprint.hex():
            space = one_line(fitted.fingerprint[:8])
            raise ValueError(
                f'{path} is of the latent space {space}, but the model is {codec.id}; {FIX}'
            )
        if len(fitted.weights) != codec.latent_dim:
            raise ValueError(
                f'{path} has {len(fitted.weights)} weights, but latents of {codec.id} have '
                f'{codec.latent_dim} dimensions; {FIX}'
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
    """How latents of a model are compared, arguments of `Arbiter`.

    `weights` `[D]` scale the dimensions of centered latents; `embed`, if it is not None, maps
    latents `[N, D]` to the codes that are compared instead. Two crops agree above `threshold`.
    """

    weights: np.ndarray
    embed: Callable[[np.ndarray], np.ndarray] | None
    threshold: float


def similarity_of(
    codec: Codec, agreement_threshold: float, agreement_fpr: float = 0.0
) -> Similarity:
    """Return how latents of a model are compared.

    With `agreement_fpr` above 0, the codes of its identity head are compared, and the threshold is
    the one that this share of pairs of different things exceeds. Otherwise weighted latents are
    compared at `agreement_threshold`. Raises as `FittedTrust.read` does, and `ModelError` if
    `agreement_fpr` is set and the model has no identity head.
    """
    weights = similarity_weights(codec)
    if not agreement_fpr:
        return Similarity(weights, None, agreement_threshold)
    head = codec.identity_head
    if head is None:
        raise ModelError(
            f'{codec.id} has no identity head, which agreement_fpr requires: set it to 0, or use '
            'tinyvae'
        )
    return Similarity(weights, head, head.threshold(agreement_fpr))
