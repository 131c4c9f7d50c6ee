# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Latents of the model of sound whose word is known, without a synthesizer."""

import numpy as np

from sage_perception.core.latent import Latent, LatentKind, Telemetry


def latent_of(model, word, trust=0.8):
    """Return a latent of a word, found by ascending the probability of the label head.

    `word` may have the probability at which the ascent ends, among 'red' and 'ball'.
    """
    word, wanted = (word, 0.97) if isinstance(word, str) else word
    index = model.labels.index(word)
    tensor = {name: model.artifact.tensor(f'head.{name}').astype(float)
              for name in ('0.weight', '0.bias', '3.weight', '3.bias')}  # fmt: skip
    z = model.latent_mean.astype(float)
    chosen = [model.labels.index(each) for each in ('red', 'ball', model.labels[-1])]
    for _ in range(2000):
        hidden = tensor['0.weight'] @ z + tensor['0.bias']
        logits = tensor['3.weight'] @ np.maximum(hidden, 0) + tensor['3.bias']
        scores = np.full(len(logits), -np.inf)
        scores[chosen] = logits[chosen] / model.temperature
        probabilities = np.exp(scores - scores.max())
        probabilities /= probabilities.sum()
        if probabilities[index] >= wanted:
            break
        slope = -probabilities
        slope[index] += 1
        z = z + 0.02 * (((tensor['3.weight'].T @ slope) * (hidden > 0)) @ tensor['0.weight'])
    return Latent(
        z.astype(np.float32), None, LatentKind.AUDIO, model.id,
        telemetry=Telemetry(trust=trust),
    )  # fmt: skip
