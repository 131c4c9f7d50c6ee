# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Write the weights and the identity of a model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file
from torch import nn

from sage_perception.core.files import replacing, write_atomically
from sage_perception.models import artifact
from sage_perception.training.config import RunConfig


def round_weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Round the stored weights of a network to half precision in place; return them by name.

    Buffers that are not stored, such as a fixed basis, keep their precision: the network computes
    them when it is constructed.
    """
    stored = model.state_dict()
    for value in stored.values():
        value.copy_(value.half())
    return {name: value.half().numpy() for name, value in stored.items()}


def save_tensors(tensors: dict[str, np.ndarray], path: Path) -> None:
    """Write tensors to a safetensors file, atomically."""
    with replacing(path) as part:
        save_file(tensors, part)


def finalize(
    folder: Path,
    config: RunConfig,
    settings: Mapping[str, Any],
    tensors: dict[str, np.ndarray],
    files: Sequence[str],
) -> None:
    """Write the configuration of a model folder: its identity and the SHA-256 of its `files`.

    `settings` configure the network, and `tensors` are the content of the weights file.
    """
    tree = {
        'name': config.name,
        'version': config.version,
        'family': config.family,
        'config': dict(settings),
        'fingerprint': artifact.fingerprint(config.family, dict(settings), tensors).hex(),
        'files': {file: artifact.file_sha256(folder / file) for file in files},
    }
    write_atomically(folder / artifact.CONFIG, yaml.safe_dump(tree, sort_keys=False))
