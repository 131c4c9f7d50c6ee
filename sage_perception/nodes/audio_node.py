# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Encodes the sound events of microphones, and publishes their directions and words."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, replace
from typing import Any

from geometry_msgs.msg import Pose, PoseStamped, Quaternion
from rclpy.duration import Duration
from sage_msgs.msg import LCTArray
from std_msgs.msg import Bool, Float32, Header, String

from sage_perception import models
from sage_perception.audio.event_stream import EventStream, SoundEvent
from sage_perception.audio.phrase import Phrase
from sage_perception.audio.sources import ReconnectingSound, SoundBlock
from sage_perception.core.lct import LCT
from sage_perception.pipeline.sound_encoder import EncodedSound, SoundEncoder
from sage_perception.ros import qos
from sage_perception.ros.conversions.lct_arrays import lct_array_to_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.diagnostics import ERROR, OK, WARN, Status
from sage_perception.ros.endpoints import Topic
from sage_perception.ros.errors import ConfigurationError, NodeFailure
from sage_perception.ros.identity import node_identity
from sage_perception.ros.lifecycle import LifecycleNode
from sage_perception.ros.node_parameters.audio import AUDIO
from sage_perception.ros.run import run
from sage_perception.ros.statistics import Durations, Rate
from sage_perception.trust.security.canonical import PLAIN
from sage_perception.trust.security.identity import Identity
from sage_perception.vision.sources.base import EndOfStream, SourceError
from sage_perception.vision.sources.capture import CaptureThread
from sage_perception.vision.sources.reconnect import Connection

CHECK_PERIOD_S = 0.2
"""Time between two checks for a capture that has failed, seconds."""


@dataclass(frozen=True, eq=False)
class _Configured:
    """State that exists while the node is configured."""

    source: ReconnectingSound
    encoder: SoundEncoder
    identity: Identity


