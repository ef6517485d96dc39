"""Evaluate and apply bundles of the task "generation", and generate images with them."""

from dentalzoo.tasks.autoencoders import Predictor as Predictor
from dentalzoo.tasks.autoencoders import predict as predict
from dentalzoo.tasks.comparison import comparing
from dentalzoo.tasks.generation.evaluation import Evaluation as Evaluation
from dentalzoo.tasks.generation.evaluation import evaluate as evaluate
from dentalzoo.tasks.generation.evaluation import summary_metrics as summary_metrics
from dentalzoo.tasks.generation.sampling import generate as generate
from dentalzoo.tasks.options import GenerationEvaluateOptions

compare = comparing(Evaluation, summary_metrics, GenerationEvaluateOptions())
