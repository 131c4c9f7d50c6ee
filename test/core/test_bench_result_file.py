# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The files of the results of benches."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[2] / 'bench'))

from result_file import add_out, read_result, show_result, store, write_result


def test_results_are_in_one_folder_unless_the_option_names_another_file():
    parser = argparse.ArgumentParser()
    add_out(parser, 'wire')
    assert parser.parse_args([]).out == Path('out/bench/wire.json')
    assert parser.parse_args(['--out', 'a.json']).out == Path('a.json')
    assert '(default: out/bench/wire.json)' in parser.format_help()


def test_parts_are_replaced_and_others_stay(tmp_path, capsys):
    path = tmp_path / 'new' / 'slots.json'
    assert read_result(path) == {}
    write_result(path, {'node': {'fps': np.float32(2)}})
    store(path, 'sets.solids', {'score': np.float64(0.5)})
    store(path, 'sets.drawings', 1)
    store(path, 'sets.solids', 2)
    assert read_result(path) == {'node': {'fps': 2.0}, 'sets': {'solids': 2, 'drawings': 1}}
    assert capsys.readouterr().out.splitlines()[0] == 'sets.solids: {"score": 0.5}'
    show_result({'a': np.float32(1)})
    assert json.loads(capsys.readouterr().out) == {'a': 1.0}
