# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Groups of cameras that agree at one moment, and the evidence that they give on each camera."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence, Sized

from sage_perception.trust.fusion.moments import Pairing

AGREEMENT = 1.0
"""Evidence for a camera that agrees with the majority."""
DISAGREEMENT = 0.5
"""Evidence for a camera that does not: it may see other objects, so it is not 0."""
CONTRADICTION = 0.0
"""Evidence for a camera that does not, although it sees the same scene."""
MIN_SHARE = 0.4
"""Share of the matches of two cameras that must agree: unrelated crops agree now and then."""


def agreement_groups(
    primary: str,
    views: Mapping[str, Sized],
    pairings: Sequence[Pairing],
    agree_of: Callable[[str, str], Sequence[bool]],
) -> list[set[str]]:
    """Return the groups of cameras that agree directly or through others, the largest first.

    Two cameras agree if `MIN_SHARE` of their matched crops do. `views` has the crops of each
    camera; a camera without crops is in no group. `agree_of` returns which of the matched crops of
    two cameras other than the primary one agree.
    """
    groups = [{camera} for camera, crops in views.items() if len(crops)]
    pairs = {frozenset((primary, pairing.camera)): pairing.agree for pairing in pairings}
    for a, b in itertools.combinations([pairing.camera for pairing in pairings], 2):
        pairs[frozenset((a, b))] = agree_of(a, b)
    for pair, agree in pairs.items():
        if agrees(agree):
            joined = [group for group in groups if group & pair]
            groups = [group for group in groups if not group & pair] + [set().union(*joined)]
    return sorted(groups, key=len, reverse=True)


def agrees(agree: Sequence[bool]) -> bool:
    """Return whether so many of the matches of two cameras agree that the cameras do."""
    return any(agree) and sum(agree) >= MIN_SHARE * len(agree)


def majority_of(groups: Sequence[set[str]]) -> set[str]:
    """Return the largest group of `agreement_groups`; empty if it is a single camera, or a tie."""
    sizes = [len(group) for group in groups]
    if not sizes or sizes[0] < 2 or sizes.count(sizes[0]) > 1:
        return set()
    return groups[0]


def agreement_evidence(
    groups: Sequence[set[str]], expected: Collection[str] = ()
) -> dict[str, float]:
    """Return the evidence in [0, 1] for the reputation of cameras, from one moment.

    The members of the majority get `AGREEMENT`. Every other camera with crops gets `CONTRADICTION`
    if it is one of the `expected`, which see the same scene, else `DISAGREEMENT`. Without a
    majority there is no evidence.
    """
    majority = majority_of(groups)
    if not majority:
        return {}
    others = sorted(set().union(*groups) - majority)
    return dict.fromkeys(sorted(majority), AGREEMENT) | {
        camera: CONTRADICTION if camera in expected else DISAGREEMENT for camera in others
    }
