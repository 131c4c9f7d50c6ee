# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compressors of a 4096-D context, partly unknown, to a 256-D code: see `docs/context.md`.

A context is a row of tokens of several kinds: tracked objects, recalled latents, cameras, the
scene. `HToLConfig.groups` gives the position of each kind. There are four variants and a baseline:

`bottleneck`    variational autoencoder of fully connected layers, without tokens
`attention`     one matrix, plus learned queries that attend to all tokens (Perceiver: Jaegle et
                al., 2021)
`hierarchical`  tokens are projected down by kind, and each kind has its own part of the code
`hybrid`        tokens are projected down by kind, principal components over all of them are
                inferred from the known ones, and attention adds to the result
`linear`        one matrix in each direction, the baseline

`init_from_contexts` initializes each variant from principal components. No normalization or
non-linearity is applied to the code, so linear properties of a context stay linear in its code.
"""

from sage_perception.models.networks.h_to_l.config import VARIANTS, Group, HToLConfig, Variant
from sage_perception.models.networks.h_to_l.metrics import explained_variance, masked_error
from sage_perception.models.networks.h_to_l.model import HToLCompressor, HToLOutput

__all__ = [
    'VARIANTS',
    'Group',
    'HToLCompressor',
    'HToLConfig',
    'HToLOutput',
    'Variant',
    'explained_variance',
    'masked_error',
]
