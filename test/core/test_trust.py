# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Trust: pairing by stamps, screening, provenance, matching."""

import itertools
import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import structural_rank

from sage_perception.core.latent import Latent, ModelId, Telemetry
from sage_perception.core.lct import LCT, Operation, Provenance, chain_trust
from sage_perception.pipeline.error_sampler import ErrorSampler
from sage_perception.trust.fusion import matching as agreement
from sage_perception.trust.fusion.synchronizer import FrameSynchronizer, StampPairs
from sage_perception.trust.quality import telemetry_trust
from sage_perception.trust.security.admission import AdmissionFilter
from sage_perception.trust.security.rejection import MAX_CHAIN, RejectionReason, find_fault

MODEL = ModelId('m', '1', bytes(range(32)))
ENDLESS = 10**15
UNIT = st.floats(0, 1)
SMALL = st.floats(-5, 5, width=32)


def an_lct(mean=(1.0, 2.0), log_var=None, trust=0.8, entity='cam0', sequence=1, **latent):
    latent = Latent(
        np.array(mean, np.float32),
        None if log_var is None else np.array(log_var, np.float32),
        model=MODEL,
        **latent,
    )
    step = Provenance(Operation.ENCODE, entity, MODEL, trust=trust)
    return LCT(entity, sequence, 10**9, latent, (step,), trust)


# Pairing


@st.composite
def two_streams(draw):
    """Stamps of two increasing streams, and an order in which they arrive."""
    stamps = st.lists(st.integers(1, 10_000), unique=True, max_size=20).map(sorted)
    primary, other = draw(stamps), draw(stamps)
    turns = draw(st.permutations([True] * len(primary) + [False] * len(other)))
    rest = {True: iter(primary), False: iter(other)}
    return [(next(rest[turn]), turn) for turn in turns]


def feed(pairs, arrivals):
    """Give items that are their own stamps; return all that comes out, however late."""
    out = []
    for stamp, primary in arrivals:
        out += pairs.add(stamp, stamp, primary)
    return out + pairs.expire(ENDLESS)


@given(two_streams(), st.integers(0, 300), st.integers(0, 3000))
def test_each_primary_item_comes_out_once_in_order_with_a_partner_of_its_moment(
    arrivals, slop, patience
):
    # An item that comes later than patience allows counts as a jump: that is another test's.
    newest = {True: 0, False: 0}
    kept = []
    for stamp, primary in arrivals:
        if stamp >= max(newest.values()) - patience:
            kept.append((stamp, primary))
            newest[primary] = stamp
    out = feed(StampPairs(slop, patience), kept)
    assert [item for item, _, _ in out] == [stamp for stamp, primary in kept if primary]
    partners = [partner for _, partner, _ in out if partner is not None]
    assert len(set(partners)) == len(partners)
    assert set(partners) <= {stamp for stamp, primary in kept if not primary}
    for item, partner, difference in out:
        assert difference == (0 if partner is None else partner - item)
        assert abs(difference) <= slop


@given(two_streams(), st.integers(0, 300), st.integers(0, 3000))
def test_no_item_is_lost_or_repeated_whatever_the_stamps_do(arrivals, slop, patience):
    stamps = [(stamp, primary) for stamp, primary in reversed(arrivals)]
    out = feed(StampPairs(slop, patience), stamps)
    assert [item for item, _, _ in out] == [stamp for stamp, primary in stamps if primary]


@given(
    st.integers(20, 60),
    st.integers(0, 15),
    st.lists(st.integers(-2, 2), min_size=12, max_size=12),
    st.randoms(use_true_random=False),
)
def test_cameras_in_step_are_paired_frame_by_frame(period, offset, jitter, random):
    """Whatever order the frames of each moment arrive in."""
    slop = offset + 4
    primary = [1000 + n * period for n in range(12)]
    other = [stamp + offset + j for stamp, j in zip(primary, jitter, strict=True)]
    arrivals = []
    for both in zip(primary, other, strict=True):
        moment = list(zip(both, (True, False), strict=True))
        random.shuffle(moment)
        arrivals += moment
    out = feed(StampPairs(slop, 10 * period), arrivals)
    if slop < period - slop:
        assert [(a, b) for a, b, _ in out] == list(zip(primary, other, strict=True))


