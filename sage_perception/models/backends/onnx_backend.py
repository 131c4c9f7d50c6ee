# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Models on ONNX Runtime: the fastest backend on one CPU thread, without torch."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime

from sage_perception.models.artifact import DECODER, ENCODER, Artifact, ModelError
from sage_perception.models.codec import Codec
from sage_perception.models.compressor import Compressor
from sage_perception.models.loaded import LoadedModel

PROVIDERS = {'cpu': 'CPUExecutionProvider', 'cuda': 'CUDAExecutionProvider'}
MAX_BATCH = 64  # images per call, which bounds the memory of the runtime


class OnnxModel(LoadedModel):
    """A model on ONNX Runtime; encoder and decoder are loaded on first use."""

    backend = 'onnxruntime'

    def __init__(self, artifact: Artifact, device: str, precision: str):
        super().__init__(artifact, available_device(device, precision), precision)

    @cached_property
    def _encoder(self) -> onnxruntime.InferenceSession:
        return self._session(ENCODER)

    @cached_property
    def _decoder(self) -> onnxruntime.InferenceSession:
        return self._session(DECODER)

    def _session(self, file: str) -> onnxruntime.InferenceSession:
        path = self.artifact.path / file
        if not path.is_file():
            raise ModelError(f"{path} is missing: export the model, or use backend='torch'")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        providers = self._providers(path)
        return onnxruntime.InferenceSession(str(path), options, providers=providers)

    def _providers(self, path: Path) -> list[str | tuple[str, dict[str, str]]]:
        """Return the execution providers for the graph `path`, the preferred one first."""
        return [PROVIDERS[self.device]]


class OnnxCodec(OnnxModel, Codec):
    """A model of images on ONNX Runtime."""

    def encode_stats(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and log-variance of the latents, float32 `[B, D]`; natural logarithm."""
        x = np.asarray(x)
        self.require_images(x)
        mean, log_var = self._run(self._encoder, x)
        return mean, log_var

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return the images of latents, float32 `[B, C, S, S]` in [0, 1]."""
        z = np.asarray(z)
        self.require_latents(z)
        return self._run(self._decoder, z)[0]

    @classmethod
    def _run(cls, session: onnxruntime.InferenceSession, array: np.ndarray) -> list[np.ndarray]:
        if not len(array):  # the reshapes of group normalization do not support an empty batch
            blank = np.zeros((1, *array.shape[1:]), np.float32)
            return [output[:0] for output in cls._run(session, blank)]
        name = session.get_inputs()[0].name
        array = array.astype(np.float32, copy=False)
        parts = [
            session.run(None, {name: array[start : start + MAX_BATCH]})
            for start in range(0, len(array), MAX_BATCH)
        ]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


class OnnxCompressor(OnnxModel, Compressor):
    """A compressor of contexts on ONNX Runtime."""

    def _encode(self, context: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, log_var = self._encoder.run(None, {'context': context, 'mask': mask})
        return mean, log_var

    def _decode(self, code: np.ndarray) -> np.ndarray:
        return self._decoder.run(None, {'z': code})[0]


def available_device(device: str, precision: str) -> str:
    """Return the device to use; raise `ModelError` if device or precision is not available."""
    if device == 'auto':
        device = 'cpu'
    if PROVIDERS.get(device) not in onnxruntime.get_available_providers():
        raise ModelError(
            f'device {device!r} is not available to onnxruntime here: use cpu'
            + (', or pip install onnxruntime-gpu' if device == 'cuda' else '')
        )
    if precision != 'fp32':
        raise ModelError(
            f'onnxruntime runs this model in fp32, not {precision}: '
            "use precision='fp32', or backend='torch' for fp16"
        )
    return device
