"""What a bundle can be used for: a package for each task."""

TASKS = {
    "segmentation": "dentalzoo.tasks.segmentation",
    "generation": "dentalzoo.tasks.generation",
    "superimposition": "dentalzoo.tasks.superimposition",
    "detection": "dentalzoo.tasks.detection",
    "reconstruction": "dentalzoo.tasks.reconstruction",
}
