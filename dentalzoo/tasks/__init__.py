"""The tasks that a bundle can be for: a package each, with the functions of `contracts.Task`."""

from typing import TYPE_CHECKING

TASKS = {
    "segmentation": "dentalzoo.tasks.segmentation",
    "generation": "dentalzoo.tasks.generation",
    "superimposition": "dentalzoo.tasks.superimposition",
    "detection": "dentalzoo.tasks.detection",
    "reconstruction": "dentalzoo.tasks.reconstruction",
}

if TYPE_CHECKING:  # a type checker compares each package with the contract
    from dentalzoo.contracts import Task
    from dentalzoo.tasks import (
        detection,
        generation,
        reconstruction,
        segmentation,
        superimposition,
    )

    _task: Task = segmentation
    _task = generation
    _task = superimposition
    _task = detection
    _task = reconstruction
