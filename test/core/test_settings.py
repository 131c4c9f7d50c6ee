# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Settings dataclasses: values are checked against annotations, errors name field and fix."""

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from sage_perception.core.settings import Interval, PositiveInt, UnitInterval, build, check


@dataclass(frozen=True)
class Settings:
    steps: PositiveInt
    ratio: UnitInterval = 0.5
    scale: Annotated[float, Interval(0, open_low=True)] = 1.0
    mode: Literal['fast', 'slow'] = 'fast'
    names: tuple[str, ...] = ()
    enabled: bool = False

    def __post_init__(self):
        check(self)


def test_builds_from_a_mapping():
    built = build(Settings, {'steps': 3, 'ratio': 1, 'names': ['a', 'b'], 'mode': 'slow'})
    assert built == Settings(3, 1, names=('a', 'b'), mode='slow')
    assert build(Settings, {'steps': 3, 'names': 'a'}).names == ('a',)


@pytest.mark.parametrize(
    ('tree', 'message'),
    [
        (None, 'run is empty; it must be a mapping of steps, ratio'),
        ([1], r'run is \[1\]; it must be a mapping'),
        ({}, 'run.steps is missing'),
        ({'steps': 3, 'stepz': 4}, r'run.stepz is unknown: did you mean steps\?'),
        ({'steps': 3, 'zzz': 4}, 'run.zzz is unknown: expected one of steps, ratio'),
        ({'steps': 3, 5: 4}, 'run.5 is unknown'),
        ({'steps': 0}, 'run.steps is 0; it must be an integer of at least 1'),
        ({'steps': True}, 'run.steps is True; it must be an integer'),
        ({'steps': 3, 'ratio': 1.5}, r'run.ratio is 1.5; it must be a number in \[0, 1\]'),
        ({'steps': 3, 'ratio': 10**400}, r'run.ratio is 1000.*; it must be a number in \[0, 1\]'),
        ({'steps': 3, 'ratio': float('nan')}, 'run.ratio is nan'),
        ({'steps': 3, 'scale': 0}, 'run.scale is 0; it must be a number above 0'),
        ({'steps': 3, 'scale': '1e-3'}, r"run.scale is '1e-3'; .* above 0: write 1.0e-3"),
        ({'steps': 3, 'mode': 'medium'}, 'run.mode is .* it must be one of fast, slow'),
        (
            {'steps': 3, 'names': [1]},
            r'run.names is \(1,\); it must be a list, each item a string',
        ),
        ({'steps': 3, 'enabled': 1}, 'run.enabled is 1; it must be true or false'),
    ],
)
def test_errors_name_field_value_and_expectation(tree, message):
    with pytest.raises(ValueError, match=message) as info:
        build(Settings, tree, 'run.')
    assert len(str(info.value)) < 200