def test_a_partner_that_cannot_be_bettered_is_not_waited_for():
    pairs = StampPairs(slop_ns=20, patience_ns=1000)
    assert pairs.add(100, 'p', True) == []
    assert pairs.add(100, 'o', False) == [('p', 'o', 0)]


def test_a_primary_item_waits_for_the_other_camera_no_longer_than_patience():
    pairs = StampPairs(slop_ns=20, patience_ns=150)
    assert pairs.add(1000, 'p', True) == []
    assert pairs.expire(1149) == []
    assert pairs.expire(1150) == [('p', None, 0)]
    assert pairs.add(1000, 'late', False) == []
    assert pairs.expire(ENDLESS) == []


def test_the_streams_themselves_tell_that_time_has_passed():
    pairs = StampPairs(slop_ns=20, patience_ns=150)
    assert pairs.add(1000, 'p', True) == []
    assert pairs.add(1021, 'too late', False) == [('p', None, 0)]
    assert pairs.add(2000, 'q', True) == []
    assert pairs.add(2150, 'r', True) == [('q', None, 0)]


def test_stamps_that_jump_backwards_begin_both_streams_anew():
    pairs = StampPairs(slop_ns=20, patience_ns=150)
    for stamp in range(5000, 5200, 33):
        pairs.add(stamp, stamp, True)
        pairs.add(stamp, stamp, False)
    assert pairs.add(5231, 'waiting', True) == []
    assert pairs.add(100, 'p', True) == [('waiting', None, 0)]
    assert pairs.add(103, 'o', False) + pairs.add(140, 'o2', False) == [('p', 'o', 3)]


def test_a_camera_alone_does_not_fill_the_memory():
    class Item:
        pass

    alive = weakref.WeakSet()
    pairs = StampPairs(slop_ns=20, patience_ns=150)
    for stamp in range(1000, 100_000, 33):
        item = Item()
        alive.add(item)
        assert pairs.add(stamp, item, False) == []
    assert len(alive) < 10


# Screening


FAULTS = {
    RejectionReason.NO_ENTITY: [{'entity_id': ''}],
    RejectionReason.NO_STAMP: [{'stamp_ns': 0}, {'stamp_ns': -1}],
    RejectionReason.DIMENSION: [{'mean': []}, {'mean': [1.0]}, {'mean': [1.0, 2.0, 3.0]}],
    RejectionReason.OVERSIZED: [
        {'entity_id': 'x' * 65},
        {'mean': [0.0] * 4097},
        {'telemetry': Telemetry(energy_trajectory=(0.0,) * 257)},
    ],
    RejectionReason.NOT_FINITE: [
        {'telemetry': Telemetry(latent_norm=math.nan)},
        {'telemetry': Telemetry(time_s=math.inf)},
        {'telemetry': Telemetry(budget_spent=-math.inf)},
        {'telemetry': Telemetry(reconstruction_error=math.inf)},
        {'telemetry': Telemetry(kl_per_dim=-math.inf)},
        {'mean': [1.0, math.nan]},
        {'mean': [-math.inf, 1.0]},
        {'log_var': [0.0, math.nan]},
        {'log_var': [math.inf, 0.0]},
    ],
    RejectionReason.OUT_OF_RANGE: [
        {'mean': [1.0, 1e5]},
        {'log_var': [-1e5, 0.0]},
        {'trust': 1.5},
        {'trust': -0.1},
        {'trust': math.nan},
        {'telemetry': Telemetry(trust=1.1)},
        {'telemetry': Telemetry(trust=math.nan)},
        {'step': math.inf},
        {'step': math.nan},
        {'steps': MAX_CHAIN + 1},
    ],
    RejectionReason.UNKNOWN_MODEL: [{'model': ModelId('m', '1')}],
    RejectionReason.BROKEN_CHAIN: [{'trust': 0.9}, {'step': 0.1}, {'steps': 0}],
}


