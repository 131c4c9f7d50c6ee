# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Base of all loaded models, of any family and backend."""

from __future__ import annotations

from abc import ABC
from typing import Any

from sage_perception.core.latent import ModelId
from sage_perception.models.artifact import Artifact


class LoadedModel(ABC):
    """A model on a backend.

    Attributes
    ----------
    id : ModelId
        Name, version and fingerprint of the latent space.
    backend, device, precision : str
        Backend, its device, and its arithmetic: `'fp32'` or `'fp16'`.
    threads : int
        Threads of one inference on ONNX Runtime; set it before the first one.

    """

    backend: str

    def __init__(self, artifact: Artifact, device: str, precision: str):
        self.artifact = artifact
        self.id: ModelId = artifact.id
        self.device = device
        self.precision = precision
        self.threads = 1

    def __repr__(self) -> str:
        return f'<{self.id} on {self.backend}, {self.device}, {self.precision}>'

    @property
    def config(self) -> dict[str, Any]:
        """Return a copy of the configuration of the network."""
        return dict(self.artifact.config)

    @property
    def card(self) -> str:
        """Return the model card, Markdown."""
        return self.artifact.card

    @property
    def parameters(self) -> int:
        """Return the number of trained parameters of encoder and decoder."""
        return self.artifact.parameters
