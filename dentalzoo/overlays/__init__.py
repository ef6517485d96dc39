"""What can be done with a bundle of the task "overlay": measure it and apply it."""

from dentalzoo.generation.prediction import predict as predict
from dentalzoo.overlay.evaluation import evaluate as evaluate
from dentalzoo.overlay.evaluation import headline as headline
from dentalzoo.overlay.latents import Plane as Plane
from dentalzoo.overlay.latents import scan as scan
from dentalzoo.overlay.making import OverlayReport as OverlayReport
from dentalzoo.overlay.making import enlarge as enlarge
from dentalzoo.overlay.making import overlay as overlay
from dentalzoo.overlay.methods import METHODS as METHODS
from dentalzoo.overlay.scores import OverlayScore as OverlayScore
from dentalzoo.overlay.scores import Scorer as Scorer
from dentalzoo.overlay.scores import draw_sets as draw_sets
from dentalzoo.overlay.scores import score as score