def spoilt(fault):
    """A well-formed LCT but for one thing."""
    lct = an_lct(fault.get('mean', [1.0, 2.0])[:0] or [1.0, 2.0], [0.0, 0.0])
    latent = lct.latent
    if 'mean' in fault:
        mean = np.array(fault['mean'], np.float32)
        latent = replace(latent, mean=mean, log_var=None)
    if 'log_var' in fault:
        latent = replace(latent, log_var=np.array(fault['log_var'], np.float32))
    for name in ('model', 'telemetry'):
        if name in fault:
            latent = replace(latent, **{name: fault[name]})
    provenance = lct.provenance
    if 'step' in fault:
        provenance = (replace(provenance[0], trust=fault['step']),)
    if 'steps' in fault:
        sure = replace(provenance[0], trust=1.0)
        provenance = (provenance[0], *[sure] * (fault['steps'] - 1))[: fault['steps']]
    own = {k: fault[k] for k in ('entity_id', 'stamp_ns', 'trust') if k in fault}
    return replace(lct, latent=latent, provenance=provenance, **own)


@pytest.mark.parametrize(
    ('refusal', 'fault'),
    [(refusal, fault) for refusal, faults in FAULTS.items() for fault in faults],
    ids=str,
)
def test_each_fault_has_its_name_and_is_counted(refusal, fault):
    assert find_fault(spoilt(fault), dim=2) is refusal
    screen = AdmissionFilter()
    assert screen.judge(spoilt(fault), dim=2) is refusal
    assert (screen.accepted, screen.refused, dict(screen.reasons)) == (0, 1, {refusal: 1})


def test_every_refusal_is_tried():
    authenticity = {
        RejectionReason.STAMP,
        RejectionReason.WRONG_MODEL,
        RejectionReason.UNKNOWN_KEY,
        RejectionReason.REVOKED_KEY,
        RejectionReason.UNSIGNED,
        RejectionReason.BAD_SIGNATURE,
        RejectionReason.UNPROVEN,
        RejectionReason.BAD_PROOF,
        RejectionReason.UNKNOWN_STEP,
    }
    # test_arbiter.py, test_statements.py
    of_the_arbiter = {
        RejectionReason.WRONG_ENTITY,
        RejectionReason.OTHER_PROBES,
        RejectionReason.NOT_MEASURED,
        RejectionReason.INCOMPATIBLE,
        RejectionReason.FLOOD,
    }
    elsewhere = (
        {RejectionReason.MALFORMED, RejectionReason.SEQUENCE} | authenticity | of_the_arbiter
    )
    assert set(FAULTS) | elsewhere == set(RejectionReason)


def test_a_well_formed_lct_has_no_fault():
    assert find_fault(an_lct()) is None
    assert find_fault(an_lct(log_var=(-1.0, 1.0)), dim=2) is None
    assert find_fault(spoilt({'steps': MAX_CHAIN})) is None
    # Without a known model its size is as good as any.
    assert find_fault(an_lct(mean=[1.0])) is None


def test_an_entity_says_nothing_twice_and_nothing_old():
    screen = AdmissionFilter()
    order = [5, 5, 4, 6, 2**64 - 1, 7]
    verdicts = [screen.judge(an_lct(sequence=n)) for n in order]
    replayed = RejectionReason.SEQUENCE
    assert verdicts == [None, replayed, replayed, None, None, replayed]
    assert (screen.accepted, screen.refused) == (3, 3)
    assert screen.reasons == {replayed: 3}


def test_entities_count_for_themselves():
    screen = AdmissionFilter()
    assert screen.judge(an_lct(entity='a', sequence=9)) is None
    assert screen.judge(an_lct(entity='b', sequence=0)) is None


def test_what_was_refused_uses_up_no_sequence_number():
    screen = AdmissionFilter()
    good = an_lct(sequence=3)
    assert screen.judge(replace(good, stamp_ns=0)) is RejectionReason.NO_STAMP
    assert screen.judge(good) is None


# Trust


