# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The golden bags, made once per test run."""

import importlib
import sys
from pathlib import Path

import pytest

from sage_perception.bags.profiles import from_recorded
from sage_perception.bags.reader import open_bag
from sage_perception.bags.writer import BagWriter

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools'))
make_golden_bags = importlib.import_module('make_golden_bags')


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
        path = tmp_path / name
        with open_bag(bag) as source, BagWriter(path) as copied:
            kept = [t for t in source.topics.values() if not any(w in t.name for w in without)]
            for topic in kept:
                profiles = [*map(from_recorded, topic.profiles)]
                copied.add_topic(topic.name, topic.type_name, profiles)
            stop_ns = source.start_ns + round(seconds * 1e9)
            for message in source.messages([topic.name for topic in kept], stop_ns=stop_ns):
                copied.write(message.topic, message.data, message.log_time_ns)
        return path

    return copy
