# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The margin of a quality map, by conformal prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sage_perception.training.trust.observations import Observations
from sage_perception.training.trust.quality_map import fit_quality_map, trust_in

COVERAGE = 0.9
"""Share of images for which the lower bound of the quality holds."""


def conformal_margin(excess: np.ndarray) -> float:
    """Return the bound of the excess of trust over quality that holds with probability `COVERAGE`.

    `excess` `[N]` is trust − quality of images that the map was not fitted to. The bound holds for
    images from the same distribution (Papadopoulos et al., Inductive Confidence Machines for
    Regression, 2002). It is at least 0.
    """
    rank = int(np.ceil((len(excess) + 1) * COVERAGE))
    return max(float(np.sort(excess)[min(rank, len(excess)) - 1]), 0.0)


def cross_conformal_margin(parts: Mapping[str, Sequence[Observations]]) -> float:
    """Return the margin for new files, the largest of all kinds.

    `parts` has the observations of each kind in parts that share no file: crops of one image are
    similar and do not represent other images. The excess of a part is measured with a map that is
    fitted to all other parts (Vovk, Cross-conformal predictors, 2015).
    """
    margins = []
    for kind, own in parts.items():
        excess = []
        for n, part in enumerate(own):
            others = {**parts, kind: [*own[:n], *own[n + 1 :]]}
            quality = fit_quality_map(
                [Observations.concatenate(some) for some in others.values() if some]
            )
            excess.append(trust_in(quality, part) - part.quality)
        margins.append(conformal_margin(np.concatenate(excess)))
    return max(margins)