@given(st.lists(UNIT, max_size=10))
def test_the_trust_of_a_chain_is_the_product_of_its_steps(trusts):
    chain = tuple(Provenance(Operation.RELAY, 'e', trust=trust) for trust in trusts)
    expected = float(np.prod(trusts)) if trusts else 0.0
    assert chain_trust(chain) == pytest.approx(expected)
    if trusts:
        assert chain_trust(chain) <= min(trusts)


@given(st.floats(0, 10), st.floats(0, 1e6))
def test_trust_in_a_latent_is_the_specifications_formula(mse, kl):
    expected = (max(0.0, 1 - 10 * mse) + 1 / (1 + kl)) / 2
    assert telemetry_trust(mse, kl) == pytest.approx(expected)


def test_trust_in_a_latent_by_hand():
    assert telemetry_trust(0.0, 0.0) == 1.0
    assert telemetry_trust(0.05, 1.0) == pytest.approx((0.5 + 0.5) / 2)
    assert telemetry_trust(1.0, 3.0) == pytest.approx((0 + 0.25) / 2)


@given(st.floats(), st.floats())
def test_nothing_unmeasured_infinite_or_impossible_earns_trust(mse, kl):
    trust = telemetry_trust(mse, kl)
    assert 0 <= trust <= 1
    if not 0 <= mse < math.inf:
        assert trust == telemetry_trust(0.1, kl), 'as if it decoded badly'
    if not 0 <= kl < math.inf:
        assert trust == telemetry_trust(mse, math.inf)


# Measuring now and then


@given(
    st.lists(st.sets(st.integers(1, 30), max_size=12).map(sorted), min_size=1, max_size=40),
    st.integers(1, 7),
)
def test_each_track_is_measured_at_once_and_then_in_its_turn(frames, every):
    memory = ErrorSampler(every)
    measured = {}
    for number, tracks in enumerate(frames):
        due = memory.due(tracks)
        assert due == sorted(set(due))
        new = [i for i, track in enumerate(tracks) if track not in measured]
        assert set(new) <= set(due)
        known = len(tracks) - len(new)
        assert len(due) - len(new) == math.ceil(known / every), 'shared out evenly'
        errors = [number + track / 100 for track in tracks]
        memory.note([tracks[i] for i in due], [errors[i] for i in due])
        measured |= {tracks[i]: errors[i] for i in due}
        assert [memory.last(track) for track in tracks] == [measured[track] for track in tracks]


@given(st.integers(1, 9), st.integers(1, 12))
def test_no_track_that_stays_waits_longer_than_said(every, count):
    memory = ErrorSampler(every)
    tracks = list(range(1, count + 1))
    last = {}
    for number in range(5 * every):
        due = [tracks[i] for i in memory.due(tracks)]
        memory.note(due, [0.0] * len(due))
        last |= dict.fromkeys(due, number)
        assert all(number - last[track] < every for track in tracks)


def test_what_has_no_track_is_always_measured_and_never_remembered():
    memory = ErrorSampler(5)
    for _ in range(3):
        assert memory.due([0, 0]) == [0, 1]
        memory.note([0, 0], [0.1, 0.2])
    assert math.isnan(memory.last(0))


def test_tracks_that_are_gone_are_forgotten():
    memory = ErrorSampler(3)
    for track in range(1, 1000):
        memory.note([track], [0.5])
    assert memory.last(999) == 0.5
    assert math.isnan(memory.last(1))


# Matching


def matrices(rows):
    return st.lists(
        st.lists(SMALL, min_size=3, max_size=3), min_size=rows[0], max_size=rows[1]
    ).map(lambda values: np.array(values, np.float32).reshape(-1, 3))


