# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Attacks on signed LCTs by a third party, and the cost of verification.

Part of `bench/trust.py`.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sage_perception.core.latent import Code, Latent, LatentKind, ModelId, Roi, Telemetry
from sage_perception.core.lct import Membership, Operation, Proof, Provenance, step_from
from sage_perception.trust import LCT, TrustStore, sign
from sage_perception.trust.security.admission import AdmissionFilter, Expected
from sage_perception.trust.security.canonical import PLAIN, Wire
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.replay import ReplayGuard

DIM = 64
NOW = 1_800_000_000 * 10**9
MODEL = ModelId('tinyvae', '1.0.0', bytes(range(32)))
# The group order of Ed25519. Adding it to the second half of a signature gives another solution of
# the same equation, which a strict verifier rejects (RFC 8032, section 5.1.7).
ORDER = 2**252 + 27742317777372353535851937790883648493


class World:
    """Two cameras, a relay and an arbiter with trusted keys, and the LCTs an attacker recorded."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.rng = np.random.default_rng(seed)
        self.keys = {
            name: Ed25519PrivateKey.from_private_bytes(self.random.randbytes(32))
            for name in ('robot1/cam0', 'robot1/cam1', 'robot2/radio', 'robot1/arbiter', 'revoked')
        }
        self.attacker = Ed25519PrivateKey.from_private_bytes(self.random.randbytes(32))
        self.store = TrustStore()
        for name, key in self.keys.items():
            self.store.trust(name, public_bytes(key))
        self.store.trust('robot1/cam0', public_bytes(self.keys['revoked']))
        self.store.revoke('robot1/cam0', public_bytes(self.keys['revoked']))
        self.sequence = NOW
        self.recorded: list[LCT] = []

    def encode(self, wire: Wire = PLAIN, entity: str = 'robot1/cam0') -> LCT:
        """Return the next signed LCT of a camera; in FLOAT32 it has a variance."""
        mean, log_var = self.rng.normal(size=(2, DIM)).astype(np.float32)
        trust = float(np.float32(self.random.random()))
        latent = Latent(
            mean,
            None if wire.packed else log_var,
            model=MODEL,
            roi=Roi(*(self.random.randint(1, 400) for _ in range(4))),
            track_id=self.random.randint(0, 2**32 - 1),
            telemetry=Telemetry(trust, 0.01, 0.5, 7.0, 0.002, 2, (0.02, 0.01)),
        )
        lct = LCT.encoded(latent, entity_id=entity, sequence=0, stamp_ns=NOW)
        return self.sign_next(lct, wire)

    def derive(self, parent: LCT, entity: str, operation: Operation, wire: Wire = PLAIN) -> LCT:
        """Return the signed LCT that an entity derives from another one."""
        step = step_from(parent, operation, entity, MODEL)
        lct = LCT.derived(
            parent.latent,
            (*parent.provenance, step),
            entity_id=entity,
            sequence=0,
            stamp_ns=parent.stamp_ns,
        )
        return self.sign_next(lct, wire)

    def fused(self, wire: Wire = PLAIN, entity: str = 'robot1/cam0') -> LCT:
        """Return the next LCT of an entity: of the other camera, relayed and fused."""
        relayed = self.derive(
            self.encode(wire, 'robot1/cam1'), 'robot2/radio', Operation.RELAY, wire
        )
        return self.derive(relayed, entity, Operation.FUSE, wire)

    def sign_next(self, lct: LCT, wire: Wire = PLAIN) -> LCT:
        """Return an LCT with the next sequence, signed by its entity."""
        self.sequence += 1
        lct = replace(lct, sequence=self.sequence)
        return sign(lct, self.keys[lct.entity_id], wire)


def changed(value: Any, random: random.Random) -> Any:
    """Return a value that differs in one bit, character, element or optional part.

    The canonical form differs too: also for NaN, and after rounding to float32.
    """
    if dataclasses.is_dataclass(value):
        # The receiver computes the digest itself, and the index from the membership.
        computed = ('digest', 'index') if isinstance(value, LCT) else ()
        names = [field.name for field in dataclasses.fields(value) if field.name not in computed]
        name = random.choice(names)
        part = getattr(value, name)
        if name == 'log_var':
            part = _changed_log_var(part, value.mean, random)
        elif name == 'proof' and (part is None or not random.randrange(8)):
            part = Proof(1, NOW, 1.0, bytes(32), bytes(64)) if part is None else None
        elif name == 'membership' and (part is None or not random.randrange(8)):
            part = Membership(0, 1, bytes(32)) if part is None else None
        elif name == 'path' and not part:
            part = (bytes(32),)
        elif name == 'snarc' and part is None:
            part = (0.5,) * 5
        elif name == 'codes' and not part:
            part = (Code(LatentKind.IDENTITY, MODEL, 2, b'code'),)
        elif name == 'roi' and (part is None or not random.randrange(8)):
            part = Roi(1, 2, 3, 4) if part is None else None
        else:
            part = changed(part, random)
        if isinstance(value, Latent) and name == 'mean' and len(part) != len(value.mean):
            log_var = value.log_var
            return replace(value, mean=part, log_var=None if log_var is None else part.copy())
        return replace(value, **{name: part})
    if isinstance(value, bool):
        return not value
    if isinstance(value, enum.IntEnum):
        return random.choice([other for other in type(value) if other != value])
    if isinstance(value, int):
        return value ^ 1 << random.randrange(16)
    if isinstance(value, float):
        return _changed_float(value, random)
    if isinstance(value, str):
        place = random.randrange(len(value) + 1)
        letter = random.choice('aZ0/ é\0')
        kept = value[place + 1 :] if letter != value[place : place + 1] else value[place:]
        return value[:place] + letter + kept
    if isinstance(value, np.ndarray):
        return _changed_array(value, random)
    if isinstance(value, bytes):
        place = random.randrange(len(value))
        flipped = bytes([value[place] ^ 1 << random.randrange(8)])
        return value[:place] + flipped + value[place + 1 :]
    return _changed_tuple(value, random)


def _changed_float(value: float, random: random.Random) -> float:
    if math.isnan(value):
        return random.choice([0.0, 1.0, math.inf])
    (bits,) = struct.unpack('<I', struct.pack('<f', value))
    return struct.unpack('<f', struct.pack('<I', bits ^ 1 << random.randrange(32)))[0]


def _changed_array(values: np.ndarray, random: random.Random) -> np.ndarray:
    what = random.randrange(4)
    if what == 0:
        return np.append(values, np.float32(0))
    if what == 1 and len(values):
        return values[:-1].copy()
    if what == 2 and len(values):
        values = values.copy()
        values[random.randrange(len(values))] = random.choice([np.nan, np.inf, -np.inf, 1e30])
        return values
    raw = changed(values.tobytes(), random) if len(values) else bytes(4)
    return np.frombuffer(raw, np.float32)


def _changed_log_var(log_var, mean: np.ndarray, random: random.Random) -> np.ndarray | None:
    if log_var is None:
        return mean.copy()
    if not random.randrange(8):
        return None
    raw = changed(log_var.tobytes(), random)
    return np.frombuffer(raw, np.float32)


def _changed_tuple(values: tuple, random: random.Random) -> tuple:
    what = random.randrange(4)
    if not values:
        return (0.5,)
    place = random.randrange(len(values))
    if what == 0:
        return values[:place] + values[place + 1 :]
    if what == 1:
        return values[: place + 1] + values[place:]
    if what == 2 and len(set(values)) > 1 and values != values[::-1]:
        return values[::-1]
    return (*values[:place], changed(values[place], random), *values[place + 1 :])


def change_a_field(world: World) -> tuple[LCT, Wire]:
    return changed(world.fused(), world.random), PLAIN


def change_two_fields(world: World) -> tuple[LCT, Wire]:
    signed = world.fused()
    name = world.random.choice(['id', 'sequence', 'stamp_ns', 'trust', 'provenance', 'entity_id'])
    moved = replace(signed, **{name: changed(getattr(signed, name), world.random)})
    return replace(moved, latent=changed(moved.latent, world.random)), PLAIN


def change_the_payload(world: World) -> tuple[LCT, Wire]:
    wire = Wire(world.random.randint(1, 4), world.random.randbytes(world.random.randint(1, 64)))
    signed = world.fused(wire)
    what = world.random.randrange(4)
    if what == 0:
        return signed, Wire(wire.encoding % 4 + 1, wire.payload)
    if what == 1:
        return signed, Wire(wire.encoding, wire.payload[:-1])
    if what == 2:
        return signed, PLAIN
    return signed, Wire(wire.encoding, changed(wire.payload, world.random))


def truncate(world: World) -> tuple[LCT, Wire]:
    signed = world.fused()
    name = world.random.choice(['id', 'signature', 'entity_id', 'provenance'])
    value = getattr(signed, name)
    return replace(signed, **{name: value[: world.random.randrange(len(value))]}), PLAIN


def alter_the_signature(world: World) -> tuple[LCT, Wire]:
    signed = world.fused()
    half, number = signed.signature[:32], int.from_bytes(signed.signature[32:], 'little')
    same_equation = half + (number + ORDER).to_bytes(32, 'little')
    longer = signed.signature + world.random.randbytes(world.random.choice([1, 64, 10_000]))
    return replace(signed, signature=world.random.choice([same_equation, longer])), PLAIN


def swap_keys(world: World) -> tuple[LCT, Wire]:
    key = world.random.choice(
        [world.attacker, *(world.keys[name] for name in ('robot1/cam1', 'robot1/arbiter'))]
    )
    return sign(world.fused(), key), PLAIN


def use_a_revoked_key(world: World) -> tuple[LCT, Wire]:
    return sign(world.fused(), world.keys['revoked']), PLAIN


def claim_another_entity(world: World) -> tuple[LCT, Wire]:
    signed = world.fused()
    last = replace(signed.provenance[-1], entity_id='robot1/arbiter')
    steps = (*signed.provenance[:-1], last)
    return replace(signed, entity_id='robot1/arbiter', provenance=steps), PLAIN


def swap_signatures(world: World) -> tuple[LCT, Wire]:
    return replace(world.fused(), signature=world.fused().signature), PLAIN


def sign_nothing(world: World) -> tuple[LCT, Wire]:
    return replace(world.fused(), signature=b''), PLAIN


def invent_an_entity(world: World) -> tuple[LCT, Wire]:
    name = f'robot{world.random.randrange(10**9)}'
    return sign(replace(world.fused(), entity_id=name), world.attacker), PLAIN


def replay(world: World) -> tuple[LCT, Wire]:
    return world.random.choice(world.recorded), PLAIN


def roll_back(world: World) -> tuple[LCT, Wire]:
    old = replace(world.fused(), sequence=world.random.choice(world.recorded).sequence)
    return sign(old, world.keys['robot1/cam0']), PLAIN


def raise_a_trust(world: World) -> tuple[LCT, Wire]:
    """Raise the trust of another entity's step; the attacker has a trusted key."""
    signed = world.fused()
    steps = list(signed.provenance)
    place = world.random.randrange(2)
    steps[place] = replace(steps[place], trust=world.random.random())
    return resigned(world, signed, steps), PLAIN


