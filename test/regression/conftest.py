# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The golden bags, made once per test run."""

from pathlib import Path

import pytest
from golden import copy_bag, make_golden_bags


@pytest.fixture(scope='session')
def golden(tmp_path_factory):
    """Return a function that returns a golden bag by name."""
    folder = tmp_path_factory.mktemp('golden')

    def bag(name: str) -> Path:
        path = folder / name
        if not path.exists():
            make_golden_bags.BAGS[name](path)
        return path

    return bag


@pytest.fixture
def signed_parameters(golden):
    """Return overrides that require the signatures of the bag `signed`."""
    keys = make_golden_bags.keys_folder(golden('signed'))
    return {'arbiter': {'keys': str(keys), 'require_signatures': True}}


@pytest.fixture
def filtered(tmp_path):
    """Return a function that copies a bag, without topics that contain some words."""

    def copy(bag: Path, *without: str, seconds: float = 1e6, name: str = 'copy') -> Path:
        return copy_bag(bag, tmp_path / name, *without, seconds=seconds)

    return copy
