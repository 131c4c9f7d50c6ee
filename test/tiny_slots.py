# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Slot models that are trained in a second."""

import pytest
import yaml

from sage_perception.training.config import read_config
from sage_perception.training.data.objects import pool
from sage_perception.training.export.export import export
from sage_perception.training.train import train


def config_file(path, **changes):
    tree = {
        'name': 'tiny_slots',
        'version': '1',
        'family': 'slots',
        'model': {
            'img_size': 35,
            'slots': 4,
            'slot_dim': 16,
            'encoder_channels': [8, 8, 8, 16],
            'decoder_channels': 8,
            'decoder_grid': 9,
        },
        'scenes': {'set': 'tetrominoes', 'count': 24, 'held_out': 8},
        'training': {'steps': 6, 'epoch': 3, 'batch': 4, 'warmup': 2},
    }
    for section, values in changes.items():
        tree[section] = {**tree.get(section, {}), **values} if isinstance(values, dict) else values
    path.write_text(yaml.safe_dump(tree))
    return path


def export_tiny_slots(folder, **model):
    """Train and export a model to `folder`/model; return its configuration."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, 'CACHE', folder / 'cache')
        config = read_config(config_file(folder / 'c.yaml', model=model))
        train(config, folder / 'run', progress=False)
        export(config, folder / 'run', folder / 'model')
    return config
