# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Diagnostics of a subscription: counts, age, timeouts, incompatible QoS."""

import threading

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sage_perception.ros import input_monitor, qos
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.diagnostics import ERROR, OK, WARN
from sage_perception.ros.endpoints import Node
from sage_perception.ros.tables import Topic

TIMEOUT_S = 30.0
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


class Subscriber(Node):
    """Receives images reliably, and rejects those without a frame."""

    SUBSCRIBES = (Topic('image', Image, qos.DEFAULT, 'Images.'),)
    INPUT_TIMEOUT_S = 0.3

    def __init__(self, **options):
        super().__init__('subscriber', **options)
        self.received = []
        self.input = self.subscribe('image', self._receive, timeout_s=self.INPUT_TIMEOUT_S)

    def _receive(self, message):
        if message.header.frame_id:
            self.received.append(message)
        else:
            self.input.reject('an image without a frame')


class Patient(Subscriber):
    INPUT_TIMEOUT_S = 1000.0


def image(frame_id='camera', stamp=1):
    return Image(header=Header(stamp=stamp_to_msg(stamp), frame_id=frame_id))


def status(node):
    """Return level, message and values of a node's input."""
    return node.input.report()[1]


def publisher_of(ros, topic='image', profile=10):
    publisher = ros.node.create_publisher(Image, topic, profile)
    ros.wait_for(publisher.get_subscription_count, 'a subscriber')
    return publisher


def numbered(number):
    return {'publication_sequence_number': number}


def test_counts_gaps_in_publication_numbers(ros):
    node = ros.make(Patient)
    for number in (1, 2, 5, 6, 10):
        node.input.received(image(), numbered(number))
    assert node.input.skipped == 5
    node.input.received(image(), numbered(1))  # the publisher was restarted
    node.input.received(image(), numbered(2))
    assert node.input.skipped == 5
    node.input.received(image(), None)  # a middleware without message info
    assert node.input.skipped == 5


def test_counts_messages_that_a_busy_node_skips(ros):
    free, busy = threading.Event(), threading.Event()

    class Slow(Node):
        SUBSCRIBES = (Topic('image', Image, qos.SENSOR_DATA, 'Images.'),)

        def __init__(self, **options):
            super().__init__('slow', **options)
            self.received = []
            self.input = self.subscribe('image', self._receive)

        def _receive(self, message):
            self.received.append(message.header.frame_id)
            busy.set()
            free.wait(TIMEOUT_S)

    node = ros.make(Slow)
    publisher = publisher_of(ros)
    publisher.publish(image('0'))
    assert busy.wait(TIMEOUT_S)
    for number in range(1, 7):
        publisher.publish(image(str(number)))
    publisher.wait_for_all_acked(Duration(seconds=TIMEOUT_S))
    free.set()
    ros.wait_for(lambda: len(node.received) > 1, 'the newest image')
    assert node.received[-1] == '6'
    assert node.input.skipped == 7 - len(node.received)


def test_reports_counts_and_age(ros):
    node = ros.make(Patient)
    publisher = publisher_of(ros)
    now = ros.node.get_clock().now().nanoseconds
    for _ in range(4):
        publisher.publish(image(stamp=now - 2 * 10**9))
    ros.wait_for(lambda: len(node.received) == 4, 'four images')
    level, message, values = status(node)
    assert level == OK
    assert message.endswith(' Hz')
    assert values['topic'] == '/image'
    assert (values['received'], values['skipped'], values['rejected']) == (4, 0, 0)
    assert 2000 <= values['age_p50_ms'] <= values['age_p95_ms'] < 2000 + 30_000


def test_negative_stamp_is_rejected_and_does_not_raise(ros):
    node = ros.make(Patient)
    publisher = publisher_of(ros)
    message = image()
    message.header.stamp.sec = -5
    publisher.publish(message)
    publisher.publish(image())
    ros.wait_for(lambda: node.received, 'the second image')
    assert [image.header.stamp.sec for image in node.received] == [0]
    _, message, values = status(node)
    assert values['rejected'] == 1
    assert 'header.stamp.sec is -5' in message


def test_rejected_messages_are_counted_and_logged_once(ros, capfd):
    node = ros.make(Patient)
    publisher = publisher_of(ros)
    for frame_id in ('', 'camera', ''):
        publisher.publish(image(frame_id))
    health = ros.collect(DiagnosticArray, '/diagnostics')
    reason = 'rejected: an image without a frame'

    def rejections():
        found = [status for message in health for status in message.status]
        return [status for status in found if status.message == reason]

    warning = ros.wait_for(rejections, 'a warning')[0]
    assert warning.level == WARN
    values = {pair.key: pair.value for pair in warning.values}
    assert (values['received'], values['rejected']) == ('3', '2')
    assert len(node.received) == 1
    count = len(health)
    ros.wait_for(lambda: len(health) > count, 'the next report')
    assert health[-1].status[0].level == OK, 'the warning is not repeated'
    log = capfd.readouterr().err
    assert '/image: an image without a frame (1 rejected so far)' in log
    assert '2 rejected' not in log, 'the log is throttled'


