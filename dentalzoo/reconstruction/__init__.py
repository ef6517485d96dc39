"""What can be done with a bundle of the task "reconstruction": measure it and apply it."""

from dentalzoo.reconstruction.evaluation import evaluate as evaluate
from dentalzoo.reconstruction.evaluation import headline as headline
from dentalzoo.reconstruction.inference import Shape as Shape
from dentalzoo.reconstruction.inference import reconstruct as reconstruct
from dentalzoo.reconstruction.prediction import predict as predict
from dentalzoo.reconstruction.prediction import write_views as write_views
