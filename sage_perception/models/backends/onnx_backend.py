# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Models on ONNX Runtime: the fastest backend on one CPU thread, without torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime

from sage_perception.core.text import one_line
from sage_perception.models.artifact import DECODER, ENCODER, TRACKER, Artifact, ModelError
from sage_perception.models.codec import Codec
from sage_perception.models.compressor import Compressor
from sage_perception.models.loaded import LoadedModel
from sage_perception.models.slot_encoder import DecodedSlots, SlotEncoder, Slots

PROVIDERS = {'cpu': 'CPUExecutionProvider', 'cuda': 'CUDAExecutionProvider'}
_FLOAT32 = np.dtype(np.float32)
MAX_REASON = 160  # characters of a message of the runtime
MAX_ARENA_BYTES = 2 << 30
MAX_BATCH = 64  # images per call, which bounds the memory of the runtime


class OnnxModel(LoadedModel):
    """A model on ONNX Runtime; each graph is loaded on first use."""

    backend = 'onnxruntime'

    def __init__(self, artifact: Artifact, device: str, precision: str):
        super().__init__(artifact, available_device(device, precision), precision)
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def _session(self, file: str) -> onnxruntime.InferenceSession:
        path = self.artifact.path / file
        if not path.is_file():
            raise ModelError(f"{path} is missing: export the model, or use backend='torch'")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        if self.device == 'cpu':
            bound_memory()
            options.add_session_config_entry('session.use_env_allocators', '1')
        providers = self._providers(path)
        with _explained(self.artifact.path, file):
            return onnxruntime.InferenceSession(str(path), options, providers=providers)

    def _run(
        self, file: str, inputs: dict[str, np.ndarray], *shapes: tuple[int, ...]
    ) -> list[np.ndarray]:
        """Return the outputs of the graph in `file`, float32 of the given shapes.

        Raises `ModelError` if the graph fails or has other outputs: the SHA-256 of a file protects
        against damage, but the author of a model can give it any graph.
        """
        if file not in self._sessions:
            self._sessions[file] = self._session(file)
        with _explained(self.artifact.path, file):
            outputs = self._sessions[file].run(None, inputs)
        if [(each.dtype, each.shape) for each in outputs] != [(_FLOAT32, s) for s in shapes]:
            found = [f'{each.dtype} {list(each.shape)}' for each in outputs]
            expected = [f'float32 {list(shape)}' for shape in shapes]
            raise ModelError(
                f'{self.artifact.path / file} returns {", ".join(found)}, but the model has '
                f'{", ".join(expected)}: export or install it again'
            )
        return outputs

    def _providers(self, path: Path) -> list[str | tuple[str, dict[str, str]]]:
        """Return the execution providers for the graph `path`, the preferred one first."""
        return [PROVIDERS[self.device]]


class OnnxCodec(OnnxModel, Codec):
    """A model of images on ONNX Runtime."""

    def encode_stats(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and log-variance of the latents, float32 `[B, D]`; natural logarithm."""
        x = np.asarray(x)
        self.require_images(x)
        shape = self.latent_shape
        mean, log_var = self._batched(ENCODER, 'x', x, shape, shape)
        return mean, log_var

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Return the images of latents, float32 `[B, C, S, S]` in [0, 1]."""
        z = np.asarray(z)
        self.require_latents(z)
        shape = (self.input_channels, self.input_size, self.input_size)
        return self._batched(DECODER, 'z', z, shape)[0]

    def _batched(
        self, file: str, name: str, array: np.ndarray, *shapes: tuple[int, ...]
    ) -> list[np.ndarray]:
        """Return the outputs of a graph for its input `name`; `shapes` are without the batch."""
        if not len(array):  # the reshapes of group normalization do not support an empty batch
            return [np.empty((0, *shape), np.float32) for shape in shapes]
        array = array.astype(np.float32, copy=False)
        parts = []
        for start in range(0, len(array), MAX_BATCH):
            part = array[start : start + MAX_BATCH]
            parts.append(self._run(file, {name: part}, *((len(part), *shape) for shape in shapes)))
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


class OnnxCompressor(OnnxModel, Compressor):
    """A compressor of contexts on ONNX Runtime."""

    def _encode(self, context: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = (len(context), self.code_dim)
        mean, log_var = self._run(ENCODER, {'context': context, 'mask': mask}, shape, shape)
        return mean, log_var

    def _decode(self, code: np.ndarray) -> np.ndarray:
        return self._run(DECODER, {'z': code}, (len(code), self.input_dim))[0]


class OnnxSlotEncoder(OnnxModel, SlotEncoder):
    """A slot model on ONNX Runtime, with the number of rounds fixed at export."""

    def _encode(self, x: np.ndarray, start: np.ndarray) -> Slots:
        return self._slots(ENCODER, {'x': x, 'start': start})

    def _track(self, x: np.ndarray, previous: np.ndarray) -> Slots:
        return self._slots(TRACKER, {'x': x, 'previous': previous})

    def _slots(self, file: str, inputs: dict[str, np.ndarray]) -> Slots:
        batch = len(inputs['x'])
        slots = batch, self.slot_count, self.latent_dim
        return Slots(*self._run(file, inputs, slots, (batch, self.slot_count, self.token_count)))

    def _decode(self, slots: Slots) -> DecodedSlots:
        """Return the images that slots compose."""
        inputs = {'slots': slots.slots}
        if self.config.get('masks') == 'attention':
            inputs['attention'] = slots.attention
        batch, size = len(slots.slots), (self.input_size, self.input_size)
        image = self.input_channels, *size
        shapes = (batch, *image), (batch, self.slot_count, *image), (batch, self.slot_count, *size)
        return DecodedSlots(*self._run(DECODER, inputs, *shapes))


@cache
def bound_memory() -> None:
    """Limit the memory that all graphs of this process allocate on the CPU to `MAX_ARENA_BYTES`.

    Graphs of 1 kB can allocate any amount: their author chooses the sizes of all intermediate
    tensors. A graph that exceeds the limit fails.
    """
    place = onnxruntime.OrtMemoryInfo(
        'Cpu', onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    names = ('arena_extend_strategy', 'initial_chunk_size_bytes', 'max_dead_bytes_per_chunk')
    limits = {'max_mem': MAX_ARENA_BYTES, **dict.fromkeys(names, -1)}  # -1: default
    onnxruntime.create_and_register_allocator(place, onnxruntime.OrtArenaCfg(limits))


@contextmanager
def _explained(folder: Path, file: str) -> Iterator[None]:
    """Raise `ModelError` for any exception of ONNX Runtime, which has a dozen of its own."""
    try:
        yield
    except Exception as error:
        reason = one_line(error)[:MAX_REASON]
        raise ModelError(
            f'{folder / file} cannot be run by ONNX Runtime ({reason}): export or install the '
            'model again'
        ) from error


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
