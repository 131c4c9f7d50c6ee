# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The tasks of the model families."""

from __future__ import annotations

from typing import Any

from sage_perception.training.config import RunConfig
from sage_perception.training.task import Task
from sage_perception.training.tasks.audio.task import AudioTask
from sage_perception.training.tasks.codes.task import CodesTask
from sage_perception.training.tasks.distillation import DistillationTask
from sage_perception.training.tasks.h_to_l.task import HToLTask
from sage_perception.training.tasks.identity.task import IdentityTask
from sage_perception.training.tasks.slot_sequences.task import SlotSequencesTask
from sage_perception.training.tasks.slots.features import SlotFeaturesTask
from sage_perception.training.tasks.slots.task import SlotsTask
from sage_perception.training.tasks.vae import VaeTask

TASKS: dict[str, type[Task[Any]]] = {
    'tinyvae': VaeTask,
    'lightweight': VaeTask,
    'h_to_l': HToLTask,
    'identity': IdentityTask,
    'codes': CodesTask,
    'slots': SlotsTask,
    'slot_sequences': SlotSequencesTask,
    'audio': AudioTask,
}
"""Task of each model family of `sage_perception.models.networks.families`."""


def task_for(config: RunConfig) -> Task[Any]:
    """Return the task of a configuration."""
    if config.distillation is not None:
        return DistillationTask(config)
    if config.family == 'slots' and config.model.decoder_features:
        return SlotFeaturesTask(config)
    return TASKS[config.family](config)
