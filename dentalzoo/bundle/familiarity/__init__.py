"""Whether a bundle has seen images like these: statistics of its training images, in its graph.

The signature `familiarity` of a bundle returns a score for each image: 1 is the bound that 1 % of
the images of the validation split are above. It is the largest of several parts, each of which is
1 at its own bound: `statistics.PARTS`.
"""

from dentalzoo.bundle.familiarity.graph import NAME as NAME
from dentalzoo.bundle.familiarity.graph import signature as signature
from dentalzoo.bundle.familiarity.learning import Examples as Examples
from dentalzoo.bundle.familiarity.learning import examples_of as examples_of
from dentalzoo.bundle.familiarity.learning import learned as learned
from dentalzoo.bundle.familiarity.statistics import PARTS as PARTS
from dentalzoo.bundle.familiarity.statistics import Statistics as Statistics
