# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Frame to crops to latents to LCTs, implemented once."""
