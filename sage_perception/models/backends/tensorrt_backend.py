# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Models of images on the TensorRT provider of ONNX Runtime, with a cache of engines.

TensorRT builds an engine for each graph on first use, which takes minutes, and keeps it in the
cache folder. An engine works only on the kind of device and the versions that it was built with;
the provider rebuilds it for others. Not run on a GPU by the tests.
"""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from sage_perception.core.files import cache_folder
from sage_perception.models.artifact import DECODER, ENCODER, Artifact, ModelError
from sage_perception.models.backends.onnx_backend import MAX_BATCH, OnnxCodec
from sage_perception.models.loaded import LoadedModel

PROVIDER = 'TensorrtExecutionProvider'
INPUTS = {ENCODER: 'x', DECODER: 'z'}
"""The inputs of the graphs."""
TYPICAL_BATCH = 8
"""Number of crops that the engines are optimized for."""


class TensorRtCodec(OnnxCodec):
    """A model of images on TensorRT; `precision` fp16 permits half precision."""

    backend = 'tensorrt'

    def __init__(self, artifact: Artifact, device: str, precision: str):
        present = onnxruntime.get_available_providers()
        if PROVIDER not in present:
            raise ModelError(
                'backend tensorrt is not available: install TensorRT and an onnxruntime-gpu that '
                f'has its provider; this one has {", ".join(present)}'
            )
        if device == 'cpu':
            raise ModelError("backend tensorrt runs on a GPU, not on device 'cpu': use cuda")
        LoadedModel.__init__(self, artifact, 'cuda', precision)

    def _providers(self, path: Path) -> list[str | tuple[str, dict[str, str]]]:
        shape = self._input_shape(path.name)
        options = provider_options(self.id.fingerprint, path.name, shape, self.precision)
        Path(options['trt_engine_cache_path']).mkdir(parents=True, exist_ok=True)
        return [(PROVIDER, options), 'CUDAExecutionProvider', 'CPUExecutionProvider']

    def _input_shape(self, file: str) -> tuple[int, ...]:
        if file == ENCODER:
            return self.input_channels, self.input_size, self.input_size
        return self.latent_shape


def provider_options(
    fingerprint: bytes, file: str, shape: tuple[int, ...], precision: str
) -> dict[str, str]:
    """Return the options of the provider for a graph whose input is `[B, *shape]`.

    The engine covers all batch sizes that are used, so that it is built once.
    """
    name = INPUTS[file]
    rest = 'x'.join(map(str, shape))
    folder = cache_folder() / 'tensorrt' / fingerprint.hex()
    return {
        'trt_engine_cache_enable': 'True',
        'trt_engine_cache_path': str(folder),
        'trt_engine_cache_prefix': Path(file).stem,
        'trt_fp16_enable': str(precision == 'fp16'),
        'trt_profile_min_shapes': f'{name}:1x{rest}',
        'trt_profile_opt_shapes': f'{name}:{TYPICAL_BATCH}x{rest}',
        'trt_profile_max_shapes': f'{name}:{MAX_BATCH}x{rest}',
    }
