"""Training: one loop for every paper, which can be killed and resumed."""

from dentalzoo.training.loop import train as train
