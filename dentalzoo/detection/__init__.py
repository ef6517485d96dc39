"""What can be done with a bundle of the task "detection": measure it and apply it."""

from dentalzoo.detection.comparison import compare as compare
from dentalzoo.detection.drawing import overlay as overlay
from dentalzoo.detection.evaluation import evaluate as evaluate
from dentalzoo.detection.evaluation import headline as headline
from dentalzoo.detection.inference import Detections as Detections
from dentalzoo.detection.inference import Detector as Detector
from dentalzoo.detection.postprocessing import suppress_per_class as suppress_per_class
from dentalzoo.detection.prediction import predict as predict