def test_malformed_message_is_rejected_before_the_callback(ros):
    class Everyone:
        """Admits all publishers, and counts what cannot be deserialized."""

        malformed = 0

        def admits(self, publisher):
            return True

        def note_malformed(self, publisher):
            self.malformed += 1

    class Guarded(Node):
        SUBSCRIBES = (Topic('image', Image, qos.DEFAULT, ''),)

        def __init__(self, **options):
            super().__init__('guarded', **options)
            self.received, self.guard = [], Everyone()
            self.input = self.subscribe('image', self._receive, guard=self.guard)

        def _receive(self, message, publisher):
            self.received.append(message.header.frame_id)

    node = ros.make(Guarded)
    publisher = publisher_of(ros)
    for data in (b'\0\1\0\0', b'', b'\xff' * 40, b'\0\1\0\0' + b'\xff' * 40):
        publisher.publish(data)
    publisher.publish(image())
    ros.wait_for(lambda: node.received == ['camera'], 'the well-formed message')
    assert status(node)[2]['rejected'] == node.guard.malformed > 0


def test_warns_of_topic_without_publisher(ros):
    node = ros.make(Subscriber, namespace='robot1')
    _, message, _ = ros.wait_for(lambda: status(node)[0] == WARN and status(node))
    assert 'no messages on /robot1/image for ' in message
    assert ': no publisher; ' in message


def test_warns_of_silent_publisher(ros):
    node = ros.make(Subscriber)
    publisher = publisher_of(ros)
    _, message, _ = ros.wait_for(lambda: status(node)[0] == WARN and status(node))
    assert message.endswith(': 1 publisher, but no message arrived')
    publisher.publish(image())
    ros.wait_for(lambda: node.received, 'an image')
    ros.wait_for(lambda: status(node)[0] == WARN)


def test_incompatible_qos_is_an_error(ros, capfd):
    node = ros.make(Subscriber)
    publisher = ros.node.create_publisher(Image, 'image', BEST_EFFORT)
    level, message, _ = ros.wait_for(lambda: status(node)[0] == ERROR and status(node), 'an error')
    assert level == ERROR
    assert message.startswith('incompatible QoS on /image: ')
    assert 'Best effort publisher and reliable subscription' in message
    assert 'Set qos_overrides./image.subscription.reliability to best_effort' in message
    assert '\n' not in message
    assert message in capfd.readouterr().err
    publisher.publish(image())
    ros.destroy(publisher)
    publisher_of(ros).publish(image())
    ros.wait_for(lambda: node.received, 'an image')
    assert status(node)[0] == OK


def test_override_named_in_the_error_fixes_it(ros):
    override = 'qos_overrides./image.subscription.reliability:=best_effort'
    node = ros.make(Subscriber, '-p', override)
    publisher = publisher_of(ros, profile=BEST_EFFORT)
    ros.wait_for(lambda: publisher.publish(image()) or node.received, 'an image')
    assert status(node)[0] == OK


def log_of(capfd, ros, text):
    """Wait until a line with `text` is logged; return it."""
    lines = []

    def logged():
        lines.extend(capfd.readouterr().err.splitlines())
        return [line for line in lines if text in line]

    (line,) = ros.wait_for(logged, text)
    return line


def test_a_topic_without_publisher_is_logged_until_messages_arrive(ros, capfd, monkeypatch):
    monkeypatch.setattr(input_monitor, 'MAX_WAIT_S', 0.5)
    publisher_elsewhere = ros.node.create_publisher(Image, '/imaje', 10)
    node = ros.make(Subscriber)
    line = log_of(capfd, ros, 'no messages')
    assert '[WARN]' in line
    assert line.endswith('no messages on /image: no publisher; did you mean /imaje?')
    ros.destroy(publisher_elsewhere)
    publisher = publisher_of(ros)
    publisher.publish(image())
    assert '[INFO]' in log_of(capfd, ros, 'messages on /image arrive')
    publisher.publish(image())
    ros.wait_for(lambda: len(node.received) == 2)
    assert 'messages on' not in capfd.readouterr().err


def test_a_publisher_of_another_type_is_logged_with_the_fix(ros, capfd, monkeypatch):
    monkeypatch.setattr(input_monitor, 'MAX_WAIT_S', 0.5)
    context = rclpy.Context()  # a participant has one type a topic
    rclpy.init(context=context)
    driver = rclpy.create_node('driver', context=context)
    driver.create_publisher(CompressedImage, '/image', 10)
    ros.make(Patient)
    line = log_of(capfd, ros, 'no messages')
    driver.destroy_node()
    context.shutdown()
    assert line.endswith(
        'no messages on /image: its publisher has the type sensor_msgs/msg/CompressedImage, not '
        'sensor_msgs/msg/Image; set image_transport to auto'
    )


def test_an_inactive_node_does_not_wait(ros, capfd, monkeypatch):
    monkeypatch.setattr(input_monitor, 'MAX_WAIT_S', 0.0)
    node = ros.make(Patient)
    for active in (False, True, False, True):  # the time starts with each activation
        node.input.check(active)
    assert 'no messages' not in capfd.readouterr().err
    node.input.check(True)
    node.input.check(True)
    assert capfd.readouterr().err.count('no messages on /image: no publisher') == 1
