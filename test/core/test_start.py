# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The start of a node's module."""

import os
import subprocess
import sys

import pytest
from stubs import ROOT


@pytest.mark.parametrize('given', [None, '2'])
def test_matrices_are_multiplied_on_one_core_unless_the_user_sets_the_number(tmp_path, given):
    (tmp_path / 'shown.py').write_text("import os\nprint(os.environ['OPENBLAS_NUM_THREADS'])\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = {**os.environ, 'PYTHONPATH': path}
    environment.pop('OPENBLAS_NUM_THREADS', None)
    if given is not None:
        environment['OPENBLAS_NUM_THREADS'] = given
    command = [sys.executable, '-m', 'sage_perception.bringup.start', 'shown']
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert output.stdout == f'{given or 1}\n'
