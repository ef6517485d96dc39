"""Pipelines on the local runner, in this process, with stand-ins for bundles."""

import tarfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("apache_beam")

from dentalzoo import engines
from dentalzoo.atomic import write_atomically
from dentalzoo.data.io.images import write_png
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.tasks import detection, generation, segmentation, superimposition
from dentalzoo.tasks.options import (
    DetectionEvaluateOptions,
    DetectionPredictOptions,
    GenerationEvaluateOptions,
    SegmentationPredictOptions,
    SuperimpositionEvaluateOptions,
)
from dentalzoo.tasks.predictor import Item
from dentalzoo.tasks.superimposition import random_sets
from tests.tasks.test_detection import StandIn as Finder
from tests.tasks.test_detection import radiograph, write_boxes
from tests.tasks.test_generation import Linear as Coder
from tests.tasks.test_segmentation import StandIn as Segmenter
from tests.tasks.test_segmentation import square, write_pairs
from tests.tasks.test_superimposition import KINDS, write_flat
from tests.tasks.test_superimposition import StandIn as Overlay

beam = engines.beam()

from dentalzoo.beam import gathering, runners, workers  # noqa: E402  # after the quiet import


def tree(folder):
    """Path -> bytes of all files, the hidden ones included."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


@pytest.fixture
def bundle(monkeypatch, request, tmp_path):
    """A stand-in that the workers load too."""
    return known_to_workers(request.param(), monkeypatch, tmp_path)


def known_to_workers(made, monkeypatch, tmp_path, task="segmentation"):
    made.path, made.task = tmp_path / "bundle", made.metadata.setdefault("task", task)
    made.path.mkdir()
    (made.path / "SHA256SUMS").write_text("sums")
    monkeypatch.setattr(workers, "load", lambda path: made)
    for module in ("prediction", "evaluation"):
        monkeypatch.setattr(f"dentalzoo.beam.{module}.Bundle", type(made))
    return made


class NamedSegmenter(Segmenter):
    task = None


class NamedFinder(Finder):
    task = None

    def __init__(self):
        super().__init__(raw=True)


@pytest.fixture
def images(tmp_path):
    """Seven images, of which one is damaged and one is refused by the network."""
    folder = tmp_path / "in"
    for index, name in enumerate("abcdefg"):
        write_png(folder / f"{name}.png", square(4, 5 + index % 3, 200, size=(16, 20)))
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:40])
    write_png(folder / "f.png", square(16, 20, 13, size=(16, 20)))
    return folder


@pytest.mark.parametrize("bundle", [NamedSegmenter], indirect=True)
def test_predict_writes_what_it_writes_without_an_engine(bundle, images, tmp_path, monkeypatch):
    monkeypatch.setattr(gathering, "BLOCK", 3)
    options = {"overlay": True, "format": ("coco",), "classes": ("tooth",)}
    here = segmentation.predict(
        bundle, images, tmp_path / "here", options=SegmentationPredictOptions(**options)
    )
    report = beam.predict(bundle, images, tmp_path / "beam", **options)
    assert report == here
    assert (report.written, [Path(path).name for path, _ in report.failed]) == (
        5,
        ["b.png", "f.png"],
    )
    assert tree(tmp_path / "beam") == tree(tmp_path / "here")


@pytest.mark.parametrize("bundle", [NamedFinder], indirect=True)
def test_tables_have_the_order_of_the_inputs(bundle, images, tmp_path, monkeypatch):
    monkeypatch.setattr(gathering, "BLOCK", 2)
    here = detection.predict(
        bundle, images, tmp_path / "here", options=DetectionPredictOptions(overlay=True)
    )
    assert beam.predict(bundle, images, tmp_path / "beam", overlay=True) == here
    assert tree(tmp_path / "beam") == tree(tmp_path / "here")
    assert {"detections.csv", "detections.json"} < tree(tmp_path / "beam").keys()


@pytest.mark.parametrize("bundle", [NamedSegmenter], indirect=True)
def test_evaluate_returns_the_same_report(bundle, tmp_path):
    data = write_pairs(
        tmp_path / "data",
        {name: (square(4, 5 + i), square(4, 6)) for i, name in enumerate("abcd")},
    )
    (data / "images" / "c.png").write_bytes(b"broken")
    here = segmentation.evaluate(bundle, data, out=tmp_path / "here")
    assert beam.evaluate(bundle, data, out=tmp_path / "beam") == here
    assert [name for name, _ in here["skipped"]] == ["c.png"]
    assert tree(tmp_path / "beam") == tree(tmp_path / "here")


@pytest.mark.parametrize("bundle", [NamedFinder], indirect=True)
def test_detections_and_those_of_other_settings_are_the_same(bundle, tmp_path):
    one, two = (10, 10, 30, 20), (10, 50, 30, 60)
    data = write_boxes(
        tmp_path / "data",
        {
            "a": (
                radiograph((95, *one), (190, *two)),
                [("restoration", *one), ("endodontic", *two)],
            ),
            "b": (radiograph((180, *one)), [("restoration", *one)]),
            "c": (radiograph((70, *one)), [("restoration", *one), ("restoration", *two)]),
        },
    )
    (data / "images" / "c.png").write_bytes(b"broken")
    options = DetectionEvaluateOptions(sweep=True)
    here = detection.evaluate(bundle, data, options=options)
    there = beam.evaluate(bundle, data, out=tmp_path / "beam", sweep=True)
    assert (here["images"], here["detections"], len(here["skipped"])) == (2, 3, 1)
    for report in (here, there):
        assert report.pop("seconds_per_image") > 0
    assert there == here


class NamedCoder(Coder):
    task = None


def test_generated_images_are_compared_as_without_an_engine(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images = np.float32(rng.integers(0, 256, (14, 16, 16, 3))) / 255
    bundle = known_to_workers(NamedCoder(images), monkeypatch, tmp_path, "generation")
    for index, image in enumerate(np.uint8(np.rint(255 * images))):
        split = ("train", "val")[index % 2]
        write_png(tmp_path / "data" / split / f"{index:02d}.png", image)
    for name in ("train/04.png", "val/05.png"):
        (tmp_path / "data" / name).write_bytes(b"broken")
    options = {"samples": 3, "count": 70}  # two blocks of generated images
    monkeypatch.setattr(generation.figures, "figures", lambda *_: ())  # which take 3 s
    monkeypatch.setattr(gathering, "BLOCK", 3)
    for split, used, skipped in ((None, 12, 2), ("val", 6, 1)):
        here, there = tmp_path / f"here_{split}", tmp_path / f"beam_{split}"
        report = generation.evaluate(
            bundle,
            tmp_path / "data",
            split=split,
            out=here,
            options=GenerationEvaluateOptions(**options),
        )
        assert (report["images"], len(report["skipped"])) == (used, skipped)
        assert report["copying"]["training_images"] == [6, 7]
        assert report["copying"]["held_out_images"] == [6, 7]
        again = beam.evaluate(bundle, tmp_path / "data", split=split, out=there, **options)
        assert again == report
        assert tree(there) == tree(here)


class NamedOverlay(Overlay):
    task = None


def test_sets_of_images_are_superimposed_as_without_an_engine(tmp_path, monkeypatch):
    data = write_flat(tmp_path / "data", 7)
    bundle = known_to_workers(NamedOverlay(data), monkeypatch, tmp_path)
    # Where p03's mask covers the dark half of p01's, what is left of p01 cannot be judged.
    for name, columns, dark in (("p01", (10, 30), (10, 20)), ("p03", (8, 20), (8, 20))):
        mask, image = np.zeros((40, 40), np.uint8), np.full((40, 40), 200, np.uint8)
        mask[8:32, slice(*columns)], image[8:32, slice(*dark)] = 255, 90
        write_png(data / "images" / f"{name}.png", image)
        write_png(data / "masks" / f"{name}.png", mask)
    (data / "images" / "p02.png").write_bytes(b"broken")
    monkeypatch.setattr(gathering, "BLOCK", 4)
    here = superimposition.evaluate(
        bundle, data, out=tmp_path / "here", options=SuperimpositionEvaluateOptions(count=12)
    )
    found = here["superimposition"]
    assert (here["images"], found["sets"], found["unjudged_sets"]) == (6, 12, 3)
    names = [f"p{number:02d}" for number in (0, 1, 3, 4, 5, 6)]
    sets = random_sets([KINDS[int(name[1:]) % 2] for name in names], 36)
    judged = [[names[i] for i in one] for one in sets if not {1, 2} <= {*one}]
    apart = [row["sources"] for row in found["per_covered_set"]]
    assert len(apart) == found["covered_sets"] == 3
    clear = [one for one in judged[:15] if one not in apart]
    assert [row["sources"] for row in found["per_set"]] == clear and len(clear) == 12
    assert beam.evaluate(bundle, data, out=tmp_path / "beam", count=12) == here
    assert tree(tmp_path / "beam") == tree(tmp_path / "here")


@pytest.mark.parametrize("bundle", [NamedSegmenter], indirect=True)
def test_nothing_beside_anonymous_results_names_the_inputs(bundle, images, tmp_path, monkeypatch):
    segmentation.predict(
        bundle, images, tmp_path / "here", options=SegmentationPredictOptions(anonymize=True)
    )
    (tmp_path / "beam_key.csv").write_bytes((tmp_path / "here_key.csv").read_bytes())
    seen = []

    def combine(self, records, out):
        seen.extend(tree(out))
        return []

    monkeypatch.setattr(segmentation.Predictor, "combine", combine)
    beam.predict(bundle, images, tmp_path / "beam", anonymize=True)
    assert sorted(seen) == sorted(tree(tmp_path / "here"))
    assert tree(tmp_path / "beam") == tree(tmp_path / "here")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("bundle", [NamedSegmenter], indirect=True)
def test_every_worker_must_have_the_same_bundle_and_version(bundle, images, tmp_path, monkeypatch):
    worker = workers.PredictWorker(bundle, SegmentationPredictOptions(), {}, tmp_path)
    (bundle.path / "SHA256SUMS").write_text("others")
    with pytest.raises(DentalzooError, match="must be the same bundle for every worker"):
        worker.steps()
    (bundle.path / "SHA256SUMS").write_text("sums")
    monkeypatch.setattr("dentalzoo.__version__", "0.0.1")
    with pytest.raises(DentalzooError, match="every worker must have dentalzoo"):
        worker.steps()


# ---- the transforms ------------------------------------------------------------------------------


class Doubling(workers.Steps):
    """Doubles a number and writes it; odd ones cannot be read, those of 8 are refused."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def read(self, item):
        if item.source % 2:
            raise BadFile(item.path, "odd")
        return item.source

    def predict(self, item, value):
        if value == 8:
            raise DentalzooError("not 8")
        return 2 * value

    def write(self, item, prediction):
        write_atomically(self.out / item.name, str(prediction))
        return workers.Outcome(item.number, prediction)


