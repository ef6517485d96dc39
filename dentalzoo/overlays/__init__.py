"""What can be done with a bundle of the task "overlay": measure it and apply it."""

from dentalzoo.generation.prediction import predict as predict
from dentalzoo.overlays.evaluation import evaluate as evaluate
from dentalzoo.overlays.evaluation import headline as headline
from dentalzoo.overlays.latents import Plane as Plane
from dentalzoo.overlays.latents import scan as scan
from dentalzoo.overlays.making import OverlayReport as OverlayReport
from dentalzoo.overlays.making import enlarge as enlarge
from dentalzoo.overlays.making import overlay as overlay
from dentalzoo.overlays.methods import METHODS as METHODS
from dentalzoo.overlays.scores import OverlayScore as OverlayScore
from dentalzoo.overlays.scores import Scorer as Scorer
from dentalzoo.overlays.scores import draw_sets as draw_sets
from dentalzoo.overlays.scores import score as score
