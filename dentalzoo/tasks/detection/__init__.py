"""What can be done with a bundle of the task "detection": measure it, compare it and apply it."""

from dentalzoo.tasks.detection.comparison import compare as compare
from dentalzoo.tasks.detection.evaluation import evaluate as evaluate
from dentalzoo.tasks.detection.evaluation import summary_metrics as summary_metrics
from dentalzoo.tasks.detection.prediction import predict as predict
