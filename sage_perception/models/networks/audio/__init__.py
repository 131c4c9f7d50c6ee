# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""AudioVAE: one second of sound as a 128-D latent, with the word in it (`docs/audio.md`)."""

from sage_perception.models.networks.audio.config import AudioConfig
from sage_perception.models.networks.audio.model import AudioVAE

__all__ = ['AudioConfig', 'AudioVAE']
