# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Comparison and fusion of the frames that several cameras captured at one moment.

>>> fusion = CrossViewFusion(['cam0', 'cam1'], model.latent_mean, entity='arbiter')
>>> moment = fusion.fuse(frame, partners, {'cam0': 0.9, 'cam1': 0.8}, next_sequence)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sage_perception.core.lct import LCT
from sage_perception.trust.fusion.fusion import View, fuse
from sage_perception.trust.fusion.geometry import CameraGeometry
from sage_perception.trust.fusion.matching import center, match
from sage_perception.trust.fusion.moments import AcceptedFrame, Moment, Pairing
from sage_perception.trust.fusion.synchronizer import Partner

AGREEMENT = 1.0
"""Evidence for a camera that agrees with another one."""
DISAGREEMENT = 0.5
"""Evidence for a camera that agrees with no other: it may see other objects, so it is not 0."""


class CrossViewFusion:
    """Matches the crops of several cameras and fuses those that show the same object.

    Attributes
    ----------
    cameras : list of str
        Names; the first is the primary camera.
    threshold : float
        Similarity above which two crops agree, that is, are taken for the same object.

    """

    def __init__(
        self,
        cameras: Sequence[str],
        latent_mean: np.ndarray,
        *,
        entity: str,
        threshold: float = 0.7,
        weights: np.ndarray | float = 1.0,
        geometry: Mapping[str, CameraGeometry] | None = None,
    ):
        """Prepare for latents of one model.

        `latent_mean` `[D]` is the mean latent of that model and `weights` `[D]` scales the
        dimensions, see `matching.center`. `entity` is the identity of fused LCTs. `geometry`
        excludes matches between the primary camera and the cameras that it has an entry for.
        """
        self.cameras = list(cameras)
        self.threshold = threshold
        self._mean = np.asarray(latent_mean, np.float64).ravel()
        self._weights = weights
        self._geometry = dict(geometry or {})
        self._entity = entity

    def fuse(
        self,
        frame: AcceptedFrame,
        partners: Mapping[str, Partner[AcceptedFrame]],
        camera_weights: Mapping[str, float],
        next_sequence: Callable[[], int],
    ) -> Moment:
        """Return the moment of a primary frame and of its synchronized partners, by camera.

        `camera_weights` in [0, 1] are the weights of the cameras in the fusion. A camera without
        a weight is compared with the others but not fused; the primary camera must have one.
        `next_sequence` is called once for each fused LCT.
        """
        primary = self.cameras[0]
        centered = {primary: self._centered(frame.lcts)}
        centered |= {camera: self._centered(p.item.lcts) for camera, p in partners.items()}
        pairings = [self._pair(frame, c, p, centered) for c, p in partners.items()]
        views = [[View(lct, camera_weights[primary])] for lct in frame.lcts]
        for pairing in pairings:
            if pairing.camera not in camera_weights:
                continue
            for found, agrees in zip(pairing.matches, pairing.agree, strict=True):
                if agrees:
                    lct = pairing.frame.lcts[found.b]
                    views[found.a].append(View(lct, camera_weights[pairing.camera]))
        fused = [
            fuse(same, self._mean, self._entity, next_sequence(), self._weights) for same in views
        ]
        evidence = agreement_evidence(primary, centered, pairings, self.threshold)
        return Moment(frame, pairings, fused, evidence)

    def _pair(
        self,
        frame: AcceptedFrame,
        camera: str,
        partner: Partner[AcceptedFrame],
        centered: Mapping[str, np.ndarray],
    ) -> Pairing:
        theirs = partner.item
        possible = None
        if camera in self._geometry:
            ours_rois, their_rois = (
                [lct.latent.roi for lct in each.lcts] for each in (frame, theirs)
            )
            possible = self._geometry[camera].possible(ours_rois, their_rois)
        matches = match(centered[self.cameras[0]], centered[camera], possible)
        agree = [found.similarity > self.threshold for found in matches]
        return Pairing(camera, theirs, partner.delta_ns, matches, agree)

    def _centered(self, lcts: Sequence[LCT]) -> np.ndarray:
        """Return the centered latents `[N, D]` of LCTs, for cosine similarities."""
        if not lcts:
            return np.empty((0, self._mean.size))
        latents = np.stack([lct.latent.mean for lct in lcts])
        return center(latents, self._mean, self._weights)


def agreement_evidence(
    primary: str,
    centered: Mapping[str, np.ndarray],
    pairings: Sequence[Pairing],
    threshold: float,
) -> dict[str, float]:
    """Return the evidence in [0, 1] for the reputation of cameras, from one moment.

    A camera with a crop that agrees with a crop of any other camera gets `AGREEMENT`. If any two
    cameras agree, each other camera that has crops gets `DISAGREEMENT`; if none agree, there is no
    evidence. `centered` has the latents `[N, D]` of each camera.
    """
    agreeing: set[str] = set()
    for pairing in pairings:
        if any(pairing.agree):
            agreeing |= {primary, pairing.camera}
    for a, b in itertools.combinations([pairing.camera for pairing in pairings], 2):
        if not {a, b} <= agreeing:
            matches = match(centered[a], centered[b])
            if any(found.similarity > threshold for found in matches):
                agreeing |= {a, b}
    evidence = dict.fromkeys(sorted(agreeing), AGREEMENT)
    if agreeing:
        evidence |= {
            camera: DISAGREEMENT
            for camera, latents in centered.items()
            if camera not in agreeing and len(latents)
        }
    return evidence
