# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""How the crops of two cameras are compared: by one cosine, or by all cues that they have."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from sage_perception.codecs.directions import unpack_direction
from sage_perception.core.latent import Code, LatentKind
from sage_perception.core.lct import LCT
from sage_perception.core.track_codes import TrackCodes
from sage_perception.models.identity import IdentityHead
from sage_perception.trust.fusion import agreement
from sage_perception.trust.fusion.agreement import AgreementModel
from sage_perception.trust.fusion.matching import center, cosine_matrix
from sage_perception.trust.fusion.rivals import ambiguity, apart, correction

MAX_SCORE = 1e3
"""Bound of a log-likelihood ratio in a matching, which needs finite numbers."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """All pairs of the crops of two cameras, `[N, M]` each.

    `similarity` is a cosine in [-1, 1]; `score` is what a matching maximizes, finite. Pairs whose
    `margin` is above 0 are taken for the same object. `log_ratio` is the log-likelihood ratio of
    that; None if it is not fitted.
    """

    similarity: np.ndarray
    score: np.ndarray
    margin: np.ndarray
    log_ratio: np.ndarray | None = None

    def with_evidence(self, log_ratio: np.ndarray) -> Comparison:
        """Return the comparison with independent evidence, log-likelihood ratios `[N, M]`.

        It has no effect on a comparison that is not fitted.
        """
        if self.log_ratio is None:
            return self
        parts = (each + log_ratio for each in (self.score, self.margin, self.log_ratio))
        return Comparison(self.similarity, *parts)


@dataclass(frozen=True, eq=False)
class View:
    """The crops of one camera as they are compared; `latents` are `[N, D]`, centered.

    `ambiguity` `[N]` is how easily each crop is confused, see `rivals.ambiguity`; None for crops
    that are not all of one image.
    """

    latents: np.ndarray
    cues: dict[str, np.ndarray] = field(default_factory=dict)
    ambiguity: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.latents)

    @classmethod
    def joined(cls, views: Sequence[View]) -> View:
        """Return the crops of one or more views as one, NaN where a cue is missing.

        A cue of another width than in the first view that has it is missing, too.
        """
        widths = {
            name: values.shape[1] for each in reversed(views) for name, values in each.cues.items()
        }
        cues = {
            name: np.concatenate([_cue(each, name, width) for each in views])
            for name, width in widths.items()
        }
        return cls(np.concatenate([each.latents for each in views]), cues)


def _cue(view: View, name: str, width: int) -> np.ndarray:
    """Return a cue of a view, `[N, width]`; NaN if it has none of that width."""
    values = view.cues.get(name)
    if values is None or values.shape[1] != width:
        return np.full((len(view), width), np.nan)
    return values


class Comparer(Protocol):
    """Compares the crops of cameras."""

    def view(self, camera: str, lcts: Sequence[LCT]) -> View:
        """Return LCTs of a camera as they are compared."""

    def image(self, camera: str, lcts: Sequence[LCT]) -> View:
        """Return all LCTs of an image of a camera as they are compared with another image."""

    def compare(self, a: View, b: View) -> Comparison:
        """Return the comparison of the crops of two cameras."""


AGREEMENT_THRESHOLD = 0.7
"""Cosine of two centered latents above which they show one thing."""


class CosineComparer:
    """Compares weighted latents by their cosine; two crops agree above `threshold`.

    `mean` `[D]` is that of the model and `weights` `[D]` scale the dimensions, see
    `matching.center`.
    """

    def __init__(
        self,
        mean: np.ndarray,
        weights: np.ndarray | float = 1.0,
        threshold: float = AGREEMENT_THRESHOLD,
    ) -> None:
        self.threshold = threshold
        self._mean, self._weights = np.asarray(mean, np.float64).ravel(), weights

    def view(self, camera: str, lcts: Sequence[LCT]) -> View:
        """Return the centered and weighted latents of LCTs."""
        return View(center(_latents(lcts, self._mean.size), self._mean, self._weights))

    def image(self, camera: str, lcts: Sequence[LCT]) -> View:
        """Return the same as `view`: a cosine has no regard to other crops."""
        return self.view(camera, lcts)

    def compare(self, a: View, b: View) -> Comparison:
        """Return the cosines of all pairs."""
        cosines = cosine_matrix(a.latents, b.latents)
        return Comparison(cosines, cosines, cosines - self.threshold)


class FittedComparer:
    """Compares all cues that crops have by a fitted model; `rate` is its false positive rate.

    `mean` and `weights` are those of the latents, as of `CosineComparer`; `head` is the identity
    head of their model. The codes of tracks that arrive only now and then are kept.
    """

    def __init__(
        self,
        model: AgreementModel,
        rate: float,
        mean: np.ndarray,
        weights: np.ndarray | float = 1.0,
        head: IdentityHead | None = None,
    ) -> None:
        self._model, self._rate, self._head = model, rate, head
        self._mean, self._weights = np.asarray(mean, np.float64).ravel(), weights
        self._codes = TrackCodes()

    def view(self, camera: str, lcts: Sequence[LCT]) -> View:
        """Return the cues of LCTs; keeps the codes that they have."""
        latents = _latents(lcts, self._mean.size)
        cues = {}
        if agreement.COLOR in self._model.cues:
            cues[agreement.COLOR] = self._model.colors(latents)
        if agreement.PALETTE in self._model.cues:
            cues[agreement.PALETTE] = self._model.palette(latents)
        if self._head is not None:
            cues[agreement.HEAD] = self._head(latents)
        cues |= self._identity_codes(camera, lcts)
        return View(center(latents, self._mean, self._weights), cues)

    def image(self, camera: str, lcts: Sequence[LCT]) -> View:
        """Return the cues of all LCTs of an image, and how easily each of them is confused."""
        view = self.view(camera, lcts)
        own = self.compare(view, view).log_ratio
        assert own is not None
        return replace(view, ambiguity=ambiguity(own, apart([lct.latent.roi for lct in lcts])))

    def compare(self, a: View, b: View) -> Comparison:
        """Return the log-likelihood ratios of all pairs; `similarity` is that of the head.

        Those of crops of two whole images are corrected, see `rivals.correction`.
        """
        cues = {agreement.LATENT: cosine_matrix(a.latents, b.latents)}
        if agreement.COLOR in self._model.cues:
            cues[agreement.COLOR] = self._model.color_similarity(
                a.cues[agreement.COLOR], b.cues[agreement.COLOR]
            )
        similarity = cues[agreement.LATENT]
        if self._head is not None:
            similarity = cues[agreement.HEAD] = cosine_matrix(
                a.cues[agreement.HEAD], b.cues[agreement.HEAD]
            )
        for name in (agreement.PALETTE, *agreement.CODES):
            ours, theirs = a.cues.get(name), b.cues.get(name)
            if ours is not None and theirs is not None and ours.shape[1] == theirs.shape[1]:
                cues[name] = ours @ theirs.T  # NaN where a crop has no code
        shift = None
        if a.ambiguity is not None and b.ambiguity is not None:
            shift = correction(a.ambiguity, b.ambiguity)
        ratios, margins = self._model.log_ratios(cues, self._rate, shift)
        return Comparison(similarity.clip(-1, 1), ratios.clip(-MAX_SCORE), margins, ratios)

    def _cue_of(self, code: Code) -> str | None:
        """Return the cue of an identity code of a space of the fit, None for another code."""
        space = code.model.fingerprint.hex()
        if code.kind is not LatentKind.IDENTITY:
            return None
        return next((cue for cue, each in self._model.code_spaces.items() if each == space), None)

    def _identity_codes(self, camera: str, lcts: Sequence[LCT]) -> dict[str, np.ndarray]:
        """Return the newest identity code of each crop by cue, float64 `[N, C]`, NaN without one.

        Codes of other spaces than those of the fits do not count.
        """
        found: dict[str, dict[int, np.ndarray]] = {}
        for index, lct in enumerate(lcts):
            self._codes.update(camera, [lct.latent], lct.stamp_ns)
            for code in self._codes.of(camera, lct.latent.track_id, lct.stamp_ns):
                cue = self._cue_of(code)
                if cue is not None:
                    with suppress(ValueError):  # of a later version
                        found.setdefault(cue, {})[index] = unpack_direction(code.payload)
        cues = {}
        for cue, codes in found.items():
            sizes = {code.size for code in codes.values()}
            if len(sizes) == 1:
                cues[cue] = np.full((len(lcts), *sizes), np.nan)
                cues[cue][list(codes)] = list(codes.values())
        return cues


def _latents(lcts: Sequence[LCT], dim: int) -> np.ndarray:
    """Return the latents of LCTs, `[N, D]`; N may be 0."""
    return np.stack([lct.latent.mean for lct in lcts]) if lcts else np.empty((0, dim))
