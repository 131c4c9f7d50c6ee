# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What a node tells of its health, and what it counts."""

import math
import threading

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from hypothesis import given
from hypothesis import strategies as st
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sage_perception.ros import diagnostics, qos
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.diagnostics import ERROR, OK, WARN, Durations, Rate
from sage_perception.ros.endpoints import Node, Topic

PATIENCE_S = 30.0
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


class CompatibilityEstimator(Node):
    """Hears images reliably and complains of those without a frame."""

    SUBSCRIBES = (Topic('image', Image, qos.DEFAULT, 'Images.'),)
    TIMEOUT_S = 0.3

    def __init__(self, **options):
        super().__init__('listener', **options)
        self.heard = []
        self.input = self.subscribe('image', self._receive, timeout_s=self.TIMEOUT_S)
        self.diagnostics.add('ears', lambda: (OK, 'open', {'number': 2, 'length_m': 1 / 3}))

    def _receive(self, message):
        if not message.header.frame_id:
            self.input.reject('an image without a frame')
            return
        self.heard.append(message)


class Patient(CompatibilityEstimator):
    TIMEOUT_S = 1000.0


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(diagnostics.time, 'monotonic', lambda: self.now)


def image(frame_id='camera', stamp=1):
    return Image(header=Header(stamp=stamp_to_msg(stamp), frame_id=frame_id))


def health(node):
    """Return level, message and figures of a node's input."""
    return node.input.report()[1]


# Figures


def test_a_rate_is_what_happened_in_the_window(monkeypatch):
    clock = Clock(monkeypatch)
    rate = Rate(window_s=5.0)
    assert rate.hz == 0.0
    for _ in range(100):
        clock.now += 0.1
        rate.tick()
    assert rate.hz == pytest.approx(10.0, rel=0.05)
    assert rate.count == 100
    clock.now += 2.5
    assert rate.hz == pytest.approx(5.0, rel=0.05)
    clock.now += 5.0
    assert rate.hz == 0.0


def test_a_rate_may_be_asked_for_while_it_happens(monkeypatch):
    """Another thread asks just between that the oldest tick is seen and that it is let go."""
    others = []

    class Moment(float):
        def __lt__(self, oldest):
            if now > 0 and not others:
                others.append(threading.Thread(target=lambda: rate.hz))
                others[0].start()
                others[0].join(0.2)  # with a lock it waits, and we go on
            return float(self) < oldest

    now = 0.0
    monkeypatch.setattr(diagnostics.time, 'monotonic', lambda: Moment(now))
    rate = Rate(window_s=1.0)
    rate.tick()
    now = 10.0
    assert rate.hz == 0.0
    others[0].join()
    assert rate.count == 1


def test_a_rate_is_right_before_its_window_is_full(monkeypatch):
    clock = Clock(monkeypatch)
    rate = Rate(window_s=5.0)
    for _ in range(20):
        clock.now += 0.05
        rate.tick()
    assert rate.hz == pytest.approx(20.0)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=60), st.sampled_from([50, 95, 99]))
def test_percentiles_are_those_of_numpy(seconds, percent):
    durations = Durations(size=40)
    for value in seconds:
        durations.add(value)
    kept = seconds[-40:]
    low, high = (
        np.percentile(kept, percent, method=method) * 1e3 for method in ('lower', 'higher')
    )
    # The nearest rank above, at most one away from numpy's.
    above = sorted(kept)[min(len(kept) - 1, sorted(kept).index(high / 1e3) + 1)] * 1e3
    assert low <= durations.percentile_ms(percent) <= above


def test_without_durations_there_is_no_percentile():
    assert math.isnan(Durations().percentile_ms(50))


# What comes in


def numbered(number):
    return {'publication_sequence_number': number}


