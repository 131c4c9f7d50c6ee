# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Configurations of training runs that take seconds."""

import json

import torch
import yaml


def write_tiny_config(path, root, /, **changes):
    """Write the configuration of a tiny model on the images in `root`; return its path.

    `changes` replace keys of the top level and of its sections.
    """
    tree = {
        'name': 'tiny',
        'version': '1',
        'model': {
            'latent_dim': 8,
            'encoder_width': 16,
            'encoder_depth': 1,
            'decoder_width': 12,
        },
        'data': {'root': str(root), 'exclude': ['image1.*'], 'held_out': ['image0.*']},
        'training': {
            'steps': 16,
            'epoch': 8,
            'batch': 16,
            'validation_crops': 16,
            'fitted_crops': 64,
            'warmup': 2,
            'learning_rate': 0.003,
        },
    }
    for section, values in changes.items():
        tree[section] = {**tree.get(section, {}), **values} if isinstance(values, dict) else values
    path.write_text(yaml.safe_dump(tree))
    return path


def weights(module):
    """Return all parameters of a trained network as one vector."""
    return torch.cat([p.detach().flatten() for p in module.model.parameters()])


def metrics(run):
    """Return the final figures of a run folder."""
    return json.loads((run / 'metrics.json').read_text())
