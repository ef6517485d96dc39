"""What the processes of an engine do with one input, and how they come by the bundle.

A `Worker` is made where the pipeline is built, pickled, and sent to every process. There it loads
the bundle once, at the first input, and checks that it is the one that the pipeline was built with.
"""

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dentalzoo as dz
from dentalzoo import api
from dentalzoo.beam.places import Place, place_of
from dentalzoo.bundle import Bundle, load
from dentalzoo.bundle.integrity import digest
from dentalzoo.errors import DentalzooError, require
from dentalzoo.tasks.base import Measure
from dentalzoo.tasks.options import Options
from dentalzoo.tasks.predictor import Item, Predictor, Result

if TYPE_CHECKING:
    from apache_beam.utils.shared import Shared
else:
    require("apache_beam", "beam")
    from apache_beam.utils.shared import Shared

_SHARED = "shared.json"


@dataclass(frozen=True)
class Outcome:
    """What became of an input.

    Attributes:
        number: of the item.
        result: what its task needs of it, such as the record of a prediction; None if it failed.
        reason: why it failed, if it did.
        problems: (path, reason) of parts that could not be made.
    """

    number: int
    result: Any = None
    reason: str | None = None
    problems: tuple[tuple[str, str], ...] = ()


class Steps(ABC):
    """What a process does with an input, once the bundle is there.

    Attributes:
        lock: held while `predict` runs: an engine may have several threads in a process.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()

    @abstractmethod
    def read(self, item: Item) -> Any:
        """Read an input; raises DentalzooError for a bad one."""

    @abstractmethod
    def predict(self, item: Item, value: Any) -> Any:
        """Run the network; raises DentalzooError for an input that it refuses."""

    @abstractmethod
    def write(self, item: Item, prediction: Any) -> Outcome:
        """Write the files of an input, each whole or absent."""


class Worker(ABC):
    """An application of a bundle, as it is sent to the processes of an engine.

    Args:
        bundle: a loaded bundle; its folder must have the same path for every process.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._path, self._version = bundle.path.absolute(), dz.__version__
        self._digest = digest(self._path)
        self._shared = Shared()

    def steps(self) -> Steps:
        """Return the steps of this process, made at the first call.

        Raises:
            DentalzooError: the process has another bundle or another version of dentalzoo.
        """
        steps: Steps = self._shared.acquire(self._load)
        return steps

    def _load(self) -> Steps:
        if self._version != dz.__version__:
            raise DentalzooError(
                f"every worker must have dentalzoo {self._version}, which built the pipeline. "
                f"Received: {dz.__version__}"
            )
        if digest(self._path) != self._digest:
            raise DentalzooError(
                f"{self._path} must be the same bundle for every worker; this worker has another"
            )
        return self._make(load(self._path))

    @abstractmethod
    def _make(self, bundle: Bundle) -> Steps: ...


# ---- predict -------------------------------------------------------------------------------------


class PredictWorker(Worker):
    """The worker of `predict`.

    Args:
        bundle: see `Worker`.
        options: of `predict` for the bundle's task.
        shared: of the plan, see `dentalzoo.tasks.predictor.Plan`; or a folder with it, see
            `write_shared`.
        out: the folder of the results, absolute, or its address in an object store.
    """

    def __init__(
        self,
        bundle: Bundle,
        options: Options,
        shared: Mapping[str, Any] | Place,
        out: Path | str | Place,
    ) -> None:
        super().__init__(bundle)
        self._options, self._shared_values = options, shared
        self._out = out if isinstance(out, Place) else place_of(out)

    @staticmethod
    def write_shared(folder: Place, shared: Mapping[str, Any]) -> Place:
        """Write what the plan shares to a folder and return it.

        The key of anonymous results is then no part of the pipeline, which an engine may store.
        """
        folder.write(_SHARED, json.dumps(shared).encode())
        return folder

    def _make(self, bundle: Bundle) -> Steps:
        predictor = api.task_of(bundle).Predictor(bundle, self._options)
        shared = self._shared_values
        if isinstance(shared, Place):
            shared = json.loads(shared.read(_SHARED) or b"")
        predictor.join(shared)
        return _PredictSteps(predictor, self._out)


class _PredictSteps(Steps):
    def __init__(self, predictor: Predictor, out: Place) -> None:
        super().__init__()
        self._predictor, self._out = predictor, out

    def read(self, item: Item) -> Any:
        return self._predictor.read(item)

    def predict(self, item: Item, value: Any) -> Result:
        return self._predictor.apply(item, value)

    def write(self, item: Item, prediction: Result) -> Outcome:
        for name, content in prediction.files.items():
            self._out.write(name, content)
        return Outcome(item.number, prediction.record, problems=prediction.problems)


# ---- evaluate ------------------------------------------------------------------------------------


class MeasureWorker(Worker):
    """The worker of `evaluate`: each item's `source` is a sample.

    Args:
        bundle: see `Worker`.
        measure: of the evaluation.
    """

    def __init__(self, bundle: Bundle, measure: Measure) -> None:
        super().__init__(bundle)
        self._measure = measure

    def _make(self, bundle: Bundle) -> Steps:
        return _MeasureSteps(bundle, self._measure)


class _MeasureSteps(Steps):
    def __init__(self, bundle: Bundle, measure: Measure) -> None:
        super().__init__()
        self._bundle, self._measure = bundle, measure

    def read(self, item: Item) -> Any:
        return self._measure.read(item.source)

    def predict(self, item: Item, value: Any) -> Any:
        return self._measure(self._bundle, item.source, value)

    def write(self, item: Item, prediction: Any) -> Outcome:
        return Outcome(item.number, prediction)