class DoublingWorker(workers.Worker):
    def __init__(self, out):
        self.out = out

    def _make(self, bundle):
        raise AssertionError

    def steps(self):
        return Doubling(self.out)


def numbers(count):
    return [Item(n, Path(f"{n}"), f"{n}.txt", f"{n}", n) for n in range(1, count + 1)]


def outcomes(transform, tmp_path, count=11):
    words = ["direct_runner_bundle_repeat=1"]
    with gathering.hidden_folder(tmp_path) as hidden:
        found = gathering.outcomes_of(numbers(count), transform, hidden, "DirectRunner", words)
        return [(item.number, outcome.result, outcome.reason) for item, outcome in found]


def test_outcomes_come_back_in_order_and_files_once(tmp_path, monkeypatch):
    monkeypatch.setattr(gathering, "BLOCK", 4)  # and each bundle of inputs is worked on twice
    found = outcomes(gathering.applied(DoublingWorker(tmp_path)), tmp_path)
    reasons = {n: "odd" for n in range(1, 12, 2)} | {8: "not 8"}
    assert found == [(n, None if n in reasons else 2 * n, reasons.get(n)) for n in range(1, 12)]
    assert tree(tmp_path) == {f"{n}.txt": str(2 * n).encode() for n in (2, 4, 6, 10)}


