"""What can be done with a bundle of the task "detection": measure it and apply it."""

from dentalzoo.tasks.detection.comparison import compare as compare
from dentalzoo.tasks.detection.drawing import overlay as overlay
from dentalzoo.tasks.detection.evaluation import evaluate as evaluate
from dentalzoo.tasks.detection.evaluation import summary_metrics as summary_metrics
from dentalzoo.tasks.detection.inference import Detections as Detections
from dentalzoo.tasks.detection.inference import Detector as Detector
from dentalzoo.tasks.detection.postprocessing import suppress_per_class as suppress_per_class
from dentalzoo.tasks.detection.prediction import predict as predict
