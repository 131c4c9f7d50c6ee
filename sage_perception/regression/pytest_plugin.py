# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin for the bags of a robot: `pytest --sage-bag BAG`, and the fixture `sage_replay`.

    def test_drive(sage_replay):
        verdict = sage_replay()
        assert verdict.passed, verdict.report

The plugin is loaded in every run of pytest where sage is installed, so that it imports everything
else when the fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sage_perception.regression.regress import Regression

BAG, PARAMS, MODEL = '--sage-bag', '--sage-params', '--sage-model'


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup('sage', 'replay of bags with sage')
    add = group.addoption
    add(BAG, metavar='BAG', action='append', default=[], help='bag for sage_replay; repeatable')
    add(PARAMS, metavar='FILE', help='parameter file of the nodes')
    add(MODEL, metavar='M', help='model of crops: a name, or the folder of an artifact')


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with the fixture once for each bag."""
    if 'sage_replay' in metafunc.fixturenames:
        bags = metafunc.config.getoption(BAG)
        reason = pytest.mark.skip(reason=f'no bag: give one with {BAG}')
        values = [pytest.param(Path(bag), id=Path(bag).name) for bag in bags]
        values = values or [pytest.param(None, id='no bag', marks=reason)]
        metafunc.parametrize('sage_replay', values, indirect=True, scope='session')


@pytest.fixture(scope='session')
def sage_replay(request: pytest.FixtureRequest) -> Callable[..., Regression]:
    """Return a function that replays the bag and returns its `Regression`.

    The function takes the keyword arguments of `regress`; `parameters` may also be the path of a
    file. The baseline and the timelines beside the bag are used if there are any. A replay with
    the same arguments runs once in a session.
    """
    from sage_perception.regression.regress import replay_and_judge
    from sage_perception.ros.parameter_file import ParameterFile

    bag: Path = request.param
    config = request.config
    done: dict[str, Regression] = {}

    def replay(**options: Any) -> Regression:
        key = repr(sorted(options.items()))
        if key not in done:
            given = {'model': config.getoption(MODEL), 'parameters': config.getoption(PARAMS)}
            given |= options
            if isinstance(given['parameters'], (str, Path)):
                given['parameters'] = ParameterFile(Path(given['parameters']))
            done[key] = replay_and_judge(bag, **given)
        return done[key]

    return replay
