# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Explanations of rejection reasons: one printable line that cannot inject a command."""

from hypothesis import given
from hypothesis import strategies as st

from sage_perception.trust.security.rejection import RejectionReason, explain


@given(st.sampled_from(RejectionReason), st.text(), st.text())
def test_explanation_is_one_printable_line(reason, entity, detail):
    text = explain(reason, entity, detail)
    assert text.startswith(reason.value)
    assert text.isprintable()


def test_explanation_has_entity_detail_and_fix():
    text = explain(RejectionReason.BAD_SIGNATURE, 'robot1/cam0', 'detail')
    assert text.startswith("invalid signature (entity 'robot1/cam0'): detail: it was forged")
    assert 'sage keys trust robot1/cam0 KEY' in text
    assert explain(RejectionReason.MALFORMED) == 'malformed message'


def test_entity_id_cannot_inject_a_command():
    text = explain(RejectionReason.UNKNOWN_KEY, "x'; reboot\x1b[2J")
    assert text.endswith("sage keys trust 'x'\"'\"'; reboot\\x1b[2J' KEY")
