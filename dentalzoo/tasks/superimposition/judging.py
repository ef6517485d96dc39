"""Sets of sources, superimposed by each method and scored, one set by one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.tasks.superimposition.methods import superimposed
from dentalzoo.tasks.superimposition.scores import Scorer, SuperimpositionScore
from dentalzoo.tasks.superimposition.sources import Loader, Source, SourceSet, grey, stacked

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle


@dataclass(frozen=True)
class Judged:
    """A set of sources and the score of its superimposed image by each method.

    Attributes:
        chosen: indices of the sources.
        scores: method -> score.
        covered: a source lies under the others.
    """

    chosen: tuple[int, ...]
    scores: dict[str, SuperimpositionScore]
    covered: bool


@dataclass(frozen=True)
class Judging:
    """The `Measure` that superimposes a set; its result is None for one that cannot be judged.

    Attributes:
        load: loads a source.
    """

    load: Loader

    def read(self, one: SourceSet) -> list[Source]:
        return [self.load(sample) for sample in one.samples]

    def __call__(self, bundle: "Bundle", one: SourceSet, sources: list[Source]) -> Judged | None:
        scorer = Scorer(*stacked(sources))
        if not scorer.judgeable.all():
            return None
        images = np.stack([source.image for source in sources])
        results = superimposed(bundle, images, one.z_mean)
        scores = {name: scorer.score(grey(image)) for name, image in results.items()}
        return Judged(one.chosen, scores, bool(scorer.covered.any()))

    def name(self, one: SourceSet) -> str:
        return " + ".join(sample.name for sample in one.samples)
