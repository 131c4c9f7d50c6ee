# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Comparison and fusion of the frames that several cameras captured at one moment.

>>> fusion = CrossViewFusion(['cam0', 'cam1'], model.latent_mean, entity='arbiter')
>>> moment = fusion.fuse(frame, partners, {'cam0': 0.9, 'cam1': 0.8}, next_sequence)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from sage_perception.core.lct import LCT
from sage_perception.trust.fusion.assignment import matches
from sage_perception.trust.fusion.comparison import Comparer, CosineComparer
from sage_perception.trust.fusion.comparison import View as ComparedView
from sage_perception.trust.fusion.fusion import View, fuse
from sage_perception.trust.fusion.geometry import Geometry
from sage_perception.trust.fusion.majority import (
    agreement_evidence,
    agreement_groups,
    agrees,
    majority_of,
)
from sage_perception.trust.fusion.moments import AcceptedFrame, Moment, Pairing
from sage_perception.trust.fusion.synchronizer import Partner
from sage_perception.trust.fusion.view_history import ViewHistory

CONTRADICTED_WEIGHT = 0.5
"""Factor of the weight of a primary camera that the majority contradicts."""


class CrossViewFusion:
    """Matches the crops of several cameras and fuses those that show the same object.

    Attributes
    ----------
    cameras : list of str
        Names; the first is the primary camera.
    comparer : Comparer
        Compares the crops of two cameras.
    geometry : dict
        For other cameras, the geometry that excludes matches with the primary camera.

    """

    def __init__(
        self,
        cameras: Sequence[str],
        latent_mean: np.ndarray,
        *,
        entity: str,
        comparer: Comparer | None = None,
        weights: np.ndarray | float = 1.0,
        geometry: Mapping[str, Geometry] | None = None,
        shared_view: bool = False,
        consistency_power: float = 8.0,
    ):
        """Prepare for latents of one model.

        `latent_mean` `[D]` is the mean latent of that model and `weights` `[D]` scales the
        dimensions, see `matching.center`. `comparer` is by default a `CosineComparer`. `entity` is
        the identity of fused LCTs. `geometry` excludes matches between the primary camera and the
        cameras that it has an entry for, and is evidence for those that it permits.
        `shared_view` states that all cameras see the same scene: a camera that agrees with none
        while the others agree then contradicts them. `consistency_power` is the exponent of the
        consistency of views with the past of their track, see `ViewHistory`; 0, or one camera: no
        past.
        """
        self._shared_view = shared_view
        self.cameras = list(cameras)
        self._mean = np.asarray(latent_mean, np.float64).ravel()
        self._weights = weights
        self.comparer: Comparer = comparer or CosineComparer(self._mean, weights)
        self.geometry: dict[str, Geometry] = dict(geometry or {})
        self._entity = entity
        self._history = (
            ViewHistory(self.cameras, self._mean, consistency_power)
            if consistency_power > 0 and len(self.cameras) > 1
            else None
        )

    def fuse(
        self,
        frame: AcceptedFrame,
        partners: Mapping[str, Partner[AcceptedFrame]],
        camera_weights: Mapping[str, float],
        next_sequence: Callable[[], int],
        overlapping: Collection[str] = (),
    ) -> Moment:
        """Return the moment of a primary frame and of its synchronized partners, by camera.

        `camera_weights` in [0, 1] are the weights of the cameras in the fusion. A camera without
        a weight is compared with the others but not fused; the primary camera must have one.
        `next_sequence` is called once for each fused LCT.

        Other views confirm a crop only if the cameras that see the object have at least half of
        the weight of the witnesses: the cameras that agree with the primary camera, and those of
        the `overlapping` ones, which share its view, that have crops. If the majority does not
        agree with the primary camera, no view confirms its crops.
        """
        primary = self.cameras[0]
        compared = {primary: self.comparer.image(primary, frame.lcts)}
        compared |= {c: self.comparer.image(c, p.item.lcts) for c, p in partners.items()}
        pairings = [self._pair(frame, c, p, compared) for c, p in partners.items()]

        def agree_of(a: str, b: str) -> list[bool]:
            comparison = self.comparer.compare(compared[a], compared[b])
            return [each.agrees for each in matches(comparison)]

        groups = agreement_groups(primary, compared, pairings, agree_of)
        majority = majority_of(groups)
        expected = self._expected(primary, pairings, majority)
        weight, outvoted = camera_weights[primary], bool(majority) and primary not in majority
        if outvoted and primary in expected:
            weight *= CONTRADICTED_WEIGHT
        views = [[View(lct, weight, primary)] for lct in frame.lcts]
        if not outvoted:
            self._confirm(views, pairings, camera_weights, overlapping)
        fused = [self._fuse_views(same, frame.stamp_ns, next_sequence()) for same in views]
        return Moment(frame, pairings, fused, agreement_evidence(groups, expected))

    def _fuse_views(self, views: Sequence[View], stamp_ns: int, sequence: int) -> LCT:
        """Return the fused LCT of the views of an object; the past of its track weighs them."""
        shares, track_id = None, views[0].lct.latent.track_id
        if self._history is not None:
            shares = self._history.weigh(
                track_id,
                stamp_ns,
                [view.camera for view in views],
                [view.lct.latent.mean for view in views],
                [view.camera_weight * view.lct.trust for view in views],
            )
        lct = fuse(views, self._mean, self._entity, sequence, self._weights, shares)
        if self._history is not None:
            agreed = {v.camera: v.lct.latent.track_id for v in views[1:] if v.agreeing}
            self._history.note(track_id, stamp_ns, lct.latent.mean, agreed)
        return lct

    def _confirm(
        self,
        views: Sequence[list[View]],
        pairings: Sequence[Pairing],
        camera_weights: Mapping[str, float],
        overlapping: Collection[str],
    ) -> None:
        """Add the agreeing views of other cameras to the crops that enough of them confirm."""
        fused = [pairing for pairing in pairings if pairing.camera in camera_weights]
        witnesses = [
            camera_weights[pairing.camera]
            for pairing in fused
            if agrees(pairing.agree)
            or (pairing.frame.lcts and (self._shared_view or pairing.camera in overlapping))
        ]
        found: list[list[View]] = [[] for _ in views]
        for pairing in fused:
            weight, seen = camera_weights[pairing.camera], dict(self._agreeing(pairing))
            for crop, others in enumerate(found):
                if crop in seen:
                    lct = pairing.frame.lcts[seen[crop]]
                    others.append(View(lct, weight, pairing.camera))
                    continue
                held = self._held(views[crop][0].lct, pairing, set(seen.values()))
                if held is not None:
                    others.append(View(held, weight, pairing.camera, agreeing=False))
        for same, others in zip(views, found, strict=True):
            support = same[0].camera_weight + sum(view.camera_weight for view in others)
            if 2 * support >= same[0].camera_weight + sum(witnesses):
                same += others

    def _agreeing(self, pairing: Pairing) -> Iterator[tuple[int, int]]:
        """Yield the crop of the primary camera and that of the other one of each agreement."""
        for pair, agree in zip(pairing.matches, pairing.agree, strict=True):
            if agree:
                yield pair.a, pair.b

    def _held(self, lct: LCT, pairing: Pairing, taken: Collection[int]) -> LCT | None:
        """Return the view of a camera that agreed before and still resembles the past.

        `taken` are the crops of that camera that agree with another crop.
        """
        track_id, stamp_ns = lct.latent.track_id, lct.stamp_ns
        if self._history is None:
            return None
        past = self._history.past(track_id, stamp_ns)
        partner = self._history.partner(track_id, pairing.camera, stamp_ns)
        if past is None or not partner:
            return None
        for index, other in enumerate(pairing.frame.lcts):
            if other.latent.track_id == partner and index not in taken:
                mean = np.asarray(past, np.float32)
                before = replace(other.latent, mean=mean, log_var=None, codes=(), track_id=0)
                seen = self.comparer.view(pairing.camera, [other])
                earlier = self.comparer.view('', [replace(other, latent=before)])
                return other if self.comparer.compare(seen, earlier).margin[0, 0] > 0 else None
        return None

    def _expected(self, primary: str, pairings: Sequence[Pairing], majority: set[str]) -> set[str]:
        """Return the cameras that see the same scene as the others at this moment.

        These are all with `shared_view`, else those with crops where a homography predicts the
        crops of the primary camera.
        """
        if self._shared_view:
            return set(self.cameras)
        near = {
            pairing.camera
            for pairing in pairings
            if pairing.matches
            and pairing.camera in self.geometry
            and self.geometry[pairing.camera].planar
        }
        if primary in majority:
            return near
        return {primary} if near & majority else set()

    def _pair(
        self,
        frame: AcceptedFrame,
        camera: str,
        partner: Partner[AcceptedFrame],
        compared: Mapping[str, ComparedView],
    ) -> Pairing:
        theirs = partner.item
        possible = None
        comparison = self.comparer.compare(compared[self.cameras[0]], compared[camera])
        if camera in self.geometry:
            ours_rois, their_rois = (
                [lct.latent.roi for lct in each.lcts] for each in (frame, theirs)
            )
            geometry = self.geometry[camera]
            possible = geometry.possible(ours_rois, their_rois)
            if comparison.log_ratio is not None:
                evidence = geometry.log_ratio(ours_rois, their_rois)
                comparison = comparison.with_evidence(evidence)
        found = matches(comparison, possible)
        agree = [each.agrees for each in found]
        return Pairing(camera, theirs, partner.delta_ns, found, agree)
