# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""An exception in a callback is counted, logged and reported, and the node goes on."""

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter as RosParameter
from sage_msgs.srv import Align
from std_msgs.msg import Int64
from std_srvs.srv import Empty

from sage_perception.ros import qos
from sage_perception.ros.diagnostics import OK
from sage_perception.ros.endpoints import Node
from sage_perception.ros.parameters import Parameter
from sage_perception.ros.tables import Service, Topic


class Fragile(Node):
    """A node whose callbacks raise for zero."""

    PARAMETERS = (Parameter('divisor', 1, 'Applied at run time.'),)
    SUBSCRIBES = (Topic('number', Int64, qos.DEFAULT, ''),)
    SERVES = (
        Service('align', Align, ''),
        Service('align_later', Align, ''),
        Service('empty', Empty, ''),
    )

    def __init__(self, **options):
        super().__init__('fragile', **options)
        self.results = []
        self.subscribe('number', lambda message: self.results.append(10 // message.data))
        self.serve('align', self.align)
        self.serve('align_later', self.align_later)
        self.serve('empty', lambda request, response: 1 / 0)

    def on_parameters_changed(self):
        self.results.append(10 // self.parameters.divisor)

    def align(self, request, response):
        response.report.reason = 'half done'
        response.success = True
        response.message = str(1 // len(request.entity_a))
        return response

    async def align_later(self, request, response):
        return self.align(request, response)


@pytest.fixture
def node(ros):
    fragile = ros.make(Fragile)
    yield fragile
    fragile.callback_guard.errors.clear()  # intended here; the fixture `ros` accepts none


def statuses(ros, health):
    """Return the statuses of the part `callbacks`, after a new one has come."""
    count = len(health)
    ros.wait_for(lambda: len(health) > count, 'diagnostics')
    found = [status for array in health for status in array.status]
    return [status for status in found if status.name == 'under_test: callbacks']


def values(status):
    return {pair.key: pair.value for pair in status.values}


def test_subscription_goes_on_after_exception(ros, node, capfd):
    health = ros.collect(DiagnosticArray, '/diagnostics')
    numbers = ros.node.create_publisher(Int64, 'number', 10)
    ros.wait_for(numbers.get_subscription_count, 'the subscription')
    for number in (5, 0, 0, 2):
        numbers.publish(Int64(data=number))
    ros.wait_for(lambda: node.results == [2, 5], 'the messages before and after')
    assert node.callback_guard.errors == {'/number': 2}
    log = capfd.readouterr().err
    assert 'exception in callback of /number (1 so far)' in log
    assert 'ZeroDivisionError' in log
    assert 'Traceback' in log
    assert '(2 so far)' not in log, 'the log is throttled'

    def reported():
        return [s for s in statuses(ros, health) if s.level == DiagnosticStatus.ERROR]

    status = ros.wait_for(reported, 'an error status')[0]
    assert status.message.startswith('exception in callback of /number: ZeroDivisionError: ')
    assert values(status) == {
        'exceptions': '2',
        'rejected': '0',
        'exceptions in /number': '2',
    }
    last = statuses(ros, health)[-1]
    assert (last.level, last.message) == (DiagnosticStatus.OK, '2 exceptions')


@pytest.mark.parametrize('service', ['align', 'align_later'])
def test_service_responds_with_failure_and_reason(ros, node, service):
    answer = ros.ask(Align, service)
    assert not answer.success
    assert answer.message.startswith(f'exception in callback of {service}: ZeroDivisionError: ')
    assert answer.report.reason == '', 'nothing of a response that was not finished'
    answer = ros.ask(Align, service, entity_a='a')
    assert (answer.success, answer.message) == (True, '1')
    assert node.callback_guard.errors == {service: 1}


def test_service_without_reason_field_responds(ros, node):
    assert ros.ask(Empty, 'empty') == Empty.Response()
    assert node.callback_guard.errors == {'empty': 1}


def test_timer_goes_on_after_exception(ros):
    class Timed(Node):
        def __init__(self, **options):
            super().__init__('timed', **options)
            self.count = 0
            self.add_timer(0.01, self.work)

        def work(self):
            self.count += 1
            if self.count == 1:
                raise ValueError('only once')

    node = ros.make(Timed)
    ros.wait_for(lambda: node.count > 2, 'later calls')
    assert node.callback_guard.errors == {'timer work': 1}
    node.callback_guard.errors.clear()


def test_parameter_callback_does_not_end_node(ros, node):
    for value in (0, 5):
        changes = [RosParameter('divisor', value=value).to_parameter_msg()]
        answer = ros.ask(SetParameters, 'under_test/set_parameters', parameters=changes)
        assert answer.results[0].successful
    assert node.results == [2]
    assert node.callback_guard.errors == {'parameters': 1}


def test_diagnostics_go_on_after_exception(ros):
    class Reporting(Node):
        def __init__(self, **options):
            super().__init__('reporting', **options)
            self.reports = 0
            self.diagnostics.add('part', self.report)

        def report(self):
            self.reports += 1
            if self.reports == 1:
                raise ValueError('only once')
            return OK, 'reporting', {}

    health = ros.collect(DiagnosticArray, '/diagnostics')
    node = ros.make(Reporting)
    array = ros.wait_for(lambda: health and health[0], 'diagnostics after the exception')
    assert [status.message for status in array.status][-1] == 'reporting'
    assert node.callback_guard.errors == {'timer _publish_diagnostics': 1}
    node.callback_guard.errors.clear()
