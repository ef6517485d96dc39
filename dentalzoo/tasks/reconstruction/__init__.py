"""What can be done with a bundle of the task "reconstruction": measure it and apply it."""

from dentalzoo.tasks.reconstruction.evaluation import evaluate as evaluate
from dentalzoo.tasks.reconstruction.evaluation import summary_metrics as summary_metrics
from dentalzoo.tasks.reconstruction.inference import Shape as Shape
from dentalzoo.tasks.reconstruction.inference import reconstruct as reconstruct
from dentalzoo.tasks.reconstruction.prediction import predict as predict
from dentalzoo.tasks.reconstruction.prediction import write_views as write_views
