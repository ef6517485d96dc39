"""Predictions, evaluations and record files on Apache Beam: on Flink, Spark, Dataflow or locally.

`predict`, `evaluate` and `write_records` run a whole pipeline and return what the functions of the
same name return without Beam; their files are the same, byte for byte. `ReadImages`, `Predict` and
`WriteResults` are its parts, for pipelines of your own. Each file is made by the same functions as
in one process, one image at a time; a bundle is loaded once in each process of the engine.

The extra `beam` installs it (`pip install 'dentalzoo[beam]'`); docs/distributed.md has the commands
for each engine. The inputs, the bundle and the output folder must lie where all workers find them
under the same paths, or for the inputs and the results of `predict` in an object store; and the
workers need the same version of dentalzoo.

Example:
    >>> from dentalzoo.beam import predict
    >>> report = predict(
    ...     "panoramic_unet.panoramic_teeth_v2",
    ...     "archive/",
    ...     "masks/",
    ...     runner="DirectRunner",
    ...     runner_args=["direct_num_workers=3"],
    ... )
"""

from dentalzoo.beam.evaluation import evaluate as evaluate
from dentalzoo.beam.prediction import predict as predict
from dentalzoo.beam.records import write_records as write_records
from dentalzoo.beam.transforms import Predict as Predict
from dentalzoo.beam.transforms import ReadImages as ReadImages
from dentalzoo.beam.transforms import WriteResults as WriteResults
from dentalzoo.beam.workers import PredictWorker as PredictWorker
