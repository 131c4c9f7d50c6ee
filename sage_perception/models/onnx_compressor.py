# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Compressors of contexts on ONNX Runtime, without torch."""

from __future__ import annotations

from functools import cached_property

from sage_perception.models.artefact import DECODER, ENCODER, Artefact
from sage_perception.models.compressor import Compressor
from sage_perception.models.onnx_codec import available_device, open_session


class OnnxCompressor(Compressor):
    """A compressor computed by ONNX Runtime on one thread; each half is loaded when first used."""

    backend = 'onnxruntime'

    def __init__(self, artefact: Artefact, device: str, precision: str):
        super().__init__(artefact, available_device(device, precision), precision)

    def _encode(self, context, mask):
        return self._encoder.run(None, {'context': context, 'mask': mask})

    def _decode(self, code):
        return self._decoder.run(None, {'z': code})[0]

    @cached_property
    def _encoder(self):
        return open_session(self.artefact.path / ENCODER, self.device)

    @cached_property
    def _decoder(self):
        return open_session(self.artefact.path / DECODER, self.device)
