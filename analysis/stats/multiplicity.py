"""Several tests at once: p-values adjusted over the tasks of one comparison.

Owns Holm's adjustment. Refuses to own single tests (`paired`, `cluster`).

    holm([0.01, 0.04, math.nan])       # [0.02, 0.04, nan]: a test that was not made counts for none
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from statsmodels.stats.multitest import multipletests

from analysis.estimate import NAN


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values in the given order; NaN stays NaN and is not counted.

    Source: Holm 1979, through statsmodels `multipletests(method="holm")`.

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    made = [p for p in p_values if not math.isnan(p)]
    if any(not 0.0 <= p <= 1.0 for p in made):
        raise ValueError(f"p-values must lie in [0, 1], got {list(p_values)!r}")
    if not made:
        return [NAN for _ in p_values]
    adjusted = iter(multipletests(made, method="holm")[1])
    return [NAN if math.isnan(p) else float(next(adjusted)) for p in p_values]
