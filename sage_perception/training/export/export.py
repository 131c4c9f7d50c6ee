# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Export a training run of any model family as a model folder."""

from __future__ import annotations

from pathlib import Path

from sage_perception.codecs.codebook import CODEBOOK
from sage_perception.models import artifact, identity
from sage_perception.training.config import RunConfig
from sage_perception.training.tasks import task_for
from sage_perception.trust import fitted

DERIVED_FILES = {
    CODEBOOK: 'sage codebook',
    fitted.FILE: 'sage calibrate-trust',
    identity.WEIGHTS: 'sage train and sage export of an identity head',
    identity.GRAPH: 'sage train and sage export of an identity head',
}
"""Files of a model folder that are fitted to an exported model, and the commands that do it."""


def export(config: RunConfig, run: Path, folder: Path) -> list[str]:
    """Write the model folder of a run, without its card.

    If the folder held another model, delete the files that were fitted to it (`DERIVED_FILES`) and
    return their names. Raises `ConfigError`.
    """
    before = model_identity(folder)
    task_for(config).export(run, folder)
    if before in ('', model_identity(folder)):
        return []
    stale = [file for file in DERIVED_FILES if (folder / file).is_file()]
    for file in stale:
        (folder / file).unlink()
    return stale


def model_identity(folder: Path) -> str:
    """Return text that identifies the model in a folder, including its decoder; '' for none."""
    path = folder / artifact.CONFIG
    return path.read_text() if path.is_file() else ''
