# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Packers of the latents of a model, read from its artifact without loading its networks."""

from __future__ import annotations

import numpy as np

from sage_perception.codecs import codebook
from sage_perception.codecs.packing import Packer
from sage_perception.models import artifact
from sage_perception.models.artifact import LATENT_MEAN, LATENT_STD
from sage_perception.models.registry import resolve


def packers_of(name_or_path: str) -> dict[bytes, Packer]:
    """Return the packer of a model by the fingerprint of its latent space.

    Raises `ModelError` for a model that does not exist or is invalid, and `ValueError` for an
    invalid codebook.
    """
    model = artifact.read(resolve(name_or_path))
    mean, std = (model.tensors[name].ravel() for name in (LATENT_MEAN, LATENT_STD))
    return {model.id.fingerprint: Packer(mean, std, codebook.read(model.path))}


def plain_packer(dim: int) -> Packer:
    """Return the packer of a layout of `dim` values, which has no model: mean 0, deviation 1."""
    return Packer(np.zeros(dim, np.float32), np.ones(dim, np.float32))
