# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage models`: the list of models."""

import json

from sage_perception.cli.models import main
from sage_perception.models.registry import available


def test_each_shipped_model_is_listed_with_its_use(capsys):
    assert main(['--json']) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row['name'] for row in rows] == list(available())
    assert all(row['use'] for row in rows)
    assert main([]) == 0
    _, *lines, _ = capsys.readouterr().out.splitlines()
    for row, line in zip(rows, lines, strict=True):
        assert line.startswith(f'{row["name"]} {row["version"]} ')
        assert row['use'] in line
