"""Cohen's kappa."""

from collections.abc import Callable

import numpy as np


def kappa_of(tables: np.ndarray) -> Callable[[np.ndarray], float | None]:
    """Return the statistic "Cohen's kappa of the pooled table" of (images, K, K) counts."""

    def kappa(times: np.ndarray) -> float | None:
        return cohens_kappa(np.tensordot(times, tables, 1))

    return kappa


def cohens_kappa(table: np.ndarray) -> float | None:
    """Return Cohen's kappa of a (K, K) table of counts: (observed - chance) / (1 - chance).

    1 where both raters say one and the same thing of everything, which leaves nothing to chance;
    None for an empty table. Cohen 1960, Educational and Psychological Measurement 20:37.
    """
    table = np.asarray(table, np.float64)
    total = table.sum()
    if not total:
        return None
    observed = np.trace(table) / total
    chance = float((table.sum(0) * table.sum(1)).sum() / total**2)
    if np.isclose(chance, 1):
        return 1.0
    return float((observed - chance) / (1 - chance))
