"""What can be done with a bundle of the task "overlay": measure it and apply it."""

from dentalzoo.tasks.generation.prediction import predict as predict
from dentalzoo.tasks.superimposition.evaluation import evaluate as evaluate
from dentalzoo.tasks.superimposition.evaluation import summary_metrics as summary_metrics
from dentalzoo.tasks.superimposition.latents import Plane as Plane
from dentalzoo.tasks.superimposition.latents import scan as scan
from dentalzoo.tasks.superimposition.making import OverlayReport as OverlayReport
from dentalzoo.tasks.superimposition.making import enlarge as enlarge
from dentalzoo.tasks.superimposition.making import overlay as overlay
from dentalzoo.tasks.superimposition.methods import METHODS as METHODS
from dentalzoo.tasks.superimposition.scores import OverlayScore as OverlayScore
from dentalzoo.tasks.superimposition.scores import Scorer as Scorer
from dentalzoo.tasks.superimposition.scores import draw_sets as draw_sets
from dentalzoo.tasks.superimposition.scores import score as score