def test_a_lost_input_is_noticed(tmp_path):
    import apache_beam

    worker = DoublingWorker(tmp_path)

    def losing(items):
        return gathering.applied(worker)(items) | apache_beam.Filter(lambda o: o.number != 5)

    with pytest.raises(DentalzooError, match="must return each of 11 inputs once"):
        outcomes(losing, tmp_path)
    assert not list(tmp_path.glob(".*"))


class Full(Doubling):
    def write(self, item, prediction):
        raise DentalzooError(f"{item.name} could not be written; free disk space")


class FullWorker(DoublingWorker):
    def steps(self):
        return Full(self.out)


def test_what_is_no_fault_of_an_input_ends_the_pipeline_in_one_line(tmp_path, caplog):
    with pytest.raises(DentalzooError) as caught:
        outcomes(gathering.applied(FullWorker(tmp_path)), tmp_path)
    assert str(caught.value).startswith("the pipeline failed on DirectRunner")
    assert "could not be written; free disk space" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_attempts_on_two_machines_do_not_share_a_temporary_file(tmp_path):
    """Two processes of one number: the other one writes the file while this one does."""

    def write(file):
        file.write(b"this")
        write_atomically(tmp_path / "a", "other")

    write_atomically(tmp_path / "a", write)
    assert tree(tmp_path) == {"a": b"this"}


