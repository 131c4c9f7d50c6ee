# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Messages between the nodes of one process, without DDS."""

import threading
import time

import pytest
from std_msgs.msg import Header, Int64

from sage_perception.ros import local_bus, qos
from sage_perception.ros.local_bus import Inbox, LocalBus, LocalSubscription, Turn


@pytest.fixture
def inbox():
    inbox = Inbox('receiver')
    yield inbox
    inbox.close()


class Receiver:
    """A subscription that collects messages, and that a test can block."""

    def __init__(self, bus, inbox, profile, topic='/x', kind=Int64):
        self.received, self.mismatches, self.open = [], [], True
        self.unblocked = threading.Event()
        self.unblocked.set()
        self.subscription = LocalSubscription(
            profile,
            inbox,
            self.take,
            lambda: self.open,
            lambda: self.mismatches.append(1),
        )
        bus.subscribe(topic, kind, self.subscription)

    def take(self, message, info):
        self.received.append((message, info))
        self.unblocked.wait(10)

    @property
    def numbers(self):
        return [message.data for message, _ in self.received]


def wait_for(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_subscriptions_receive_the_same_object_in_order(inbox):
    bus = LocalBus()
    before = Receiver(bus, inbox, qos.DEFAULT)
    publisher = bus.publisher('/x', Int64, qos.DEFAULT)
    after = Receiver(bus, inbox, qos.DEFAULT)
    other = Receiver(bus, inbox, qos.DEFAULT, topic='/y')
    other_type = Receiver(bus, inbox, qos.DEFAULT, kind=Header)
    assert publisher.matched == 2
    inbox.start()
    messages = [Int64(data=n) for n in range(5)]
    for message in messages:
        publisher.publish(message)
    wait_for(lambda: len(before.received) == len(after.received) == 5)
    for receiver in (before, after):
        assert [id(message) for message, _ in receiver.received] == list(map(id, messages))
        infos = [info for _, info in receiver.received]
        assert [info['publication_sequence_number'] for info in infos] == [1, 2, 3, 4, 5]
        assert len({info['publisher_gid']['data'] for info in infos}) == 1
    assert not other.received
    assert not other_type.received


def test_publishers_have_different_ids(inbox):
    bus = LocalBus()
    receiver = Receiver(bus, inbox, qos.DEFAULT)
    inbox.start()
    for number in range(2):
        bus.publisher('/x', Int64, qos.DEFAULT).publish(Int64(data=number))
    wait_for(lambda: len(receiver.received) == 2)
    assert len({info['publisher_gid']['data'] for _, info in receiver.received}) == 2


@pytest.mark.parametrize(('profile', 'left'), [(qos.SENSOR_DATA, 1), (qos.DEFAULT, 10)])
def test_a_slow_subscription_keeps_the_newest_messages(inbox, profile, left):
    bus = LocalBus()
    receiver = Receiver(bus, inbox, profile)
    publisher = bus.publisher('/x', Int64, qos.DEFAULT)
    inbox.start()
    receiver.unblocked.clear()
    publisher.publish(Int64(data=0))
    wait_for(lambda: receiver.numbers == [0])
    for number in range(1, 31):
        publisher.publish(Int64(data=number))
    receiver.unblocked.set()
    wait_for(lambda: receiver.numbers[-1] == 30)
    assert receiver.numbers == [0, *range(31 - left, 31)]


def test_late_latched_subscriptions_receive_the_last_message(inbox):
    bus = LocalBus()
    publisher = bus.publisher('/x', Int64, qos.LATCHED)
    for number in range(3):
        publisher.publish(Int64(data=number))
    latched = Receiver(bus, inbox, qos.LATCHED_SHARED)
    volatile = Receiver(bus, inbox, qos.DEFAULT)
    inbox.start()
    wait_for(lambda: latched.numbers == [2])
    publisher.publish(Int64(data=3))
    wait_for(lambda: latched.numbers == [2, 3] and volatile.numbers == [3])


@pytest.mark.parametrize('publisher_first', [True, False])
def test_incompatible_qos_is_reported_and_not_connected(inbox, publisher_first):
    bus = LocalBus()
    make = [
        lambda: bus.publisher('/x', Int64, qos.SENSOR_DATA),
        lambda: Receiver(bus, inbox, qos.DEFAULT),
    ]
    publisher, receiver = (
        [m() for m in make] if publisher_first else [m() for m in reversed(make)][::-1]
    )
    assert receiver.mismatches
    assert publisher.matched == 0


def test_closed_and_removed_subscriptions_receive_nothing(inbox):
    bus = LocalBus()
    publisher = bus.publisher('/x', Int64, qos.DEFAULT)
    receiver, witness = Receiver(bus, inbox, qos.DEFAULT), Receiver(bus, inbox, qos.DEFAULT)
    inbox.start()
    receiver.open = False
    publisher.publish(Int64(data=1))
    receiver.open = True
    publisher.publish(Int64(data=2))
    wait_for(lambda: witness.numbers == [1, 2])
    bus.unsubscribe('/x', Int64, receiver.subscription)
    publisher.publish(Int64(data=3))
    wait_for(lambda: witness.numbers == [1, 2, 3])
    assert receiver.numbers == [2]


def test_a_message_that_waits_while_its_subscription_closes_is_dropped(inbox):
    bus = LocalBus()
    publisher = bus.publisher('/x', Int64, qos.DEFAULT)
    receiver, witness = Receiver(bus, inbox, qos.DEFAULT), Receiver(bus, inbox, qos.DEFAULT)
    publisher.publish(Int64(data=1))
    receiver.open = False
    inbox.start()
    wait_for(lambda: witness.numbers == [1])
    assert not receiver.received


def test_messages_wait_for_the_lock(inbox):
    bus = LocalBus()
    receiver = Receiver(bus, inbox, qos.DEFAULT)
    inbox.start()
    with inbox.lock:
        bus.publisher('/x', Int64, qos.DEFAULT).publish(Int64(data=1))
        time.sleep(0.05)
        assert not receiver.received
    wait_for(lambda: receiver.numbers == [1])


@pytest.fixture
def two_nodes():
    """Return the bus, the publishers and the receivers of two nodes of one process."""
    bus, turn = LocalBus(), Turn()
    inboxes = [Inbox(name, turn) for name in ('first', 'second')]
    topics = ['/first', '/second']
    publishers = [bus.publisher(topic, Int64, qos.DEFAULT) for topic in topics]
    receivers = [
        Receiver(bus, inbox, qos.DEFAULT, topic=topic)
        for inbox, topic in zip(inboxes, topics, strict=True)
    ]
    for inbox in inboxes:
        inbox.start()
    yield publishers, receivers
    for receiver in receivers:
        receiver.unblocked.set()
    for inbox in inboxes:
        inbox.close()


def test_nodes_of_a_process_take_turns(two_nodes, monkeypatch):
    monkeypatch.setattr(local_bus, 'PATIENCE_S', 10.0)
    publishers, (first, second) = two_nodes
    first.unblocked.clear()
    for publisher in publishers:
        publisher.publish(Int64(data=1))
        wait_for(lambda: first.numbers)
    time.sleep(0.05)
    assert not second.numbers
    first.unblocked.set()
    wait_for(lambda: second.numbers == [1])


def test_a_node_does_not_wait_long_for_a_slow_one(two_nodes):
    publishers, (first, second) = two_nodes
    first.unblocked.clear()
    publishers[0].publish(Int64(data=1))
    wait_for(lambda: first.numbers)
    publishers[1].publish(Int64(data=1))
    wait_for(lambda: second.numbers == [1])


def test_turns_are_taken_in_the_order_of_asking(monkeypatch):
    monkeypatch.setattr(local_bus, 'PATIENCE_S', 10.0)
    turn, order = Turn(), []

    def work(number):
        with turn.taken():
            order.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    with turn.taken():
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_for(lambda number=number: len(turn._waiting) == number)
    for thread in threads:
        thread.join(10)
    assert order == list(range(5))
    with turn.taken():  # the last thread has given it back
        assert not turn._waiting


def test_several_nodes_have_turns_at_once():
    turn, both = Turn(2), threading.Barrier(2)

    def work():
        with turn.taken():
            both.wait(10)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not both.broken


def test_who_loses_patience_works_without_the_turn_and_does_not_take_it_later(monkeypatch):
    monkeypatch.setattr(local_bus, 'PATIENCE_S', 0.01)
    turn = Turn()
    with turn.taken():
        impatient = threading.Thread(target=lambda: turn.taken().__enter__())
        impatient.start()
        impatient.join(10)
        assert not impatient.is_alive()
        assert not turn._waiting
    monkeypatch.setattr(local_bus, 'PATIENCE_S', 10.0)
    begun_s = time.monotonic()
    with turn.taken():
        assert time.monotonic() - begun_s < 5


def test_a_node_handles_the_messages_that_wait_in_one_turn(two_nodes, monkeypatch):
    monkeypatch.setattr(local_bus, 'PATIENCE_S', 10.0)
    publishers, (first, second) = two_nodes
    first.unblocked.clear()
    for publisher in publishers:
        for number in range(3):
            publisher.publish(Int64(data=number))
        wait_for(lambda: first.numbers)
    first.unblocked.set()
    wait_for(lambda: second.numbers)
    assert first.numbers == [0, 1, 2]
