# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The compressor: encoder and decoder of the configured variant."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sage_perception.models.networks.divergence import kl_divergence, sample_code
from sage_perception.models.networks.h_to_l.attention import AttentionDecoder, AttentionEncoder
from sage_perception.models.networks.h_to_l.bottleneck import BottleneckDecoder, BottleneckEncoder
from sage_perception.models.networks.h_to_l.config import HToLConfig
from sage_perception.models.networks.h_to_l.hierarchical import (
    HierarchicalDecoder,
    HierarchicalEncoder,
)
from sage_perception.models.networks.h_to_l.hybrid import HybridDecoder, HybridEncoder
from sage_perception.models.networks.h_to_l.layers import ContextEncoder
from sage_perception.models.networks.h_to_l.linear import LinearDecoder, LinearEncoder
from sage_perception.models.networks.h_to_l.metrics import explained_variance, masked_error

NETWORKS: dict[str, tuple[type[ContextEncoder], type[nn.Module]]] = {
    'bottleneck': (BottleneckEncoder, BottleneckDecoder),
    'attention': (AttentionEncoder, AttentionDecoder),
    'hierarchical': (HierarchicalEncoder, HierarchicalDecoder),
    'hybrid': (HybridEncoder, HybridDecoder),
    'linear': (LinearEncoder, LinearDecoder),
}


class HToLOutput(NamedTuple):
    """Output of a compressor.

    `compressed` `[B, 256]` is the mean of the codes, `log_var` `[B, 256]` their log-variance, and
    `reconstruction` `[B, 4096]` the whole context decoded from the code. `metrics` are scalars:
    `reconstruction_loss`, the mean squared error of known values; `kl`, nats per dimension, mean
    over batch and dimensions; `information_retained`, the explained variance of known values.
    """

    compressed: Tensor
    reconstruction: Tensor
    log_var: Tensor
    metrics: dict[str, Tensor]


class HToLCompressor(nn.Module):
    """Compresses 4096-D contexts to 256-D codes with the network of `config.variant`."""

    def __init__(self, config: HToLConfig):
        super().__init__()
        self.config = config
        encoder, decoder = NETWORKS[config.variant]
        self.encoder, self.decoder = encoder(config), decoder(config)

    def encode(self, context: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, 256]` of float contexts and masks `[B, 4096]`."""
        return self.encoder(context, mask)

    def decode(self, code: Tensor) -> Tensor:
        """Return the whole contexts `[B, 4096]` of codes `[B, 256]`."""
        return self.decoder(code) + self.encoder.mean

    def forward(self, context: Tensor, mask: Tensor) -> HToLOutput:
        """Compress contexts and masks `[B, 4096]`; sample the code in training mode only."""
        mask = mask.to(context.dtype)
        mean, log_var = self.encode(context, mask)
        code = sample_code(mean, log_var) if self.training else mean
        reconstruction = self.decode(code)
        with torch.no_grad():
            metrics = {
                'reconstruction_loss': masked_error(reconstruction, context, mask),
                'kl': kl_divergence(mean, log_var).mean(),
                'information_retained': explained_variance(reconstruction, context, mask),
            }
        return HToLOutput(mean, reconstruction, log_var, metrics)
