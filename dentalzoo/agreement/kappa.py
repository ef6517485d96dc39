"""Cohen's kappa."""

import numpy as np

from dentalzoo.ops.intervals import Statistic


def kappa_of(tables: np.ndarray) -> Statistic:
    """Return the statistic "Cohen's kappa of the pooled table" of (images, K, K) counts."""
    return lambda times: cohens_kappa(np.tensordot(times, tables.astype(np.float64), 1))


def cohens_kappa(table: np.ndarray) -> np.ndarray:
    """Return Cohen's kappa of (..., K, K) tables of counts: (observed - chance) / (1 - chance).

    1 where both raters say one and the same thing of everything, which leaves nothing to chance;
    NaN for an empty table. Cohen 1960, Educational and Psychological Measurement 20:37.

    Returns:
        (...,) float64.
    """
    table = np.asarray(table, np.float64)
    total = table.sum((-2, -1))
    share = table / np.where(total > 0, total, np.nan)[..., None, None]
    observed = np.trace(share, axis1=-2, axis2=-1)
    chance = (share.sum(-2) * share.sum(-1)).sum(-1)
    certain = np.isclose(chance, 1)
    kappa = (observed - chance) / np.where(certain, 1, 1 - chance)
    return np.asarray(np.where(certain, 1.0, kappa))