def test_gaps_in_what_a_publisher_numbers_are_counted(ros):
    node = ros.make(Patient)
    for number in (1, 2, 5, 6, 10):
        node.input.received(image(), numbered(number))
    assert node.input.skipped == 5
    node.input.received(image(), numbered(1))  # the publisher was started again
    node.input.received(image(), numbered(2))
    assert node.input.skipped == 5
    node.input.received(image(), None)  # a middleware that does not number
    assert node.input.skipped == 5


def test_a_busy_node_counts_what_it_did_not_get_to_see(ros):
    free, busy = threading.Event(), threading.Event()

    class Slow(Node):
        SUBSCRIBES = (Topic('image', Image, qos.SENSOR_DATA, 'Images.'),)

        def __init__(self, **options):
            super().__init__('slow', **options)
            self.heard = []
            self.input = self.subscribe('image', self._receive)

        def _receive(self, message):
            self.heard.append(message.header.frame_id)
            busy.set()
            free.wait(PATIENCE_S)

    node = ros.make(Slow)
    publisher = ros.node.create_publisher(Image, 'image', 10)
    ros.wait_for(publisher.get_subscription_count, 'a subscriber')
    publisher.publish(image('0'))
    assert busy.wait(PATIENCE_S)
    for number in range(1, 7):
        publisher.publish(image(str(number)))
    publisher.wait_for_all_acked(Duration(seconds=PATIENCE_S))
    free.set()
    ros.wait_for(lambda: len(node.heard) > 1, 'the newest image')
    assert node.heard[-1] == '6'
    assert node.input.skipped == 7 - len(node.heard)


def test_messages_are_counted_and_their_age_is_told(ros):
    node = ros.make(Patient)
    publisher = ros.node.create_publisher(Image, 'image', 10)
    ros.wait_for(publisher.get_subscription_count, 'a subscriber')
    now = ros.node.get_clock().now().nanoseconds
    for _ in range(4):
        publisher.publish(image(stamp=now - 2 * 10**9))
    ros.wait_for(lambda: len(node.heard) == 4, 'four images')
    level, message, figures = health(node)
    assert level == OK
    assert message.endswith(' Hz')
    assert figures['topic'] == '/image'
    assert (figures['received'], figures['skipped'], figures['refused']) == (4, 0, 0)
    assert 2000 <= figures['age_p50_ms'] <= figures['age_p95_ms'] < 2000 + 30_000


def test_what_was_refused_is_counted_and_said_once(ros, capfd):
    node = ros.make(Patient)
    publisher = ros.node.create_publisher(Image, 'image', 10)
    ros.wait_for(publisher.get_subscription_count, 'a subscriber')
    for frame_id in ('', 'camera', ''):
        publisher.publish(image(frame_id))
    array = ros.collect(DiagnosticArray, '/diagnostics')
    told = 'refused: an image without a frame'

    def refusals():
        found = [status for message in array for status in message.status]
        return [status for status in found if status.message == told]

    status = ros.wait_for(refusals, 'a warning')[0]
    assert status.level == WARN
    figures = {pair.key: pair.value for pair in status.values}
    assert (figures['received'], figures['refused']) == ('3', '2')
    assert len(node.heard) == 1
    count = len(array)
    ros.wait_for(lambda: len(array) > count, 'the next report')
    assert array[-1].status[0].level == OK, 'what is past does not worry for ever'
    log = capfd.readouterr().err
    assert '/image: an image without a frame (1 refused so far)' in log
    assert '2 refused' not in log, 'not each one'


def test_silence_without_a_publisher_is_told_as_such(ros):
    node = ros.make(CompatibilityEstimator, namespace='robot1')
    told = ros.wait_for(lambda: health(node)[0] == WARN and health(node))
    assert 'nothing on /robot1/image for ' in told[1]
    assert told[1].endswith('it has no publisher')


