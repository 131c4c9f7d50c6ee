# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reports as one HTML file with everything inside: text, time plots and images.

>>> chart = Chart('Rate', 'Hz', (Series('cam0', [0, 1, 2], [30, 29, 30]),))
>>> write_report(Report('Replay of bag', charts=(chart,)), Path('report.html'))
"""