def splice(world: World) -> tuple[LCT, Wire]:
    """Move steps or proofs from one chain to another; the attacker has a trusted key."""
    signed, other = world.fused(), world.fused()
    steps, foreign = list(signed.provenance), other.provenance
    place = world.random.randrange(3)
    what = world.random.randrange(5)
    if what == 0:
        steps[:2] = foreign[:2]
    elif what == 1:
        steps[place] = foreign[place] if place < 2 else replace(steps[2], proof=foreign[2].proof)
    elif what == 2:
        steps[1] = replace(steps[1], proof=foreign[1].proof)
    elif what == 3:
        steps[1], steps[2] = (
            replace(step, proof=other.proof)
            for step, other in ((steps[1], steps[2]), (steps[2], steps[1]))
        )
    else:
        steps[1 + place // 2] = replace(steps[1 + place // 2], proof=None)
    return resigned(world, signed, steps), PLAIN


def invent_a_beginning(world: World) -> tuple[LCT, Wire]:
    """Invent the first step, of a trusted or of an unknown entity."""
    signed = world.fused()
    name = world.random.choice(['robot1/cam1', 'robot3/cam0'])
    first = replace(signed.provenance[0], entity_id=name, trust=world.random.random())
    return resigned(world, signed, [first, signed.provenance[2]]), PLAIN


def relay_another(world: World) -> tuple[LCT, Wire]:
    """Claim that another latent, or another time stamp, was relayed."""
    relayed = world.derive(world.encode(), 'robot2/radio', Operation.RELAY)
    if world.random.randrange(2):
        relayed = replace(relayed, stamp_ns=NOW - world.random.randint(1, 10**9))
    else:
        relayed = replace(relayed, latent=world.encode().latent)
    return world.sign_next(relayed), PLAIN


def resigned(world: World, lct: LCT, steps: list[Provenance]) -> LCT:
    """Return an LCT with other steps, signed by its entity and valid otherwise."""
    trust = math.prod(step.trust for step in steps)
    return world.sign_next(replace(lct, provenance=tuple(steps), trust=trust))


def delay(world: World) -> tuple[LCT, Wire]:
    apart = world.random.choice([-1, 1]) * world.random.randint(6 * 10**9, 10**18)
    return sign(replace(world.fused(), stamp_ns=NOW + apart), world.keys['robot1/cam0']), PLAIN


ATTACKS: tuple[Callable[[World], tuple[LCT, Wire]], ...] = (
    *[change_a_field] * 8,
    change_two_fields,
    change_the_payload,
    truncate,
    alter_the_signature,
    swap_keys,
    use_a_revoked_key,
    claim_another_entity,
    swap_signatures,
    sign_nothing,
    invent_an_entity,
    replay,
    roll_back,
    delay,
    raise_a_trust,
    splice,
    invent_a_beginning,
    relay_another,
)


def reason_for(admission: AdmissionFilter, lct: LCT, wire: Wire = PLAIN) -> RejectionReason | None:
    """Admit an LCT as an arbiter does at `NOW`; return the rejection reason."""
    expected = Expected(DIM, MODEL.fingerprint)
    return admission.admit(lct, expected, wire=wire, now_ns=NOW).reason


def attack(mutations: int, seed: int, honest: int = 100) -> dict:
    """Return the verdicts on forged LCTs, and on honest ones before and after them."""
    world = World(seed)
    admission = AdmissionFilter(world.store, replay_guard=ReplayGuard(lambda: NOW))
    verdicts: dict[str, Counter] = {}
    accepted = crashes = 0
    world.recorded = [world.fused() for _ in range(honest)]
    honest_accepted = sum(reason_for(admission, lct) is None for lct in world.recorded)
    for n in range(mutations):
        forge = ATTACKS[n % len(ATTACKS)]
        lct, wire = forge(world)
        try:
            reason = reason_for(admission, lct, wire)
        except Exception as error:  # noqa: BLE001, any exception is a finding
            crashes += 1
            print(f'{forge.__name__}: {error!r} for {lct}', file=sys.stderr)
            continue
        accepted += reason is None
        text = 'accepted' if reason is None else reason.value
        verdicts.setdefault(forge.__name__, Counter())[text] += 1
    honest_accepted += sum(reason_for(admission, world.fused()) is None for _ in range(honest))
    return {
        'mutated': mutations,
        'accepted': accepted,
        'crashes': crashes,
        'honest': 2 * honest,
        'honest_accepted': honest_accepted,
        'verdicts': {name: dict(reasons) for name, reasons in sorted(verdicts.items())},
    }


def rate(lcts: list[LCT], admission: AdmissionFilter, expected: RejectionReason | None) -> float:
    """Return the LCTs that one core verifies per second of CPU time."""
    before = time.process_time()
    reasons = {reason_for(admission, lct) for lct in lcts}
    spent = time.process_time() - before
    if reasons != {expected}:
        raise RuntimeError(f'verdicts {reasons} instead of {expected}')
    return round(len(lcts) / spent)


def measure(mutations: int, seed: int) -> dict:
    """Return the result of `attack`, and verification rates.

    The rates are LCTs per second of one core's CPU time: of a camera (`verify_per_s`), of an
    arbiter that fused a relayed LCT of a camera (`verify_chain_per_s`), forged ones, and ones of
    unknown entities.
    """
    result = attack(mutations, seed)
    world = World(seed)
    honest = [world.encode() for _ in range(5000)]
    chains = [world.fused() for _ in range(1000)]
    forged = [sign(lct, world.attacker) for lct in honest]
    unknown = [replace(lct, entity_id=f'robot{n}') for n, lct in enumerate(honest)]
    admission = AdmissionFilter(world.store, replay_guard=ReplayGuard(lambda: NOW))
    return result | {
        'unknown_per_s': rate(unknown, admission, RejectionReason.UNKNOWN_KEY),
        'forged_per_s': rate(forged, admission, RejectionReason.BAD_SIGNATURE),
        'verify_per_s': rate(honest, admission, None),
        'verify_chain_per_s': rate(chains, AdmissionFilter(world.store), None),
    }