def test_silence_of_a_publisher_is_told_as_such(ros):
    node = ros.make(CompatibilityEstimator)
    publisher = ros.node.create_publisher(Image, 'image', 10)
    ros.wait_for(publisher.get_subscription_count, 'a subscriber')
    told = ros.wait_for(lambda: health(node)[0] == WARN and health(node))
    assert told[1].endswith('1 publisher(s)')
    publisher.publish(image())
    ros.wait_for(lambda: node.heard, 'an image')
    ros.wait_for(lambda: health(node)[0] == WARN)


def test_a_publisher_whose_quality_of_service_does_not_fit_is_an_error(ros, capfd):
    node = ros.make(CompatibilityEstimator)
    publisher = ros.node.create_publisher(Image, 'image', BEST_EFFORT)
    level, message, _ = ros.wait_for(lambda: health(node)[0] == ERROR and health(node), 'an error')
    assert level == ERROR
    assert message.startswith('incompatible quality of service on /image: ')
    assert 'Best effort publisher and reliable subscription' in message
    assert 'set qos_overrides./image.subscription.reliability to best_effort' in message
    assert '\n' not in message
    assert message in capfd.readouterr().err
    publisher.publish(image())
    ros.node.destroy_publisher(publisher)
    good = ros.node.create_publisher(Image, 'image', 10)
    ros.wait_for(good.get_subscription_count, 'a subscriber')
    good.publish(image())
    ros.wait_for(lambda: node.heard, 'an image')
    assert health(node)[0] == OK


def test_the_fix_that_the_error_names_works(ros):
    override = 'qos_overrides./image.subscription.reliability:=best_effort'
    node = ros.make(CompatibilityEstimator, '-p', override)
    publisher = ros.node.create_publisher(Image, 'image', BEST_EFFORT)
    ros.wait_for(publisher.get_subscription_count, 'a subscriber')
    ros.wait_for(lambda: publisher.publish(image()) or node.heard, 'an image')
    assert health(node)[0] == OK


def test_an_override_is_for_its_topic_alone(ros):
    class Both(Node):
        SUBSCRIBES = (Topic('a', Image, qos.DEFAULT, ''), Topic('b', Image, qos.DEFAULT, ''))
        PUBLISHES = (Topic('c', Image, qos.DEFAULT, ''),)

        def __init__(self, **options):
            super().__init__('both', **options)
            for name in ('a', 'b'):
                self.subscribe(name, lambda message: None)
            self.publisher('c')

    node = ros.make(Both, '-p', 'qos_overrides./a.subscription.reliability:=best_effort')

    def reliability(topic):
        found = node.get_subscriptions_info_by_topic(topic)
        found += node.get_publishers_info_by_topic(topic)
        return [endpoint.qos_profile.reliability for endpoint in found]

    assert reliability('/a') == [ReliabilityPolicy.BEST_EFFORT]
    assert reliability('/b') == reliability('/c') == [ReliabilityPolicy.RELIABLE]


# What goes out


def test_each_part_is_published_once_a_second_with_its_name(ros):
    array = ros.collect(DiagnosticArray, '/diagnostics')
    ros.make(Patient, namespace='robot1/cam0')
    ros.wait_for(lambda: len(array) >= 3, 'three reports')
    stamps = [m.header.stamp.sec + m.header.stamp.nanosec * 1e-9 for m in array]
    assert np.diff(stamps).mean() > 0.5
    ears = {status.name: status for status in array[0].status}['robot1/cam0/under_test: ears']
    assert (ears.level, ears.message) == (OK, 'open')
    assert ears.hardware_id == 'robot1/cam0/under_test'
    assert {v.key: v.value for v in ears.values} == {'number': '2', 'length_m': '0.333'}
    assert [status.name for status in array[0].status] == [
        'robot1/cam0/under_test: input image',
        'robot1/cam0/under_test: ears',
    ]


def test_health_is_told_while_simulated_time_stands_still(ros):
    array = ros.collect(DiagnosticArray, '/diagnostics')
    ros.make(Patient, '-p', 'use_sim_time:=true')
    ros.wait_for(lambda: len(array) >= 2, 'two reports')
