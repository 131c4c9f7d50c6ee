# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Nothing that arrives ends a node: not a message, a request, nor a callback of rclpy itself."""

import threading
import time
from functools import partial

import pytest
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header, Int64, String

from sage_perception.ros import qos
from sage_perception.ros.diagnostics import WARN
from sage_perception.ros.endpoints import Node
from sage_perception.ros.errors import NodeFailure
from sage_perception.ros.executor import INTERNALS, GuardedExecutor, take_methods
from sage_perception.ros.message_checks import MAX_NAME_CHARS, find_fault
from sage_perception.ros.on_demand import OnDemandGroup
from sage_perception.ros.tables import Topic
from sage_perception.ros.wait_set import KINDS, EntityWaitSet


class Plain(Node):
    """A node with callbacks that rclpy runs without this package."""

    SUBSCRIBES = (Topic('header', Header, qos.DEFAULT, ''),)

    def __init__(self, **options):
        super().__init__('plain', **options)
        self.received = []
        self.monitor = self.subscribe('header', self.received.append, timeout_s=0)
        self.create_subscription(Int64, 'number', self.divide, 10)

    def divide(self, message):
        self.received.append(10 // message.data)

    def fail(self):
        raise NodeFailure('the device is gone') from OSError('no such device')


class Spun:
    """A node spun by a `GuardedExecutor` in a thread; `error` is the exception that ended it."""

    def __init__(self, ros, *arguments, other_internals=False):
        self.error = None
        line = ['--ros-args', '-r', '__node:=under_test', *arguments]
        self.node = Plain(context=ros.context, cli_args=line, use_global_arguments=False)
        self.executor = GuardedExecutor(context=ros.context)
        if other_internals:
            self.executor._takes = {}
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self._spin, daemon=True)
        self.thread.start()

    def _spin(self):
        try:
            self.executor.spin()
        except Exception as error:  # noqa: BLE001 - looked at by the test
            self.error = error

    def close(self):
        self.executor.shutdown()
        self.thread.join(10)
        self.node.destroy_node()


@pytest.fixture
def spin(ros):
    spun = []

    def start(*arguments, **options):
        spun.append(Spun(ros, *arguments, **options))
        return spun[-1]

    yield start
    for each in spun:
        each.close()


def assert_exception_is_counted(ros, spun):
    """Publish numbers of which one raises in its callback."""
    numbers = ros.node.create_publisher(Int64, 'number', 10)
    ros.wait_for(numbers.get_subscription_count, 'the subscription')
    for number in (5, 0, 2):
        numbers.publish(Int64(data=number))
    ros.wait_for(lambda: spun.node.received == [2, 5], 'the messages before and after')
    assert spun.node.callback_guard.errors == {'/number': 1}


def test_exception_in_any_callback_is_counted_by_topic(ros, spin):
    spun = spin()
    assert_exception_is_counted(ros, spun)
    assert spun.thread.is_alive()


def test_a_message_that_cannot_be_taken_does_not_silence_the_node(ros, spin):
    spun = spin()
    numbers = ros.node.create_publisher(Int64, 'number', 10)
    ros.wait_for(numbers.get_subscription_count, 'the subscription')
    (subscription,) = [s for s in spun.node.subscriptions if s.topic_name == '/number']
    subscription.msg_type = None  # the conversion to Python fails, as without memory
    numbers.publish(Int64(data=5))
    ros.wait_for(lambda: spun.node.callback_guard.errors['/number'], 'the exception')
    subscription.msg_type = Int64
    ros.wait_for(lambda: spun.node.received, 'a message of the same topic')
    answer = ros.ask(GetParameters, 'under_test/get_parameters', names=['use_sim_time'])
    assert answer.values[0].bool_value is False


@pytest.mark.parametrize('kind', [SetParameters, SetParametersAtomically])
def test_malformed_parameter_is_refused_by_an_answer(ros, spin, kind):
    spun = spin()
    parameter = Parameter(name='use_sim_time', value=ParameterValue(type=200))
    service = f'under_test/{"set_parameters" if kind is SetParameters else kind.__name__}'
    service = service.replace('SetParametersAtomically', 'set_parameters_atomically')
    answer = ros.ask(kind, service, parameters=[parameter])
    result = answer.results[0] if kind is SetParameters else answer.result
    assert not result.successful
    assert result.reason.startswith("parameter 'use_sim_time': type 200 is unknown")
    answer = ros.ask(GetParameters, 'under_test/get_parameters', names=['use_sim_time'])
    assert answer.values[0].bool_value is False
    assert spun.node.callback_guard.errors == {}
    assert spun.thread.is_alive()


