"""Evaluate and apply bundles of the task "superimposition": several defects on one image."""

from dentalzoo.tasks.autoencoders import Predictor as Predictor
from dentalzoo.tasks.autoencoders import predict as predict
from dentalzoo.tasks.comparison import comparing
from dentalzoo.tasks.options import SuperimpositionCompareOptions
from dentalzoo.tasks.superimposition.augmentation import AugmentationReport as AugmentationReport
from dentalzoo.tasks.superimposition.augmentation import augment_dataset as augment_dataset
from dentalzoo.tasks.superimposition.evaluation import Evaluation as Evaluation
from dentalzoo.tasks.superimposition.evaluation import evaluate as evaluate
from dentalzoo.tasks.superimposition.evaluation import summary_metrics as summary_metrics
from dentalzoo.tasks.superimposition.latents import Plane as Plane
from dentalzoo.tasks.superimposition.latents import scan as scan
from dentalzoo.tasks.superimposition.methods import METHODS as METHODS
from dentalzoo.tasks.superimposition.scores import Scorer as Scorer
from dentalzoo.tasks.superimposition.scores import SuperimpositionScore as SuperimpositionScore
from dentalzoo.tasks.superimposition.scores import random_sets as random_sets
from dentalzoo.tasks.superimposition.scores import score as score
from dentalzoo.tasks.superimposition.superimposing import superimpose as superimpose

compare = comparing(Evaluation, summary_metrics, SuperimpositionCompareOptions())
