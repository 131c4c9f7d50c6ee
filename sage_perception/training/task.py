# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The interface between the training loop and a model family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Generic, TypeVar

import lightning

from sage_perception.training.config import RunConfig
from sage_perception.training.module import TrainingModule

DataT = TypeVar('DataT', bound=lightning.LightningDataModule)


class Task(ABC, Generic[DataT]):
    """One training configuration of a model family: its data, its module and its export.

    `sage_perception.training.tasks` maps families to tasks. `train` and `export` call the methods
    and are the same for all families.
    """

    def __init__(self, config: RunConfig):
        self.config = config

    @abstractmethod
    def data(self) -> DataT:
        """Read the training and the validation data. Raises `ConfigError` or `ValueError`."""

    def resolved_config(self, data: DataT) -> RunConfig:
        """Return the configuration to store with a run, including the fields that the data set."""
        return self.config

    @abstractmethod
    def module(self, data: DataT, run: Path) -> TrainingModule:
        """Return a new module to train, or the module of the last checkpoint in the folder `run`.

        Raises `ConfigError` if the checkpoint does not match the configuration.
        """

    @abstractmethod
    def export(self, run: Path, folder: Path) -> None:
        """Write the model folder of a run, without its card. Raises `ConfigError`."""
