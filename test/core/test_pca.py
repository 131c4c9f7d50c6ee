# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Principal components."""

import numpy as np

from sage_perception.models import pca


def test_components_are_orthonormal_and_span_low_rank_data():
    rng = np.random.default_rng(0)
    low_rank = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 48))
    x = (0.5 + 0.02 * low_rank).astype(np.float32).reshape(80, 3, 4, 4)
    fitted = pca.fit(x, 3)
    np.testing.assert_allclose(fitted.components @ fitted.components.T, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(fitted.reconstruct(x), x, atol=1e-4)
