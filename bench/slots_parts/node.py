# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Size and time of a slot model on one CPU thread by ONNX Runtime."""

from __future__ import annotations

import time

import numpy as np

from sage_perception.models.registry import load_slot_encoder

REPETITIONS = 30


def measure(model_name: str) -> dict:
    """Return parameters, CPU milliseconds of a frame (slots and masks), and frames per second."""
    model = load_slot_encoder(model_name)
    side = model.input_size
    x = np.random.default_rng(0).random((1, model.input_channels, side, side), np.float32)
    slots = model.encode(x)
    parts: dict[str, list[float]] = {'slots': [], 'masks': []}
    for _ in range(REPETITIONS):
        started = time.process_time()
        slots = model.track(x, slots.slots)
        tracked = time.process_time()
        model.decode(slots, x)
        parts['slots'].append(1e3 * (tracked - started))
        parts['masks'].append(1e3 * (time.process_time() - tracked))
    medians = {name: round(float(np.median(values)), 2) for name, values in parts.items()}
    total = sum(medians.values())
    return {
        'model': str(model.id),
        'params': model.artifact.parameters,
        'input': side,
        'ms': round(total, 2),
        **{f'{name}_ms': value for name, value in medians.items()},
        'hz': round(1e3 / total, 1),
    }
