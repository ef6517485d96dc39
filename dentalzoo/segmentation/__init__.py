"""What can be done with a bundle of the task "segmentation": measure it and apply it."""

from dentalzoo.segmentation.drawing import overlay as overlay
from dentalzoo.segmentation.drawing import sheet as sheet
from dentalzoo.segmentation.evaluation import evaluate as evaluate
from dentalzoo.segmentation.evaluation import headline as headline
from dentalzoo.segmentation.evaluation import scores as scores
from dentalzoo.segmentation.prediction import PredictionReport as PredictionReport
from dentalzoo.segmentation.prediction import predict as predict
