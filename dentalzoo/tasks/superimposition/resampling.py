"""Scores of superimposed images in resamples of their sources.

A set counts as often as all its sources are drawn: the product of their counts, those of one group
once. So sets that share a source vary together (the pigeonhole bootstrap: Owen 2007, Annals of
Applied Statistics 1:386; its intervals are rather too wide than too narrow).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dentalzoo.ops.intervals import mean_of, median_of
from dentalzoo.tasks.autoencoders import kl_divergence
from dentalzoo.tasks.scoring import Key, Scores, drawing_of
from dentalzoo.tasks.superimposition.judging import Judged
from dentalzoo.tasks.superimposition.sources import Sources

SIZES = {2: "pairs", 3: "triples"}


def scores_of(data: str | Path, sources: Sources, judged: Sequence[Judged]) -> Scores:
    """Return what can be resampled of an evaluation.

    Args:
        data: its folder.
        sources: the images.
        judged: sets of them; may be empty.
    """
    drawing = drawing_of(data, sources.samples, [sample.image for sample in sources.samples])
    kl = mean_of(kl_divergence(sources.z_mean, sources.z_log_var).sum(1))
    mae = mean_of(sources.errors[:, 0])
    members = _members([one.chosen for one in judged], drawing.groups)
    own = [one.scores["bundle"] for one in judged]
    of_sets = {
        "success": mean_of(np.array([score.success for score in own], float)),
        "success_of_the_plain_sum": mean_of(
            np.array([one.scores["sum"].success for one in judged], float)
        ),
        "background_error_median": median_of(np.array([s.background_error for s in own])),
    }
    sizes = np.array([len(one.chosen) for one in judged])
    for size, name in SIZES.items():
        if (sizes == size).any():
            success = np.where(sizes == size, [score.success for score in own], np.nan)
            of_sets[f"success_{name}"] = mean_of(success)
    set_of = np.repeat(np.arange(len(judged)), sizes) if judged else np.zeros(0, int)
    recovered = median_of(np.array([part for score in own for part in score.recovered]))

    def measure(times: np.ndarray) -> dict[Key, np.ndarray]:
        values: dict[Key, np.ndarray] = {}
        if judged:
            counts = np.concatenate([times, np.ones((len(times), 1))], 1)[:, members].prod(2)
            values = {(None, key): statistic(counts) for key, statistic in of_sets.items()}
            values[None, "recovered_median"] = recovered(counts[:, set_of])
        return values | {(None, "mae"): mae(times), (None, "kl"): kl(times)}

    shown = ("success", "recovered_median", "mae") if judged else ("mae", "kl")
    return Scores(drawing, measure, shown, {})


def _members(sets: Sequence[tuple[int, ...]], groups: Sequence[str]) -> np.ndarray:
    """Return one source of each group of a set, filled up with -1, (sets, most) int64."""
    members = [list({groups[i]: i for i in one}.values()) for one in sets]
    most = max(map(len, members), default=0)
    return np.array([one + [-1] * (most - len(one)) for one in members], np.int64)
