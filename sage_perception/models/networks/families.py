# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The families of networks: what an artifact's `family` and `config` are built into."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from sage_perception.models.networks.h_to_l import HToLCompressor, HToLConfig
from sage_perception.models.networks.lightweight import LightweightVAE, LightweightVAEConfig
from sage_perception.models.networks.tinyvae import TinyVAE, TinyVAEConfig


class Family(NamedTuple):
    """A dataclass of settings, and the network that is built from it."""

    config: type[Any]
    network: type[nn.Module]


FAMILIES = {
    'tinyvae': Family(TinyVAEConfig, TinyVAE),
    'lightweight': Family(LightweightVAEConfig, LightweightVAE),
    'h_to_l': Family(HToLConfig, HToLCompressor),
}
