# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The model families: configuration and network class by the `family` of an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from sage_perception.models.networks.audio import AudioConfig, AudioVAE
from sage_perception.models.networks.codes import Codes, CodesConfig
from sage_perception.models.networks.h_to_l import HToLCompressor, HToLConfig
from sage_perception.models.networks.identity import IdentityConfig, IdentityHead
from sage_perception.models.networks.lightweight import LightweightVAE, LightweightVAEConfig
from sage_perception.models.networks.slots import (
    SequenceConfig,
    SlotModel,
    SlotsConfig,
    TemporalTransformer,
)
from sage_perception.models.networks.tinyvae import TinyVAE, TinyVAEConfig


class Family(NamedTuple):
    """A configuration class, the network class, and renamed prefixes of tensor names.

    `renamed` maps prefixes in artifacts of version 0.1 to those of the network.
    """

    config: type[Any]
    network: type[nn.Module]
    renamed: Mapping[str, str] = {}

    def current_name(self, tensor: str) -> str:
        """Return the name in the network of a tensor of an artifact of any version."""
        for old, new in self.renamed.items():
            if tensor.startswith(old):
                return new + tensor.removeprefix(old)
        return tensor


FAMILIES = {
    'tinyvae': Family(
        TinyVAEConfig,
        TinyVAE,
        {
            'decoder.hint.': 'decoder.latent_features.',
            'decoder.enlarge.': 'decoder.up_proj.',
            'decoder.enlarge_colour.': 'decoder.up_proj_color.',
        },
    ),
    'lightweight': Family(
        LightweightVAEConfig,
        LightweightVAE,
        {'decoder.hint.': 'decoder.latent_features.', 'decoder.look.': 'decoder.image_features.'},
    ),
    'identity': Family(IdentityConfig, IdentityHead),
    'codes': Family(CodesConfig, Codes),
    'h_to_l': Family(
        HToLConfig,
        HToLCompressor,
        {
            'decoder.tell.': 'decoder.decode.',
            'decoder.enlarge.': 'decoder.up_proj.',
            'decoder.gather.ask.': 'decoder.pool.q_proj.',
            'decoder.gather.offer.': 'decoder.pool.kv_proj.',
            'decoder.gather.think.': 'decoder.pool.mlp.',
            'decoder.gather.place': 'decoder.pool.position',
            'decoder.gather.': 'decoder.pool.',
            'decoder.add.': 'decoder.out_proj.',
            'encoder.reduce.': 'encoder.down_proj.',
            'encoder.unit': 'encoder.scale_squared',
            'encoder.gather.ask.': 'encoder.pool.q_proj.',
            'encoder.gather.offer.': 'encoder.pool.kv_proj.',
            'encoder.gather.think.': 'encoder.pool.mlp.',
            'encoder.gather.place': 'encoder.pool.position',
            'encoder.gather.': 'encoder.pool.',
            'encoder.add.': 'encoder.out_proj.',
        },
    ),
    'slots': Family(SlotsConfig, SlotModel),
    'slot_sequences': Family(SequenceConfig, TemporalTransformer),
    'audio': Family(AudioConfig, AudioVAE),
}
