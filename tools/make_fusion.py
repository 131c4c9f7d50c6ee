#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Train the model `fusion` on rendered scenes, and write its folder.

Renders the scenes to `out/puzzle` first, which takes two minutes, and trains for three; needs
requirements/semantic.txt. Scenes and a network of the present code that are there already are used
again. The network is trained as those of bench/translation.py, but for longer.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'bench'))
from translation_parts.cache import cached_file, kept
from translation_parts.scenes import MODELS, encoder, scenes, sentences

from sage_perception.models import load_crop_codec
from sage_perception.models.artifact import ENCODER, WEIGHTS
from sage_perception.models.fusion import INPUTS, MAX_OBJECTS
from sage_perception.models.networks.puzzle.attention import CrossModalAttention, FusionConfig
from sage_perception.training.config import read_config
from sage_perception.training.export.folder import finalize, round_weights, save_tensors
from sage_perception.training.export.onnx_graph import to_onnx
from sage_perception.training.puzzle.cues import phrases
from sage_perception.training.puzzle.examples import TRAINING, Condition, draw
from sage_perception.training.puzzle.fit import (
    FitConfig,
    fit_attention,
    fit_temperature,
    logits_of,
)
from sage_perception.training.puzzle.sentences import unseen_sentences

CALIBRATION = 3000
CONFIG = FitConfig(steps=2500, pool=80_000, seed=1)


class Graph(torch.nn.Module):
    """The network with the cues as inputs of their own."""

    def __init__(self, network: CrossModalAttention):
        super().__init__()
        self.network = network

    def forward(self, objects, present, text, audio, body, given):
        """Return the fused latents and the logits of the objects."""
        return tuple(self.network(objects, present, (text, audio, body), given)[:2])


def trained() -> CrossModalAttention:
    """Return the trained network, which is kept in a file."""
    return kept(
        cached_file(f'shipped_{CONFIG.steps}.pt', 'translation_parts.scenes', MODELS),
        CrossModalAttention(FusionConfig()),
        lambda: fit_attention(scenes(False), *sentences(), TRAINING, CONFIG),
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--to', type=Path, default=Path('sage_perception/models/zoo/fusion'))
    folder = parser.parse_args(argv).to
    folder.mkdir(parents=True, exist_ok=True)
    network = trained()
    tensors = {f'encoder.{name}': value for name, value in round_weights(network).items()}
    # Scenes of the training with sentences that are not: the test scenes stay unused.
    unseen = phrases(*unseen_sentences(), encoder())
    condition = Condition(no_codes=1.0, crop_noise=0.8, objects=(2, 6))
    batch = draw(scenes(False), unseen, None, condition, CALIBRATION, np.random.default_rng(3))
    temperature = fit_temperature(logits_of(network, batch), batch.target)
    save_tensors(tensors, folder / WEIGHTS)
    c = network.config
    example = [
        torch.zeros(1, MAX_OBJECTS, c.token_dim), torch.ones(1, MAX_OBJECTS),
        *(torch.zeros(1, dim) for dim in c.cue_dims), torch.ones(1, 3),
    ]  # fmt: skip
    to_onnx(Graph(network), example, folder / ENCODER, [*INPUTS, 'fused', 'logits'])
    settings = {
        **asdict(c), 'token_dim': c.token_dim, 'temperature': temperature,
        'appearance_space': load_crop_codec('tinyvae').id.fingerprint.hex(),
    }  # fmt: skip
    base = read_config(Path('config/train/identity.yaml'))
    config = replace(base, name='fusion', version='2', family='fusion')
    finalize(folder, config, settings, tensors, [WEIGHTS, ENCODER])
    print(f'{folder}: temperature {temperature:.2f}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
