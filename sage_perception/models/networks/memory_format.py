# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Set the memory format of networks."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

ModuleT = TypeVar('ModuleT', bound=nn.Module)


def with_memory_format(module: ModuleT, memory_format: torch.memory_format) -> ModuleT:
    """Convert the parameters of a network in place, and return it.

    Convolutions in `torch.channels_last` are faster on CPUs and GPUs.
    """
    # The type stubs of torch lack the overload with memory_format.
    module.to(memory_format=memory_format)  # type: ignore[call-overload]
    return module
