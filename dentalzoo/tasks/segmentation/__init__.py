"""What can be done with a bundle of the task "segmentation": measure it and apply it."""

from dentalzoo.tasks.segmentation.evaluation import evaluate as evaluate
from dentalzoo.tasks.segmentation.evaluation import summary_metrics as summary_metrics
from dentalzoo.tasks.segmentation.prediction import predict as predict