def test_nothing_to_do_needs_no_engine(tmp_path):
    assert outcomes(None, tmp_path, 0) == []


# ---- runners -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runner", "words", "message"),
    [
        ("Flink", [], "runner must be one of: DirectRunner"),
        ("DirectRunner", ["direct_num_worker=3"], "Did you mean direct_num_workers"),
        ("DirectRunner", ["direct_num_workers=three"], "invalid int value: 'three'"),
        ("DirectRunner", ["--direct_num_workers=3"], "must be KEY=VALUE or KEY"),
        ("DataflowRunner", ["projekt=mine"], "Did you mean project"),
    ],
)
def test_options_of_runners_are_checked(runner, words, message):
    with pytest.raises(DentalzooError, match=message):
        runners.runner_options(runner, words)


@pytest.mark.parametrize(
    ("words", "mode"),
    [
        ([], "in_memory"),
        (["direct_num_workers=3"], "multi_processing"),
        (["direct_num_workers=3", "direct_running_mode=multi_threading"], "multi_threading"),
    ],
)
def test_several_workers_are_several_processes(words, mode):
    made = runners.runner_options("DirectRunner", words).get_all_options()
    assert made["direct_running_mode"] == mode


def test_portable_runners_take_options_that_their_server_knows():
    made = runners.runner_options("FlinkRunner", ["flink_master=host:8081", "of_the_server=1"])
    assert made.get_all_options()["flink_master"] == "host:8081"


def test_a_runner_that_misses_an_option_says_it():
    with (
        pytest.raises(DentalzooError, match="must suit DataflowRunner.*project"),
        runners.pipeline_on("DataflowRunner"),
    ):
        pass


def test_no_other_output_folder_is_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (
        lambda out: beam.evaluate("tooth_vae", tmp_path, out=out),
        lambda out: beam.write_records(tmp_path, out),
    ):
        with pytest.raises(DentalzooError, match="must be on a disk or a mounted bucket"):
            call("gs://bucket/out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bundle", [NamedSegmenter], indirect=True)
def test_inputs_lie_in_tar_files_and_object_stores(bundle, images, tmp_path, monkeypatch):
    store = pytest.importorskip("fsspec").filesystem("memory")
    for path in images.iterdir():
        store.pipe_file(f"/beam-bucket/in/{path.name}", path.read_bytes())
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for path in sorted(images.iterdir()):
            tar.add(path, path.name)
    monkeypatch.chdir(tmp_path)
    segmentation.predict(bundle, images, tmp_path / "here")
    for inputs, out in (("memory://beam-bucket/in", "stored"), ("shard.tar", "shard")):
        report = beam.predict(bundle, inputs, out)
        assert (report.written, len(report.failed)) == (5, 2)
        assert tree(tmp_path / out).keys() == tree(tmp_path / "here").keys()
        for name, content in tree(tmp_path / "here").items():
            assert name.startswith(".") or tree(tmp_path / out)[name] == content


