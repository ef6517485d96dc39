"""A predictor without a network, importable by the workers: a file of numbers gives their sum."""

import os
import signal
import time
from pathlib import Path

from dentalzoo.data.pipeline.prefetch import for_each
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.output_dirs import make_folder
from dentalzoo.tasks.predictor import Item, Plan, Predictor, Result, items_of

assert for_each  # the module that workers read with


class StandIn(Predictor):
    """Writes <name>.txt with the sum of a file's numbers, and total.csv of all.

    The text of an input is its behaviour: "die" kills the process whenever it is computed, "die
    once" the first time, "bug" is an error of the program, "bad" an error of the input, "slow N"
    takes N seconds.
    """

    title = "adding"

    def __init__(self, scale=1, state=None):
        self.scale, self.state, self.shared = scale, state, None

    def plan(self, inputs, out):
        paths = sorted(Path(inputs).iterdir())
        make_folder(out, paths)
        items = items_of(paths, [path.stem for path in paths], False)
        return Plan(items, shared={"word": os.urandom(4).hex()})

    def join(self, shared):
        self.shared = shared

    def read(self, item):
        text = item.path.read_text()
        if text == "bad":
            raise BadFile(item.path, "must be numbers. Received: bad")
        return text

    def compute(self, item: Item, value):
        if self.state:  # one line for each time that an input is computed
            with open(self.state, "a") as log:
                log.write(f"{item.name}\n")
        if value == "die once":
            mark = Path(f"{self.state}.{item.name}")
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return 1
        if value == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if value == "bug":
            raise ZeroDivisionError("a bug")
        if value.startswith("slow"):
            time.sleep(float(value.split()[1]))
            return 0
        if value == "threads":
            return int(os.environ["TF_NUM_INTRAOP_THREADS"])
        return self.scale * sum(map(int, value.split()))

    def results(self, item, value, prediction):
        text = f"{prediction} {self.shared['word'] if self.shared and value == 'shared' else ''}"
        problems = ((str(item.path), "no second part"),) if value == "7" else ()
        return Result({f"{item.name}.txt": text.encode()}, {"sum": prediction}, problems)

    def combine(self, records, out):
        lines = [f"{item.number},{item.file},{record['sum']}" for item, record in records]
        (out / "total.csv").write_text("\n".join(lines))
        return [out / "total.csv"]


def refuse():
    """What a worker cannot load."""
    raise DentalzooError("bundle must be whole. Received: half of it")


def die():
    os.kill(os.getpid(), signal.SIGKILL)
