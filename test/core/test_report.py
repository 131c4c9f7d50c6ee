# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Levels of trust, and the values of a trust report."""

import math
import re
from pathlib import Path

import pytest

from sage_perception.core.latent import ModelId
from sage_perception.trust.compatibility.report import Level, MeasuredTrust, TrustReport

MESSAGE = Path(__file__).parents[2] / 'sage_msgs' / 'msg' / 'TrustReport.msg'
SENDER = ModelId('sender', '1', b's' * 32)


@pytest.mark.parametrize(
    ('trust', 'level'),
    [
        (0.0, Level.NONE),
        (0.4999, Level.NONE),
        (0.5, Level.LOW),
        (0.7, Level.MEDIUM),
        (0.8999, Level.MEDIUM),
        (0.9, Level.HIGH),
        (1.0, Level.HIGH),
        (math.nan, Level.UNKNOWN),
    ],
)
def test_level_of_a_trust(trust, level):
    assert Level.of(trust) is level
    assert level.action


def test_report_has_the_fields_and_levels_of_the_message():
    report = TrustReport('robot', 'camera', SENDER, 0.8, 0.9, True, 512, 'translated')
    text = MESSAGE.read_text()
    fields = re.findall(r'^[\w/]+(?:<=\d+)? (\w+)(?: |$)', text, re.M)
    assert {'compression_trust', 'reason', 'model_b', 'probes'} < set(fields)
    for name in set(fields) - {'header', 'signature'}:
        assert hasattr(report, name), name
    levels = dict(re.findall(r'LEVEL_(\w+)=(\d)', text))
    assert {level.name: str(level.value) for level in Level} == levels


def test_compression_trust_is_the_smaller_trust():
    assert MeasuredTrust(0.9, 0.6, 20.0).compression_trust == 0.6
    assert MeasuredTrust(0.9, 0.6, 20.0).level is Level.LOW
    report = TrustReport('a', 'b', SENDER, 0.7, 0.95, True, 512, '')
    assert (report.compression_trust, report.level) == (0.7, Level.MEDIUM)


def test_report_without_a_measurement_has_no_level():
    report = TrustReport('a', 'b', SENDER, math.nan, 1.0, False, 0, 'no probes yet')
    assert math.isnan(report.compression_trust)
    assert report.level is Level.UNKNOWN