@given(matrices((0, 4)), matrices((0, 4)))
def test_no_other_one_to_one_matching_is_more_similar(a, b):
    matches = agreement.match(a, b)
    assert len(matches) == min(len(a), len(b))
    assert [m.a for m in matches] == sorted({m.a for m in matches})
    assert len({m.b for m in matches}) == len(matches)

    def cosine(x, y):
        x, y = x.astype(float), y.astype(float)
        lengths = math.hypot(*x) * math.hypot(*y)
        return float(x @ y) / lengths if lengths else 0.0

    for m in matches:
        assert m.similarity == pytest.approx(cosine(a[m.a], b[m.b]), abs=1e-4)
    if matches:
        few, many = sorted((a, b), key=len)
        best = max(
            sum(cosine(few[i], many[j]) for i, j in enumerate(order))
            for order in itertools.permutations(range(len(many)), len(few))
        )
        assert sum(m.similarity for m in matches) == pytest.approx(best, abs=1e-3)


@given(matrices((0, 5)), matrices((0, 5)))
def test_neither_camera_is_favoured(a, b):
    there = sum(m.similarity for m in agreement.match(a, b))
    back = sum(m.similarity for m in agreement.match(b, a))
    assert there == pytest.approx(back, abs=1e-4)


def test_the_same_things_in_another_order_find_each_other():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(6, 64))
    order = rng.permutation(6)
    matches = agreement.match(a, a[order])
    assert [order[m.b] for m in matches] == list(range(6))
    assert all(m.similarity == pytest.approx(1) for m in matches)


def test_centering_takes_off_what_all_latents_share():
    mean = np.full(64, 50.0)
    rng = np.random.default_rng(1)
    a, b = mean + rng.normal(size=(2, 1, 64))
    raw = agreement.cosine_matrix(a, b)[0, 0]
    own = agreement.cosine_matrix(agreement.center(a, mean), agreement.center(b, mean))[0, 0]
    assert raw > 0.99
    assert abs(own) < 0.5


@given(matrices((1, 4)), matrices((1, 4)), st.data())
def test_what_geometry_rules_out_is_not_matched_and_as_much_as_can_be_is(a, b, data):
    cells = st.lists(st.booleans(), min_size=len(a) * len(b), max_size=len(a) * len(b))
    possible = np.array(data.draw(cells)).reshape(len(a), len(b))
    matches = agreement.match(a, b, possible)
    assert all(possible[m.a, m.b] for m in matches)
    assert len({m.a for m in matches}) == len({m.b for m in matches}) == len(matches)
    assert len(matches) == structural_rank(csr_array(possible))


# Several cameras


@given(two_streams(), two_streams(), st.integers(0, 300), st.integers(0, 3000))
def test_each_moment_of_the_first_camera_comes_once_in_order_with_all_that_saw_it(
    one, two, slop, patience
):
    """As each other camera would pair with it alone."""
    arrivals = [(stamp, 'b') for stamp, primary in one if not primary]
    arrivals += [(stamp, 'c') for stamp, primary in two if not primary]
    arrivals += [(stamp, 'a') for stamp, primary in one if primary]
    arrivals.sort()
    moments = FrameSynchronizer(('a', 'b', 'c'), slop, patience)
    out = []
    for stamp, camera in arrivals:
        out += moments.add(camera, stamp, (camera, stamp))
    out += moments.expire(ENDLESS)
    assert [item for item, _ in out] == [('a', s) for s, camera in arrivals if camera == 'a']
    for other in 'bc':
        pairs = StampPairs(slop, patience)
        alone = feed(
            pairs, [(s, camera == 'a') for s, camera in arrivals if camera in ('a', other)]
        )
        expected = {item: (partner, delta) for item, partner, delta in alone if partner}
        found = {
            item[1]: (partners[other].item[1], partners[other].delta_ns)
            for item, partners in out
            if other in partners
        }
        assert found == expected


def test_a_camera_that_is_alone_waits_for_nobody():
    assert FrameSynchronizer(('a',), 20, 150).add('a', 100, 'frame') == [('frame', {})]


def test_a_camera_that_fell_silent_does_not_keep_the_others_apart():
    moments = FrameSynchronizer(('a', 'b', 'c'), 20, 150)
    assert moments.add('a', 1000, 'x') == []
    assert moments.add('b', 1000, 'y') == []
    ((item, partners),) = moments.expire(1150)
    assert (item, dict(partners)) == ('x', {'b': ('y', 0)})