def test_negative_clock_is_ignored(ros, spin):
    spun = spin('-p', 'use_sim_time:=true')
    clocks = ros.node.create_publisher(Clock, '/clock', 1)
    ros.wait_for(clocks.get_subscription_count, 'the subscription')
    clock = Clock()
    clock.clock.sec = 7

    def runs():
        bad = Clock()
        bad.clock.sec = -5
        clocks.publish(bad)
        clocks.publish(clock)
        return spun.node.get_clock().now().nanoseconds == 7 * 10**9

    ros.wait_for(runs, 'the time of the valid clock')
    assert spun.node.callback_guard.errors == {}


def header(sec=1, nanosec=0, frame_id='camera'):
    message = Header(frame_id=frame_id)
    message.stamp.sec, message.stamp.nanosec = sec, nanosec
    return message


@pytest.mark.parametrize(
    ('message', 'fault'),
    [
        (header(sec=-1), 'stamp.sec is -1, it must not be negative: check the clock'),
        (header(nanosec=10**9), 'stamp.nanosec is 1000000000, it must be below 10⁹'),
        (
            header(frame_id='x' * 10**6),
            f'frame_id has 1000000 characters, at most {MAX_NAME_CHARS} are',
        ),
        (header(frame_id='a\nb'), "frame_id 'a\\nb' has characters that cannot be printed"),
    ],
)
def test_message_with_a_fault_is_counted_and_not_read(ros, spin, capfd, message, fault):
    spun = spin()
    assert fault in find_fault(message)
    headers = ros.node.create_publisher(Header, 'header', 10)
    ros.wait_for(headers.get_subscription_count, 'the subscription')
    headers.publish(message)
    headers.publish(header())
    ros.wait_for(lambda: spun.node.received, 'the valid message')
    assert spun.node.received == [header()]
    _, (level, text, values) = spun.node.monitor.report()
    assert (level, values['rejected']) == (WARN, 1)
    assert fault in text
    assert f'/header: {fault}' in capfd.readouterr().err


def test_longest_frame_id_is_accepted():
    assert find_fault(header(frame_id='x' * MAX_NAME_CHARS)) == ''


def test_failure_of_the_node_ends_it_with_its_cause(ros, spin):
    spun = spin()
    spun.node.create_timer(0.01, spun.node.fail)
    spun.thread.join(10)
    assert isinstance(spun.error, OSError)


def test_texts_other_than_names_may_be_long():
    message = String(data='x' * 3420 + '\nline')
    assert find_fault(message) == ''
    assert 'data has 70000 characters, at most 65536' in find_fault(String(data='x' * 70_000))


def publish_until(ros, publisher, message, condition, what):
    """Publish a message until a condition holds; the first ones may precede the discovery."""

    def holds():
        publisher.publish(message)
        return condition()

    ros.wait_for(holds, what)


def test_subscription_created_by_another_thread_receives(ros, spin):
    spun, found = spin(), []
    spun.node.create_subscription(String, 'late', lambda m: found.append(m), 10)
    publisher = ros.node.create_publisher(String, 'late', 10)
    publish_until(ros, publisher, String(data='x'), lambda: found, 'a message')


def test_destroyed_subscription_receives_no_more(ros, spin):
    spun, found, witness = spin(), [], []
    publisher = ros.node.create_publisher(String, 'ended', 10)
    subscription = spun.node.create_subscription(String, 'ended', lambda m: found.append(m), 10)
    publish_until(ros, publisher, String(data='x'), lambda: found, 'a message')
    spun.node.destroy_subscription(subscription)
    ros.wait_for(lambda: not publisher.get_subscription_count(), 'the end of the subscription')
    found.clear()
    spun.node.create_subscription(String, 'witness', lambda m: witness.append(m), 10)
    other = ros.node.create_publisher(String, 'witness', 10)
    publisher.publish(String(data='y'))
    publish_until(ros, other, String(data='z'), lambda: witness, 'a later message')
    assert found == []


