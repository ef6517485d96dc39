"""The task "segmentation": measure a bundle on images with masks, and predict masks."""

from dentalzoo.tasks.comparison import comparing
from dentalzoo.tasks.options import SegmentationCompareOptions
from dentalzoo.tasks.segmentation.calibration import calibrate as calibrate
from dentalzoo.tasks.segmentation.evaluation import Evaluation as Evaluation
from dentalzoo.tasks.segmentation.evaluation import evaluate as evaluate
from dentalzoo.tasks.segmentation.evaluation import summary_metrics as summary_metrics
from dentalzoo.tasks.segmentation.prediction import Predictor as Predictor
from dentalzoo.tasks.segmentation.prediction import predict as predict

compare = comparing(Evaluation, summary_metrics, SegmentationCompareOptions())
