"""Reading, predicting and writing as transforms of Apache Beam.

An input that cannot be read, or that the network refuses, does not end the pipeline: it goes to the
side output `failed` of its transform, a collection of `Outcome`.

Example:
    >>> options = SegmentationPredictOptions(overlay=True)
    >>> plan = segmentation.Predictor(bundle, options).plan("/data/archive", Path("/data/masks"))
    >>> worker = PredictWorker(bundle, options, plan.shared, Path("/data/masks"))
    >>> with beam.Pipeline() as pipeline:
    ...     images = pipeline | beam.Create(plan.items) | beam.Reshuffle() | ReadImages(worker)
    ...     predictions = images.read | Predict(worker)
    ...     written = predictions.predicted | WriteResults(worker)
    ...     failed = (images.failed, predictions.failed) | beam.Flatten()
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dentalzoo.beam.workers import Outcome, Worker
from dentalzoo.errors import BadFile, DentalzooError, require
from dentalzoo.tasks.predictor import Item

if TYPE_CHECKING:
    import apache_beam as beam
else:
    beam = require("apache_beam", "beam")

FAILED = "failed"


class ReadImages(beam.PTransform):
    """Read inputs: images, or the views or meshes of jaws.

    From `Item` to the outputs `read`, of (item, value), and `failed`.

    Args:
        worker: the application; the same instance for all transforms of a pipeline.
    """

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def expand(self, items: Any) -> Any:
        return items | beam.ParDo(_Read(self._worker)).with_outputs(FAILED, main="read")


class Predict(beam.PTransform):
    """Run the network on what `ReadImages` read, one input at a time.

    Not in batches: on a processor they are no faster, and on a GPU the last bits of a result would
    depend on what else is in the batch. From (item, value) to the outputs `predicted`, of (item,
    prediction), and `failed`.

    Args:
        worker: as for `ReadImages`.
    """

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def expand(self, values: Any) -> Any:
        return values | beam.ParDo(_Predict(self._worker)).with_outputs(FAILED, main="predicted")


class WriteResults(beam.PTransform):
    """Write the files of each prediction: to a temporary file, then renamed, each whole or absent.

    A repeated attempt writes the same files again. From (item, prediction) to `Outcome`, with
    the record of each input.

    Args:
        worker: as for `ReadImages`.
    """

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def expand(self, predictions: Any) -> Any:
        return predictions | beam.ParDo(_Write(self._worker))


class _Step(beam.DoFn):
    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def failed(self, item: Item, error: DentalzooError) -> Any:
        """Return the output of an input that failed, and count it where the engine shows it."""
        beam.metrics.Metrics.counter("dentalzoo", "failed").inc()
        reason = error.reason if isinstance(error, BadFile) else str(error)
        return beam.pvalue.TaggedOutput(FAILED, Outcome(item.number, reason=reason))


class _Read(_Step):
    def process(self, element: Any) -> Iterator[Any]:
        steps = self._worker.steps()  # an error here is not one of the input
        try:
            value = steps.read(element)
        except DentalzooError as error:
            yield self.failed(element, error)
        else:
            yield element, value


class _Predict(_Step):
    def process(self, element: Any) -> Iterator[Any]:
        item, value = element
        steps = self._worker.steps()
        try:
            with steps.lock:
                prediction = steps.predict(item, value)
        except DentalzooError as error:
            yield self.failed(item, error)
        else:
            yield item, prediction


class _Write(_Step):
    def process(self, element: Any) -> Iterator[Any]:
        outcome = self._worker.steps().write(*element)
        beam.metrics.Metrics.counter("dentalzoo", "done").inc()
        yield outcome
