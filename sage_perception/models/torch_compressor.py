# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compressors of contexts on torch: for GPUs, and whoever needs their gradients."""

from __future__ import annotations

import torch

from sage_perception.models.artefact import Artefact
from sage_perception.models.compressor import Compressor
from sage_perception.models.torch_codec import DTYPES, available_device, build


class TorchCompressor(Compressor):
    """A compressor computed by torch, in inference mode; `module` is the network itself."""

    backend = 'torch'

    def __init__(self, artefact: Artefact, device: str, precision: str):
        super().__init__(artefact, available_device(device), precision)
        self.module = build(artefact).to(self.device, DTYPES[precision]).eval()

    def _encode(self, context, mask):
        return self._run(self.module.encode, context, mask)

    def _decode(self, code):
        return self._run(lambda z: [self.module.decode(z)], code)[0]

    @torch.inference_mode()
    def _run(self, function, *given):
        moved = [torch.as_tensor(g).to(self.device, DTYPES[self.precision]) for g in given]
        return [result.float().cpu().numpy() for result in function(*moved)]
