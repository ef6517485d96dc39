"""The task "detection": measure and compare bundles on images with boxes, and predict boxes."""

from dentalzoo.tasks.detection.calibration import calibrate as calibrate
from dentalzoo.tasks.detection.comparison import compare as compare
from dentalzoo.tasks.detection.evaluation import Evaluation as Evaluation
from dentalzoo.tasks.detection.evaluation import evaluate as evaluate
from dentalzoo.tasks.detection.evaluation import summary_metrics as summary_metrics
from dentalzoo.tasks.detection.prediction import Predictor as Predictor
from dentalzoo.tasks.detection.prediction import predict as predict
