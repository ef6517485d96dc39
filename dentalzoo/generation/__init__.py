"""What can be done with a bundle of the task "generation": measure it, apply it, draw from it."""

from dentalzoo.generation.evaluation import evaluate as evaluate
from dentalzoo.generation.evaluation import headline as headline
from dentalzoo.generation.prediction import generate as generate
from dentalzoo.generation.prediction import predict as predict