# ---- results in object stores --------------------------------------------------------------------


@pytest.fixture
def store():
    """An empty store in this process."""
    system = pytest.importorskip("fsspec").filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    return system


def stored(system, folder):
    """Path -> bytes of all objects below a folder."""
    found = {name: system.cat_file(name) for name in system.find(folder)}
    return {name.removeprefix(f"{folder}/"): content for name, content in found.items()}


@pytest.mark.parametrize("bundle", [NamedFinder], indirect=True)
def test_results_go_to_an_object_store(bundle, images, tmp_path, store, monkeypatch):
    monkeypatch.setattr(gathering, "BLOCK", 3)
    here = beam.predict(bundle, images, tmp_path / "here", overlay=True)
    for _ in range(2):  # a repeated run writes the same objects
        report = beam.predict(bundle, images, "memory://bucket/a/out/", overlay=True)
        assert report == here
        assert stored(store, "/bucket/a/out") == tree(tmp_path / "here")
        assert [*stored(store, "/bucket/a")] == [
            f"out/{n}" for n in sorted(tree(tmp_path / "here"))
        ]
    address = f"file://{tmp_path}/there"
    assert beam.predict(bundle, images, address, overlay=True) == here
    assert tree(tmp_path / "there") == tree(tmp_path / "here")


@pytest.mark.parametrize("bundle", [NamedSegmenter], indirect=True)
def test_the_key_of_anonymous_results_lies_beside_them_in_a_store(bundle, images, store):
    names = []
    for _ in range(2):
        beam.predict(bundle, images, "memory://bucket/out", anonymize=True)
        assert not {f"{name}.png" for name in "abcdefg"} & {*stored(store, "/bucket/out")}
        assert b"a.png" in store.cat_file("/bucket/out_key.csv")
        names.append(sorted(stored(store, "/bucket")))
    assert names[0] == names[1] and len(names[0]) == 7


class Closed(Exception):
    pass


@pytest.mark.parametrize("bundle", [NamedSegmenter], indirect=True)
def test_what_a_store_cannot_take_is_refused_before_any_work(bundle, images, store, monkeypatch):
    def refused(out, message, inputs=images, **options):
        with pytest.raises(DentalzooError, match=message) as caught:
            beam.predict(bundle, inputs, out, **options)
        assert "\n" not in str(caught.value)

    monkeypatch.setattr(bundle, "segment", None, raising=False)
    refused("memory://bucket", "must be a folder in a bucket")
    refused("nowhere://bucket/out", "must be in a store that fsspec can open")
    refused("memory://bucket/out", "must be a folder on a disk for format", format=("coco",))
    store.pipe_file("/bucket/in/a.png", (images / "a.png").read_bytes())
    refused("memory://bucket/in", "which holds inputs", "memory://bucket/in")
    assert [*stored(store, "/bucket")] == ["in/a.png"]

    def closed(self, path, content, **options):
        raise Closed("no permission\nto write")

    monkeypatch.setattr(type(store), "put_file", closed)
    refused("memory://bucket/out", "must be writable. Received: Closed: no permission to write")


@pytest.mark.parametrize("bundle", [NamedSegmenter], indirect=True)
def test_a_store_that_fails_ends_the_run_in_one_line(bundle, images, store, monkeypatch):
    def full(self, path, value, *args, **options):
        if path.endswith(".png"):
            raise Closed("quota")
        return real(self, path, value, *args, **options)

    real = type(store).pipe_file
    monkeypatch.setattr(type(store), "pipe_file", full)
    with pytest.raises(
        DentalzooError, match=r"out/\w.png must be writable. Received: Closed: quota"
    ):
        beam.predict(bundle, images, "memory://bucket/out")
    assert [*stored(store, "/bucket/out")] == [".dentalzoo-results.json"]
