# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters: accepted values and types, error messages, changes at run time."""

import math
import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParametersAtomically
from rclpy.parameter import Parameter as RosParameter

from sage_perception.core.settings import Interval
from sage_perception.ros.endpoints import Node
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.parameters import Parameter, parameters_of

COUNT = Parameter('count', 8, 'How many.', minimum=1, maximum=24)
SHARE = Parameter('share', 0.5, 'How much.', minimum=0.0, maximum=1.0)
FREE = Parameter('free', 1.0)
ORDER = Parameter('order', 'first', 'Which.', choices=('first', 'last'))
FLAG = Parameter('flag', True)
NAMES = Parameter('names', ['a', 'b'], read_only=True)
FIXED = Parameter('fixed', 'x', 'Set at start.', read_only=True)
TABLE = (COUNT, SHARE, FREE, ORDER, FLAG, NAMES, FIXED)

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.text())
)


@given(st.sampled_from(TABLE), ANYTHING)
def test_checked_value_has_type_and_range_or_is_a_value_error(parameter, value):
    checked, message = None, ''
    try:
        checked = parameter.check(value)
    except ValueError as error:
        message = str(error)
    if message:
        assert message.startswith(f"parameter '{parameter.name}': ")
        assert '\n' not in message
        return
    assert type(checked) is type(parameter.default)
    assert checked == value
    assert not isinstance(checked, float) or not math.isnan(checked)
    assert not parameter.choices or checked in parameter.choices
    if parameter.minimum is not None:
        assert parameter.minimum <= checked <= parameter.maximum


@pytest.mark.parametrize(
    ('parameter', 'value', 'message'),
    [
        (COUNT, 25, "parameter 'count': 25 is not 1 to 24"),
        (COUNT, 0, "parameter 'count': 0 is not 1 to 24"),
        (COUNT, 8.0, "parameter 'count': 8.0 is not an integer"),
        (COUNT, True, "parameter 'count': True is not an integer"),
        (COUNT, '8', "parameter 'count': '8' is not an integer"),
        (COUNT, None, "parameter 'count': None is not an integer"),
        (SHARE, 1.01, "parameter 'share': 1.01 is not 0.0 to 1.0"),
        (SHARE, -1, "parameter 'share': -1.0 is not 0.0 to 1.0"),
        (SHARE, math.nan, "parameter 'share': nan is not 0.0 to 1.0"),
        (SHARE, math.inf, "parameter 'share': inf is not 0.0 to 1.0"),
        (SHARE, False, "parameter 'share': False is not a number"),
        (FREE, math.nan, "parameter 'free': nan is not a number"),
        (ORDER, 'middle', "parameter 'order': 'middle' is not one of first, last"),
        (ORDER, 1, "parameter 'order': 1 is not a string"),
        (FLAG, 1, "parameter 'flag': 1 is not true or false"),
        (NAMES, 'a', "parameter 'names': 'a' is not a list of strings"),
        (NAMES, [1], "parameter 'names': [1] is not a list of strings"),
        (NAMES, 5, "parameter 'names': 5 is not a list of strings"),
        (NAMES, None, "parameter 'names': None is not a list of strings"),
        (NAMES, [], "parameter 'names': [] is not a list of distinct names"),
        (NAMES, ['a', 'a'], "parameter 'names': ['a', 'a'] is not a list of distinct names"),
        (NAMES, [''], "parameter 'names': [''] is not a list of distinct names"),
    ],
)
def test_error_names_parameter_value_and_allowed_values(parameter, value, message):
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        parameter.check(value)


def test_integer_is_accepted_as_float():
    assert SHARE.check(1) == 1.0
    assert type(SHARE.check(1)) is float


@pytest.mark.parametrize('bound', [{'minimum': 2}, {'maximum': 2}])
def test_range_with_one_limit(bound):
    parameter = Parameter('n', 2, **bound)
    (word, limit), step = next(iter(bound.items())), -1 if 'minimum' in bound else 1
    assert parameter.check(limit) == 2
    assert parameter.check(limit - 100 * step) == limit - 100 * step
    assert parameter.constraint == {'minimum': 'at least 2', 'maximum': 'at most 2'}[word]
    with pytest.raises(ValueError, match=parameter.constraint):
        parameter.check(limit + step)


def test_parameters_of_a_settings_dataclass():
    @dataclass
    class Config:
        size: Annotated[int, Interval(1)] = field(default=3, metadata={'description': 'Side.'})
        share: Annotated[float, Interval(0, 1)] = 0.5
        mode: Literal['a', 'b'] = 'a'
        name: str = 'x'

    assert parameters_of(Config) == (
        Parameter('size', 3, 'Side.', minimum=1),
        Parameter('share', 0.5, minimum=0, maximum=1),
        Parameter('mode', 'a', choices=('a', 'b')),
        Parameter('name', 'x'),
    )


class Tuned(Node):
    PARAMETERS = TABLE

    def __init__(self, **options):
        self.applied = 0
        super().__init__('tuned', **options)

    def check_parameters(self, values):
        if values['count'] > 20 and values['share'] > 0.9:
            raise ValueError('count and share are too large together')

    def on_parameters_changed(self):
        self.applied += 1


def given_at_start(*assignments):
    return [part for assignment in assignments for part in ('-p', assignment)]


def set_parameters(ros, **values):
    parameters = [
        RosParameter(name, value=value).to_parameter_msg() for name, value in values.items()
    ]
    answer = ros.ask(
        SetParametersAtomically, 'under_test/set_parameters_atomically', parameters=parameters
    )
    return answer.result