class AudioNode(LifecycleNode):
    """Publishes one LCT for each sound event, its direction, and the words that it recognizes."""

    PARAMETERS = AUDIO
    PUBLISHES = (
        Topic('audio', LCTArray, qos.DEFAULT, 'One LCT of kind AUDIO for each sound event.'),
        Topic(
            'bearing',
            PoseStamped,
            qos.DEFAULT,
            'Direction of each event of two microphones, as the yaw of the orientation.',
        ),
        Topic('voice', Bool, qos.DEFAULT, 'Whether each event is a voice.'),
        Topic(
            'arousal',
            Float32,
            qos.DEFAULT,
            'Arousal of each event: its level over the background, half of it for other than '
            'voices. The memory node adds it to the salience of what is seen.',
        ),
        Topic('goal', String, qos.DEFAULT, 'Recognized words, successive ones joined.'),
    )

    def __init__(self, **options: Any) -> None:
        super().__init__('audio', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        self._configured: _Configured | None = None
        self._capture: CaptureThread[SoundBlock] | None = None
        self._connection = Connection(False, 'not configured')
        self._capture_error: Exception | None = None
        self._stream = EventStream(self.parameters.spacing_m)
        self._phrase = Phrase(self.parameters.phrase_gap_s)
        self._blocks, self._durations = Rate(), Durations()
        self._events = self._faulty = 0
        self._last_word = ''
        name = self.get_namespace().rstrip('/').rpartition('/')[2] or self.get_name()
        self._frame_id = self.parameters.frame_id or f'{name}_link'
        self._audio = self.publisher('audio')
        self._bearings = self.publisher('bearing')
        self._voices = self.publisher('voice')
        self._arousals = self.publisher('arousal')
        self._goals = self.publisher('goal')
        self.diagnostics.add('sound', self._report)
        # Not `add_timer`: this exception must end the node, so that it is restarted.
        self.create_timer(CHECK_PERIOD_S, self._raise_capture_error, clock=self.diagnostics.clock)

    def configure(self) -> None:
        """Load the model and open the source."""
        parameters = self.parameters
        identity = node_identity(self, parameters.entity_id or self.get_namespace().strip('/'))
        try:
            model = models.load_audio(parameters.model)
        except models.ModelError as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        model.threads = parameters.threads
        try:
            source = ReconnectingSound(parameters.source, on_state=self._on_state)
        except SourceError as error:
            raise ConfigurationError(f"parameter 'source': {error}") from error
        if not (parameters.reconnect or self._connection.connected):
            raise ConfigurationError(f"parameter 'source': {self._connection.reason}")
        self._configured = _Configured(source, SoundEncoder(model), identity)
        self.get_logger().info(f'loaded {model.id}; entity {identity.entity_id!r}')

    def activate(self) -> None:
        """Start capturing."""
        if self._configured is None:
            raise RuntimeError('the node is not configured')
        self._stream = EventStream(self.parameters.spacing_m)
        name = f'{self.get_fully_qualified_name()[1:]}: capture'
        self._capture = CaptureThread(self._configured.source, self._receive, self._on_end, name)
        self._capture.start()

    def deactivate(self) -> None:
        """Stop capturing; the source stays open."""
        if self._capture is not None:
            self._capture.stop()
            self._capture = None

    def cleanup(self) -> None:
        """Close the source and release the model."""
        if self._configured is not None:
            self._configured.source.close()
            self._configured = None

    def _on_state(self, state: Connection) -> None:
        """Log a change of the connection to the microphone."""
        before, self._connection = self._connection, state
        if state.connected:
            self.get_logger().info('the microphone is connected')
            return
        self.get_logger().warning(
            f'no microphone: {state.reason}', throttle_duration_sec=10.0 if state.attempts else 0.0
        )
        if before.connected and not self.parameters.reconnect:
            self._capture_error = RuntimeError(f'microphone lost: {state.reason}')

    def _on_end(self, error: Exception) -> None:
        """Handle the end of the capture."""
        if isinstance(error, EndOfStream):
            self._connection = Connection(False, str(error))
            self.get_logger().info(f'no more sound: {error}')
        elif self.context.ok():  # after shutdown every publish fails
            self._capture_error = error

    def _raise_capture_error(self) -> None:
        """End the node if the capture has failed."""
        if self._capture_error is not None:
            raise NodeFailure(str(self._capture_error)) from self._capture_error

    def _receive(self, block: SoundBlock) -> None:
        """Handle a block, in the thread of the capture."""
        configured = self._configured
        if configured is None:
            return
        self._blocks.tick()
        events = self._stream.add(block)
        for event in events:
            start_s = time.perf_counter()
            encoded = configured.encoder.encode(event)
            self._publish(configured.identity, event, encoded)
            self._durations.add(time.perf_counter() - start_s)

    def _publish(self, identity: Identity, event: SoundEvent, encoded: EncodedSound) -> None:
        """Publish an event: its LCT, arousal, direction and word."""
        now = self.get_clock().now()
        age_ns = max(time.monotonic_ns() - event.captured_ns, 0)
        if now.nanoseconds <= age_ns:
            return  # there is no stamp before simulated time has started
        stamp = (now - Duration(nanoseconds=age_ns)).to_msg()
        stamp_ns = stamp_from_msg(stamp)
        header = Header(stamp=stamp, frame_id=self._frame_id)
        self._events += 1
        self._faulty += bool(event.fault)
        arousal = 0.0 if event.fault else event.arousal
        latent = replace(encoded.latent, snarc=(0.0, 0.0, arousal, 0.0, 0.0))
        lct = LCT.encoded(
            latent,
            entity_id=identity.entity_id,
            sequence=identity.next_sequence(),
            stamp_ns=stamp_ns,
        )
        array = lct_array_to_msg(header, (0, 0), identity.entity_id, [(lct, PLAIN)], identity.key)
        self._audio.publish(array)
        if event.fault:
            return
        self._arousals.publish(Float32(data=arousal))
        self._voices.publish(Bool(data=event.voice))
        if event.bearing is not None:
            self._bearings.publish(bearing_to_msg(header, event.bearing.angle))
        if event.voice and encoded.known and encoded.confidence >= self.parameters.min_confidence:
            self._last_word = encoded.word
            self._goals.publish(String(data=self._phrase.add(encoded.word, stamp_ns)))

    def _report(self) -> Status:
        values: dict[str, Any] = {
            'blocks': self._blocks.count,
            'rate_hz': self._blocks.hz,
            'gaps': self._stream.gaps,
            'events': self._events,
            'events_of_a_faulty_microphone': self._faulty,
            'last_word': self._last_word,
            'active': self.active,
        }
        if self._configured is not None:
            source = self._configured.source
            values |= {'device': source.identity, 'channels': source.channels}
            values |= {'model': self._configured.encoder.model.id}
        if not self._connection.connected:
            return ERROR, f'no sound: {self._connection.reason}', values
        if not self.active:
            return WARN, 'not active', values
        if self._stream.fault:
            return WARN, f'the sound is {self._stream.fault}: its trust is 0', values
        return OK, 'capturing', values


def bearing_to_msg(header: Header, angle: float) -> PoseStamped:
    """Return a direction, radians, positive to the left, as the yaw of a pose at the origin."""
    turn = Quaternion(x=0.0, y=0.0, z=math.sin(angle / 2), w=math.cos(angle / 2))
    return PoseStamped(header=header, pose=Pose(orientation=turn))


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(AudioNode, args))


if __name__ == '__main__':
    main()
