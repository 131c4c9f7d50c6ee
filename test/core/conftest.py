# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of the core share."""

import pytest


@pytest.fixture
def one_thread():
    """Let torch compute on one thread, with the same random numbers each time."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)
