# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m sage_perception.cli.demo`."""

import sys

from sage_perception.cli.demo.command import main

sys.exit(main(None))