def test_closed_group_receives_the_newest_message_when_it_opens(ros, spin):
    spun, found, others = spin(), [], []
    gate = OnDemandGroup()
    gate.is_open = False
    spun.node.create_subscription(
        Int64, 'gated', lambda m: found.append(m), 1, callback_group=gate
    )
    spun.node.create_subscription(Int64, 'gated', lambda m: others.append(m), 10)
    publisher = ros.node.create_publisher(Int64, 'gated', 10)
    ros.wait_for(lambda: publisher.get_subscription_count() == 2, 'both subscriptions')
    for number in range(3):
        publisher.publish(Int64(data=number))
    ros.wait_for(lambda: len(others) == 3, 'the messages of the other group')
    assert found == []
    gate.is_open = True
    spun.executor.wake()
    ros.wait_for(lambda: found == [Int64(data=2)], 'the newest message')


def test_service_that_waits_answers_and_leaves_other_callbacks_running(ros, spin):
    spun, waiting = spin(), []

    async def answer(request, response):
        waiting.append(Future(executor=spun.executor))
        response.values = [ParameterValue(integer_value=await waiting[0])]
        return response

    group = ReentrantCallbackGroup()
    spun.node.create_service(GetParameters, 'slow', answer, callback_group=group)
    client = ros.node.create_client(GetParameters, 'slow')
    ros.wait_for(client.service_is_ready, 'the service')
    future = client.call_async(GetParameters.Request())
    ros.wait_for(lambda: waiting, 'the request')
    answers = ros.ask(GetParameters, 'under_test/get_parameters', names=['use_sim_time'])
    assert len(answers.values) == 1
    assert not future.done()
    waiting[0].add_done_callback(lambda _: None)  # schedules a task, which wakes the executor
    waiting[0].set_result(7)
    ros.wait_for(future.done, 'the answer')
    assert future.result().values[0].integer_value == 7


def test_guard_condition_and_timer_run_without_messages(ros, spin):
    spun, ticks, calls = spin(), [], []
    spun.node.create_timer(0.01, lambda: ticks.append(1))
    guard = spun.node.create_guard_condition(lambda: calls.append(1))
    ros.wait_for(lambda: len(ticks) > 3, 'the timer')
    guard.trigger()
    ros.wait_for(lambda: calls == [1], 'the guard condition')


def test_timer_that_another_callback_cancels_does_not_run(ros, spin):
    spun, runs = spin(), []
    timers = []

    def run(index):
        if not runs:
            time.sleep(0.05)  # both are due
            timers[1 - index].cancel()
        runs.append(index)

    timers += [spun.node.create_timer(0.02, partial(run, index)) for index in (0, 1)]
    ros.wait_for(lambda: len(runs) > 3, 'the other timer')
    assert len(set(runs)) == 1
    assert spun.node.callback_guard.errors == {}


def test_end_of_a_callback_does_not_wake_the_executor(ros, spin, monkeypatch):
    waits = []
    wait = EntityWaitSet.wait

    def counted(self, timeout_ns):
        found = wait(self, timeout_ns)
        waits.append([ready.kind for ready in found if ready.node is not None])
        return found

    monkeypatch.setattr(EntityWaitSet, 'wait', counted)
    spun = spin()
    numbers = ros.node.create_publisher(Int64, 'number', 10)
    ros.wait_for(numbers.get_subscription_count, 'the subscription')
    for number in range(1, 6):
        numbers.publish(Int64(data=number))
        ros.wait_for(lambda count=number: len(spun.node.received) == count, 'the message')
    with_message = [kinds for kinds in waits if 'subscription' in kinds]
    after = [kinds for kinds in waits if not kinds]
    assert len(with_message) == 5
    assert len(after) < 5  # those for the entities of the node itself


class Executor:
    """An executor with the internals that `GuardedExecutor` uses, without those in `missing`."""

    def __init__(self, *missing, arguments=3):
        takes = ('timer', 'subscription', 'guard_condition', 'client', 'service', 'waitable')
        for name in {*INTERNALS, *(f'_take_{kind}' for kind in takes)} - {*missing}:
            setattr(self, name, lambda entity: None)
        if arguments == 3:
            self._make_handler = lambda entity, node, take: None
        else:
            self._make_handler = lambda entity, node, take, call: None


def test_internals_of_another_release_are_not_used():
    assert set(take_methods(Executor())) == {*KINDS, 'event'}
    assert take_methods(Executor(arguments=4)) == {}
    for name in ('_guard', '_sigint_gc', '_tasks', '_tasks_lock', '_take_waitable'):
        assert take_methods(Executor(name)) == {}


def test_executor_with_other_internals_waits_as_rclpy_does(ros, spin):
    spun = spin(other_internals=True)
    assert_exception_is_counted(ros, spun)
