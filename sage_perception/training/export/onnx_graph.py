# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Export networks as ONNX graphs with weights in half precision."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from sage_perception.core.files import replacing

OPSET = 17
MIN_HALF_SIZE = 256
"""Minimum number of elements of a tensor that is stored in half precision."""


class ExportWrapper(nn.Module):
    """One method of a network, `encode` or `decode`, as a module that can be exported."""

    def __init__(self, model: nn.Module, method: str):
        super().__init__()
        self.model, self.method = model, method

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Return the result of the method."""
        return getattr(self.model, self.method)(*inputs)


def to_onnx(
    module: nn.Module, example: Sequence[torch.Tensor], path: Path, names: Sequence[str]
) -> None:
    """Write a network as an ONNX graph with a dynamic batch size and weights in half precision.

    `names` are those of the inputs, as many as there are `example` inputs, then of the outputs.
    """
    with warnings.catch_warnings(), replacing(path) as part:
        warnings.simplefilter('ignore', DeprecationWarning)  # of the tracing exporter
        warnings.simplefilter('ignore', torch.jit.TracerWarning)  # from checks in group_norm
        warnings.filterwarnings('ignore', 'Constant folding', UserWarning)
        torch.onnx.export(
            module.eval(),
            tuple(example),
            str(part),
            opset_version=OPSET,
            dynamo=False,
            input_names=list(names[: len(example)]),
            output_names=list(names[len(example) :]),
            dynamic_axes={name: {0: 'batch'} for name in names},
        )
        store_in_half(part)


def store_in_half(path: Path) -> None:
    """Store the weights of an ONNX graph in half precision, where that is exact.

    The graph computes in single precision: a Cast node per tensor restores it, which a runtime
    evaluates once when it loads the graph.
    """
    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if values.dtype == np.float32 and values.size >= MIN_HALF_SIZE and (half == values).all():
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(half, f'{name}.half'))
            casts.append(
                helper.make_node('Cast', [tensor.name], [name], to=onnx.TensorProto.FLOAT)
            )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def input_shape(path: Path) -> tuple[int, ...]:
    """Return the shape of the input of an ONNX graph without the batch dimension."""
    (shape,) = (i.type.tensor_type.shape for i in onnx.load(path).graph.input)
    return tuple(dim.dim_value for dim in shape.dim[1:])
