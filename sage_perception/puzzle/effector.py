# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""From latents of actions to positions of joints, within limits of rate and range.

The dead-man rule: joints move only while fresh, trusted actions arrive and the positions of the
joints are known. When one of these ends, or an action no longer commands a joint, the joints are
commanded to stop once, where they are; after that there are no commands.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sage_perception.core.latent import LatentKind
from sage_perception.core.lct import LCT
from sage_perception.puzzle.action import ACTION, ACTION_DIM, NAMES, used
from sage_perception.puzzle.joints import Joint, parse_joints

SYNTAX = f'PLACE=JOINT, where PLACE is one of {", ".join(NAMES)}'


class State(enum.Enum):
    """Why joints move or do not."""

    MOVING = 'moving'
    NO_ACTION = 'no fresh, trusted action'
    NO_POSITION = 'the positions of the joints are not known'


@dataclass(frozen=True)
class Setpoint:
    """Positions to reach after `period_s` seconds, and the velocities there, by joint name."""

    positions: Mapping[str, float]
    velocities: Mapping[str, float]
    period_s: float


def parse_places(texts: Sequence[str]) -> dict[int, Joint]:
    """Return the joints by their place in an action, of texts as `head_pan=pan:-1.5:1.5:2.0`.

    Raises `ValueError` for a place that does not exist or occurs twice, and as `parse_joints`.
    """
    parts = [text.partition('=') for text in texts]
    for text, (place, equals, _) in zip(texts, parts, strict=True):
        if not equals or place not in NAMES:
            raise ValueError(f'{text!r}: write {SYNTAX}')
    places = [NAMES.index(place) for place, _, _ in parts]
    if len(set(places)) < len(places):
        raise ValueError(f'a place occurs twice in {list(texts)}')
    return dict(zip(places, parse_joints([joint for _, _, joint in parts]), strict=True))


class Effector:
    """Follows actions with the joints of a robot.

    Args:
        joints: the joints by their place in an action.
        min_trust: smallest trust of an action that is followed, in [0, 1].
        timeout_s: age of an action, and of a position, from which it is not used, seconds.
        speed: factor of the maximum velocities of the joints, in (0, 1].
    """

    def __init__(
        self, joints: Mapping[int, Joint], min_trust: float, timeout_s: float, speed: float = 1.0
    ):
        self.joints = dict(joints)
        self._names = {joint.name for joint in self.joints.values()}
        self.min_trust, self.timeout_s, self.speed = min_trust, timeout_s, speed
        self.state = State.NO_ACTION
        self.refused: dict[str, int] = {}
        """Number of actions that were not followed, by reason."""
        self._targets: dict[str, float] = {}
        self._action_ns = 0
        self._measured: dict[str, tuple[float, int]] = {}
        self._commanded: dict[str, float] = {}

    def add_action(self, lct: LCT, now_ns: int) -> bool:
        """Follow an action if it may be; return whether it is, and count the reason if not."""
        reason = self._find_fault(lct, now_ns)
        if reason:
            self.refused[reason] = self.refused.get(reason, 0) + 1
            return False
        log_var = lct.latent.log_var
        assert log_var is not None
        valid = used(log_var)
        self._targets = {}
        for place, joint in self.joints.items():
            if valid[place]:
                share = (float(lct.latent.mean[place].clip(-1, 1)) + 1) / 2
                self._targets[joint.name] = joint.lower + share * (joint.upper - joint.lower)
        self._action_ns = lct.stamp_ns
        return True

    def add_position(self, name: str, position: float, stamp_ns: int) -> None:
        """Keep the position of a joint; ignore other joints, and values that are not finite."""
        if name in self._names and np.isfinite(position):
            self._measured[name] = (float(position), stamp_ns)

    def next_setpoint(self, now_ns: int, period_s: float) -> Setpoint | None:
        """Return the next positions; None if there is no command, see the dead-man rule."""
        was_moving = self.state is State.MOVING
        if not self._is_fresh(self._action_ns, now_ns):
            # Forgotten, because a clock that jumps back would make them fresh again.
            self._targets = {}
        if not self._targets:
            self.state = State.NO_ACTION
        elif all(self._is_measured(name, now_ns) for name in self._targets):
            self.state = State.MOVING
        else:
            self.state = State.NO_POSITION
        if self.state is not State.MOVING:
            return self._stop(now_ns, period_s) if was_moving else None
        positions, velocities = {}, {}
        for joint in self.joints.values():
            name = joint.name
            if name in self._targets:
                start = self._commanded.get(name, self._measured[name][0])
                reach = joint.velocity * self.speed * period_s
                wanted = float(np.clip(self._targets[name], joint.lower, joint.upper))
                change = float(np.clip(wanted - start, -reach, reach))
                positions[name] = start + change
                velocities[name] = 0.0 if abs(change) < reach else change / period_s
            elif name in self._commanded:
                positions[name], velocities[name] = self._rest(joint, now_ns), 0.0
        self._commanded = {name: positions[name] for name in self._targets}
        return Setpoint(positions, velocities, period_s)

    def _stop(self, now_ns: int, period_s: float) -> Setpoint:
        """Return the command to stop."""
        moved = [joint for joint in self.joints.values() if joint.name in self._commanded]
        positions = {joint.name: self._rest(joint, now_ns) for joint in moved}
        self._commanded, self._targets = {}, {}
        return Setpoint(positions, dict.fromkeys(positions, 0.0), period_s)

    def _rest(self, joint: Joint, now_ns: int) -> float:
        """Return where a joint stops: where it is, or was sent last if that is not known.

        Joint states are not signed: the stop is no farther from the last command than the joint
        can trail it, `timeout_s` at its maximum speed.
        """
        sent = self._commanded[joint.name]
        if not self._is_measured(joint.name, now_ns):
            return sent
        reach = joint.velocity * self.speed * self.timeout_s
        return sent + float(np.clip(self._measured[joint.name][0] - sent, -reach, reach))

    def _is_measured(self, name: str, now_ns: int) -> bool:
        return name in self._measured and self._is_fresh(self._measured[name][1], now_ns)

    def _is_fresh(self, stamp_ns: int, now_ns: int) -> bool:
        return abs(now_ns - stamp_ns) <= self.timeout_s * 1e9

    def _find_fault(self, lct: LCT, now_ns: int) -> str:
        latent = lct.latent
        if latent.kind is not LatentKind.ACTION or latent.model.fingerprint != ACTION.fingerprint:
            return 'not an action'
        if latent.dim != ACTION_DIM or not np.isfinite(latent.mean).all():
            return 'not finite'
        if latent.log_var is None:
            # As in every packed latent: which values are commands is not known.
            return 'no log-variance'
        if not lct.trust >= self.min_trust:
            return 'not trusted'
        if not self._is_fresh(lct.stamp_ns, now_ns):
            return 'too old'
        # After the clock jumped back, the last action is not fresh, and every new one is older.
        is_late = lct.stamp_ns < self._action_ns and self._is_fresh(self._action_ns, now_ns)
        return 'older than the last' if is_late else ''
