"""lm-eval's adaptor of the demo's programs.

Owns that they report the metrics of every task and no more: LiveCodeBench's own, by platform, would
be undefined for problems that are on none. Refuses to own grading (`coding.lcb_results`).

Example, in the YAML: `process_results: !function harness_tasks.demo_results.programs`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness_tasks.coding.lcb_results import AHEAD
from harness_tasks.results import Doc, Metrics, doc_metrics, no_metrics


def programs(doc: Doc, results: Sequence[Any]) -> Metrics:
    """Grade the samples of one problem by its tests."""
    return doc_metrics(results, replace(AHEAD(doc), further=no_metrics, pass_at=()))