def test_defaults(ros):
    node = ros.make(Tuned)
    assert node.parameters.values == {parameter.name: parameter.default for parameter in TABLE}
    assert node.applied == 0


def test_values_given_at_start(ros):
    node = ros.make(
        Tuned, *given_at_start('count:=3', 'share:=1', 'names:=[x]', 'flag:=false', 'order:=last')
    )
    assert node.parameters.count == 3
    assert node.parameters.share == 1.0
    assert node.parameters.names == ['x']
    assert node.parameters.flag is False
    assert node.parameters.order == 'last'
    # The parameter service returns the same values.
    answer = ros.ask(GetParameters, 'under_test/get_parameters', names=['count', 'share', 'names'])
    count, share, names = answer.values
    assert (count.integer_value, share.double_value, names.string_array_value) == (3, 1.0, ['x'])


@pytest.mark.parametrize(
    ('assignment', 'message'),
    [
        ('count:=99', "parameter 'count': 99 is not 1 to 24"),
        ('count:=2.5', "parameter 'count': 2.5 is not an integer"),
        ('share:=much', "parameter 'share': 'much' is not a number"),
        ('order:=middle', "parameter 'order': 'middle' is not one of first, last"),
        ('names:=5', "parameter 'names': 5 is not a list of strings"),
        ('names:=[1, 2]', r"parameter 'names': .*\[1, 2\].* is not a list of strings"),
        ('names:=[]', "parameter 'names': .* is not "),
        ('flag:=maybe', "parameter 'flag': 'maybe' is not true or false"),
    ],
)
def test_node_does_not_start_with_invalid_value(ros, assignment, message):
    with pytest.raises(ConfigurationError, match=message):
        ros.make(Tuned, *given_at_start(assignment))


def test_node_does_not_start_with_invalid_combination(ros):
    with pytest.raises(ConfigurationError, match='too large together'):
        ros.make(Tuned, *given_at_start('count:=21', 'share:=0.95'))


def test_parameter_file_applies_in_any_namespace(ros, tmp_path):
    path = tmp_path / 'p.yaml'
    path.write_text('/**:\n  ros__parameters:\n    count: 4\n    share: 1\n')
    node = ros.make(Tuned, '--params-file', str(path), namespace='robot1/cam0')
    assert (node.parameters.count, node.parameters.share) == (4, 1.0)


def test_unknown_parameter_is_logged_with_closest_name(ros, capfd):
    ros.make(Tuned, *given_at_start('cout:=3', 'zebra:=1', 'use_sim_time:=false'))
    log = capfd.readouterr().err
    assert "ignoring unknown parameter 'cout': did you mean count?" in log
    assert "ignoring unknown parameter 'zebra'" in log
    assert 'use_sim_time' not in log


def test_change_at_run_time_takes_effect(ros):
    node = ros.make(Tuned)
    assert set_parameters(ros, count=5, order='last').successful
    assert (node.parameters.count, node.parameters.order) == (5, 'last')
    assert node.applied == 1


def test_integer_is_accepted_as_float_at_run_time(ros):
    node = ros.make(Tuned)
    assert set_parameters(ros, share=1).successful
    assert node.parameters.share == 1.0
    assert type(node.parameters.share) is float


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'count': 99}, 'count'),
        ({'share': -0.5}, 'share'),
        ({'count': 'many'}, "parameter 'count': 'many' is not an integer"),
        ({'order': 'middle'}, "parameter 'order': 'middle' is not one of first, last"),
        ({'count': 5, 'flag': 3}, "parameter 'flag': 3 is not true or false"),
        ({'count': 24, 'share': 1.0}, 'count and share are too large together'),
        ({'fixed': 'y'}, 'read-only parameter: fixed'),
        ({'names': ['c']}, 'read-only parameter: names'),
    ],
)
def test_invalid_change_is_rejected_as_a_whole_with_reason(ros, changes, reason):
    node = ros.make(Tuned)
    before = node.parameters.values
    answer = set_parameters(ros, **changes)
    assert not answer.successful
    assert reason in answer.reason
    assert node.parameters.values == before
    assert node.applied == 0


def test_parameter_cannot_be_unset(ros):
    node = ros.make(Tuned)
    nothing = ParameterMessage(name='count', value=ParameterValue())
    answer = ros.ask(
        SetParametersAtomically, 'under_test/set_parameters_atomically', parameters=[nothing]
    )
    assert not answer.result.successful
    assert node.parameters.count == 8


def test_parameters_of_rclpy_are_not_handled(ros):
    node = ros.make(Tuned)
    assert set_parameters(ros, use_sim_time=True).successful
    assert node.applied == 0


def test_descriptor_has_description_and_range(ros):
    ros.make(Tuned)
    answer = ros.ask(
        DescribeParameters,
        'under_test/describe_parameters',
        names=['count', 'share', 'order', 'fixed'],
    )
    count, share, order, fixed = answer.descriptors
    assert (count.description, count.additional_constraints) == ('How many.', '1 to 24')
    assert (count.integer_range[0].from_value, count.integer_range[0].to_value) == (1, 24)
    span = share.floating_point_range[0]
    assert (span.from_value, span.to_value) == (0.0, 1.0)
    assert order.additional_constraints == 'one of first, last'
    assert (count.read_only, fixed.read_only) == (False, True)
