# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Plot a run of the demo over time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np

from sage_perception.cli.demo.measure import Run

COLORS = ('tab:blue', 'tab:orange')


def plot(run: Run, path: Path, target_ms: float) -> None:
    """Write an image with rates, latency and similarity over time."""
    figure, (rates, latency, agreement) = plt.subplots(3, 1, figsize=(9, 8), sharex=True)
    start = min(min(camera.published) for camera in run.cameras.values() if camera.published)
    end = max(max(camera.published) for camera in run.cameras.values() if camera.published)
    edges = np.arange(0, max((end - start) * 1e-9, 1) + 1e-6, 1.0)

    def seconds(stamps: Iterable[int]) -> np.ndarray:
        return (np.array(sorted(stamps), float) - start) * 1e-9

    for (name, camera), color in zip(run.cameras.items(), COLORS, strict=False):
        for stamps, style, kind in (
            (camera.published, '--', 'published'),
            (camera.attended, '-', 'attended'),
        ):
            counts, _ = np.histogram(seconds(stamps), edges)
            rates.plot(edges[:-1] + 0.5, counts, style, color=color, label=f'{name} {kind}')
        if camera.latency:
            stamps, lag_s = np.array(camera.latency).T
            latency.plot(
                (stamps - start) * 1e-9, lag_s * 1e3, '.', ms=2.5, color=color, label=name
            )
    rates.set_ylabel('frames per second')
    rates.set_ylim(bottom=0)
    rates.legend(loc='lower right', ncol=2, fontsize=8)
    latency.axhline(target_ms, color='gray', lw=0.8, ls=':', label=f'{target_ms:.0f} ms')
    latency.set_ylabel('source stamp to\nlatents received, ms')
    latency.set_ylim(bottom=0)
    latency.legend(loc='upper right', fontsize=8)
    for pairs, color, level in ((run.high, 'tab:green', 'HIGH'), (run.low, 'tab:red', 'LOW')):
        if pairs:
            stamps, similarity = np.array(pairs).T
            label = f'{level} ({len(pairs)})'
            agreement.plot(
                (stamps - start) * 1e-9, similarity, '.', ms=3, color=color, label=label
            )
    agreement.set_ylabel('similarity of\nmatched crops')
    agreement.set_ylim(-1.05, 1.05)
    agreement.set_xlabel('seconds')
    agreement.legend(loc='lower right', fontsize=8)
    for axes in (rates, latency, agreement):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
