"""Evaluate and apply bundles of the task "reconstruction": upper jaws from views."""

from dentalzoo.tasks.comparison import comparing
from dentalzoo.tasks.options import ReconstructionEvaluateOptions
from dentalzoo.tasks.reconstruction.evaluation import Evaluation as Evaluation
from dentalzoo.tasks.reconstruction.evaluation import evaluate as evaluate
from dentalzoo.tasks.reconstruction.evaluation import summary_metrics as summary_metrics
from dentalzoo.tasks.reconstruction.inference import Shape as Shape
from dentalzoo.tasks.reconstruction.inference import reconstruct as reconstruct
from dentalzoo.tasks.reconstruction.prediction import Predictor as Predictor
from dentalzoo.tasks.reconstruction.prediction import predict as predict
from dentalzoo.tasks.reconstruction.prediction import write_views as write_views

compare = comparing(Evaluation, summary_metrics, ReconstructionEvaluateOptions())
