"""What can be done with a bundle of the task "generation": measure it, apply it, draw from it."""

from dentalzoo.tasks.generation.evaluation import evaluate as evaluate
from dentalzoo.tasks.generation.evaluation import summary_metrics as summary_metrics
from dentalzoo.tasks.generation.prediction import generate as generate
from dentalzoo.tasks.generation.prediction import predict as predict
