"""Files for other runtimes compute what the bundle computes, in processes without TensorFlow."""

import json
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.bundle import add_runtime, convert, metric_bounds, parity
from dentalzoo.bundle.card import MEASURED_ON
from dentalzoo.bundle.metadata import read_metadata
from dentalzoo.cli import main
from dentalzoo.data.io.images import encode_png, read_mask
from dentalzoo.exporters import _frozen as frozen
from dentalzoo.exporters import onnx_int8
from dentalzoo.exporters._noise import stateless_normal
from tests.light_case import run_light
from tests.zoo_case import RELEASED

RUNTIMES = {
    "onnx": "onnxruntime",
    "onnx-int8": "onnxruntime",
    "litert": "ai_edge_litert",
    "litert-int8": "ai_edge_litert",
}

# Runs FOLDER/FILE on the arrays of in_N.npz, and writes out_N.npz.
_ALONE = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "dentalzoo", "tf2onnx"):
            raise ImportError(name)
sys.meta_path.insert(0, Refused())
import numpy as np
file, outputs, count = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])
if file.endswith(".onnx"):
    import onnxruntime
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    run = lambda **arrays: dict(zip(outputs, session.run(outputs, arrays)))
else:
    from ai_edge_litert.interpreter import Interpreter
    run = Interpreter(model_path=file).get_signature_runner()
for number in range(count):
    with np.load(f"in_{number}.npz") as arrays:
        np.savez(f"out_{number}.npz", **run(**arrays))
"""


def needs(exporter):
    pytest.importorskip(RUNTIMES[exporter])
    if exporter.startswith("onnx"):
        pytest.importorskip("tf2onnx")


def run_alone(path: Path, folder: Path, name: str, calls: list[dict]) -> list[dict]:
    """What a function of an export returns in a fresh process without TensorFlow and dentalzoo."""
    entry = json.loads((path / "interface.json").read_text())["signatures"][name]
    for number, call in enumerate(calls):
        np.savez(folder / f"in_{number}.npz", **call)
    arguments = [str(path / entry["file"]), ",".join(entry["outputs"]), str(len(calls))]
    command = [sys.executable, "-c", _ALONE, *arguments]
    subprocess.run(command, cwd=folder, check=True, timeout=600)
    results = []
    for number in range(len(calls)):
        with np.load(folder / f"out_{number}.npz") as arrays:
            results.append(dict(arrays))
    return results


def calls_of(signature) -> list[dict]:
    """Inputs of a signature: images of one pixel, of odd sizes and in colour."""
    random, calls = np.random.default_rng(0), []
    for size in (1, 1, 1), (37, 53, 1), (64, 129, 3):
        call = {}
        for key, spec in signature.inputs.items():
            if spec["dtype"] == "uint8":
                shape = (2, 10, *size) if key == "views" else (2, *size)
                call[key] = random.integers(0, 256, shape, np.uint8)
            elif spec["dtype"] == "int64":
                call[key] = np.int64(3)
            else:
                rows = [side or 2 for side in spec["shape"]]
                call[key] = random.random(rows, np.float32)
        calls.append(call)
    return calls


def compared(bundle, path, tmp_path, atol=1e-4) -> dict:
    """Compare each function of an export that is not left out, and return its metadata."""
    metadata = json.loads((path / "metadata.json").read_text())
    interface = json.loads((path / "interface.json").read_text())
    assert interface["signatures"].keys() | interface["left_out"].keys() == set(bundle.signatures)
    for name, entry in interface["signatures"].items():
        calls = calls_of(bundle.signatures[name])
        given = calls
        if "noise" in entry:
            given = [{"noise": stateless_normal(**c, width=entry["noise"])} for c in calls]
        for call, result in zip(calls, run_alone(path, tmp_path, name, given), strict=True):
            for key, value in bundle.function(name)(**call).items():
                assert result[key].shape == value.shape, (name, key)
                if value.dtype.kind == "f":
                    assert result[key] == pytest.approx(value, abs=atol), (name, key)
                else:
                    assert np.mean(result[key] != value) <= 0.001, (name, key)
    return metadata


@pytest.fixture(scope="module")
def exported(request, tmp_path_factory):
    """The bundle of a paper's `tiny`, once for all exporters. Not to be changed."""
    name = request.param
    return dz.export(dz.build(name, "tiny"), tmp_path_factory.mktemp(name) / "bundle", name)


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["onnx", "litert"])
@pytest.mark.parametrize(
    "exported",
    [
        "panoramic_unet",
        "panoramic_detection",
        "tooth_vae",
        "defect_overlay_vae",
        "jaw_reconstruction",
    ],
    indirect=True,
    scope="module",
)
def test_every_paper_runs_without_tensorflow(exported, exporter, tmp_path):
    needs(exporter)
    name = exported.name
    made = dz.load(shutil.copytree(exported.path, tmp_path / "bundle"), "tensorflow")
    add_runtime(made, exporter)
    metadata = compared(made, made.path / exporter, tmp_path)
    assert metadata["exporter"] == exporter and metadata["name"] == name
    if exporter == "onnx" and name == "panoramic_unet":  # as in 8 bits, see below
        path = made.path / exporter / "serve.onnx"
        content = path.read_bytes()
        assert b"Resize" in content and b"QuantizeLinear" not in content
        session = pytest.importorskip("onnxruntime").InferenceSession(str(path))
        [images], [mask, _] = session.get_inputs(), session.get_outputs()
        assert images.shape == ["batch", "height", "width", "channels"]
        assert mask.shape == ["batch", "height", "width", 1]
    assert (
        not {"serve", "encode", "decode", "generate", "overlay", "raw"}
        & metadata["left_out"].keys()
    )
    for row in metadata["parity"].values():
        assert row.pop("latency_ratio") > 0
    if exporter == "litert" and name == "panoramic_detection":
        return  # boxes are not suppressed there
    commands, files = light_commands(name, made.path, tmp_path)
    statuses, _, log = run_light(*commands)
    assert statuses == [0] * len(commands), log
    assert files <= {file.name for file in (tmp_path / "out").iterdir()}
    if name == "tooth_vae":
        images = dz.load(made.path, "tensorflow").generate(5, 3)["image"]
        light = dz.load(made.path, "onnxruntime" if exporter == "onnx" else "litert")
        assert light.generate(5, 3)["image"] == pytest.approx(images, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "panoramic_unet.panoramic_teeth_v2",
        "defect_overlay_vae.drawn_defects_v3",
        "tooth_vae.drawn_teeth_v2",  # which factors the covariance of its prior
    ],
)
def test_released_bundles_can_be_exported(name, tmp_path):
    """To LiteRT: files for ONNX Runtime they hold already."""
    needs("litert")
    path = convert(RELEASED / name, tmp_path / "exported", "litert")
    if name.startswith("tooth_vae"):
        assert "| `generate` | `noise` float32 (?, 48) |" in (path / "README.md").read_text()
    metadata = json.loads((path / "metadata.json").read_text())
    assert metadata["bundle"] == name and metadata["parity"]


@pytest.mark.slow
def test_a_bundle_with_a_light_runtime_predicts_without_tensorflow(
    bundle, phantoms, tmp_path, capsys
):
    """That of 8 bits; the others predict in `test_every_paper_runs_without_tensorflow`."""
    exporter = "onnx-int8"
    needs(exporter)
    path = tmp_path / "light"
    assert main(["export", str(bundle.path), "--out", str(path), "--with", exporter]) == 0
    assert "mask" in capsys.readouterr().out
    image = next((phantoms / "images").iterdir())
    command = ["predict", str(path), str(image), "--overlay", "--out"]
    statuses, output, _ = run_light([*command, tmp_path / "one"])
    assert (statuses, output) == ([0], f"1 written to {tmp_path / 'one'}, 0 failed")
    assert main([*command, str(tmp_path / "other"), "--runtime", "tensorflow"]) == 0
    masks = [read_mask(tmp_path / folder / f"{image.stem}.png") for folder in ("one", "other")]
    assert np.mean(masks[0] != masks[1]) <= 0.05
    assert f"## Files for {exporter}" in (path / "README.md").read_text()

    content = (path / "onnx" / "serve.onnx").read_bytes()
    assert b"QuantizeLinear" in content
    assert b"Resize" in content  # upsampling is one operation
    image = np.random.default_rng(0).integers(0, 256, (1, 37, 53, 1), np.uint8)
    [result] = run_alone(path / "onnx", tmp_path, "serve", [{"images": image}])
    expected = bundle.serve(image)
    assert np.mean(result["mask"] != expected["mask"]) < 0.05
    assert not np.array_equal(result["probabilities"], expected["probabilities"])


def light_commands(name: str, bundle: Path, folder: Path) -> tuple[list[list], set[str]]:
    """What a bundle of a paper is used for without TensorFlow, and the files that are made."""
    from dentalzoo.data.io.images import write_png

    random = np.random.default_rng(0)
    for number in range(10):
        image = random.integers(64, 256, (48, 48), np.uint8)
        image[np.hypot(*np.mgrid[-23.5:24, -23.5:24]) > 16] = 0  # as views of a ball on black
        write_png(folder / "images" / "jaw" / f"{number}.png", image)
    images, out = folder / "images" / "jaw", folder / "out"
    if name == "jaw_reconstruction":
        return [["predict", bundle, images, "--out", out]], {"jaw.ply"}
    commands = [["predict", bundle, images / "0.png", "--overlay", "--out", out]]
    made = {"0_overlay.png"}
    if name == "tooth_vae":
        commands.append(["generate", bundle, "--count", 3, "--out", folder / "generated"])
    if name == "defect_overlay_vae":
        inputs = [images / "0.png", images / "1.png"]
        commands.append(["superimpose", bundle, *inputs, "--out", folder / "superimposed"])
    return commands, made


@pytest.mark.slow
def test_litert_in_int8_keeps_the_masks(bundle, tmp_path):
    needs("litert-int8")
    path = convert(bundle.path, tmp_path / "int8", "litert-int8")
    float32 = 4 * bundle.metadata["parameters"]  # bytes of the weights alone
    assert (path / "serve.tflite").stat().st_size < float32
    image = np.random.default_rng(0).integers(0, 256, (1, 37, 53, 1), np.uint8)
    [result] = run_alone(path, tmp_path, "serve", [{"images": image}])
    expected = bundle.serve(image)
    assert np.mean(result["mask"] != expected["mask"]) < 0.02
    assert result["probabilities"] == pytest.approx(expected["probabilities"], abs=0.05)
    assert not np.array_equal(result["probabilities"], expected["probabilities"])


@pytest.mark.slow
def test_metrics_are_measured_of_both(bundle, phantoms, tmp_path, capsys):
    out = tmp_path / "serving"
    command = ["export", str(bundle.path), "--out", str(out), "--to", "tf_serving"]
    assert main([*command, "--data", str(phantoms), "--split", "val"]) == 0
    assert "dice: " in capsys.readouterr().out
    metadata = json.loads((out / "metadata.json").read_text())
    values = metadata["metrics"]["dice"]
    assert values["bundle"] == pytest.approx(values["exported"], abs=1e-6)
    readme = (out / "README.md").read_text()
    assert "| `segment` | `images` uint8 (?, ?, ?, ?) | `mask` uint8 (?, ?, ?, 1) |" in readme
    assert_served(bundle, out / "1", tmp_path)


def assert_served(bundle, version: Path, folder: Path) -> None:
    """Call serving_default by TensorFlow's own command, as docs/bundle_format.md does."""
    image = np.random.default_rng(0).integers(0, 256, (37, 53), np.uint8)
    np.save(folder / "encoded.npy", np.array([encode_png(image)]))
    command = [
        *("saved_model_cli", "run", "--dir", str(version), "--tag_set", "serve"),
        *("--signature_def", "serving_default", "--inputs", "encoded=encoded.npy"),
        *("--outdir", "results"),
    ]
    page = (Path(__file__).parents[2] / "docs" / "bundle_format.md").read_text()
    assert " ".join(command).replace(str(version), "unet_serving/1") in page
    command[0] = str(Path(sys.executable).with_name(command[0]))
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)
    png = np.load(folder / "results" / "mask_bytes.npy", allow_pickle=True)[0]
    (folder / "mask.png").write_bytes(png)
    mask = bundle.segment(image[None, ..., None])["mask"][0, ..., 0]
    np.testing.assert_array_equal(read_mask(folder / "mask.png"), mask)


@pytest.mark.parametrize(
    ("interface", "message"),
    [
        ("", "must describe the functions beside it"),
        ("[]", "must describe the functions beside it"),
        ("[" * 100_000, "must describe the functions beside it"),
        ('{"signatures": {"serve": {"file": "serve.onnx"}}}', "must describe the functions"),
        (
            '{"signatures": {"serve": {"file": "../serve.onnx", "outputs": []}}}',
            "file of serve must be serve.onnx",
        ),
        (
            '{"signatures": {"../serve": {"file": "../serve.onnx", "outputs": []}}}',
            "file of ../serve must be",
        ),
    ],
)
def test_a_foreign_interface_leads_to_no_other_file(tmp_path, interface, message):
    (tmp_path / "interface.json").write_text(interface)
    with pytest.raises(dz.DentalzooError, match=message):
        frozen.load(tmp_path, ".onnx", lambda file, outputs: pytest.fail(f"read {file}"))


def test_nodes_between_convolutions_are_quantized_and_no_others():
    def node(name, kind, *inputs):
        return SimpleNamespace(name=name, op_type=kind, input=inputs, output=[name])

    graph = SimpleNamespace(
        node=[
            node("resized", "MatMul", "images"),
            node("first", "Conv", "resized", "w"),
            node("relu", "Relu", "first"),
            node("scale", "Mul", "images"),
            node("joined", "Add", "relu", "scale"),
            node("last", "Conv", "joined", "v"),
            node("mask", "Greater", "last"),
        ]
    )
    assert onnx_int8._between_convolutions(graph) == ["first", "relu", "joined", "last"]


ROWS = {"segment": {"mask": {"changed": 0.2}, "latency_ratio": 1.0}}


def measured(called=("segment",), **metrics):
    """Measured metrics, each a pair: of the bundle and of the export."""
    values = {
        key: dict(zip(("bundle", "exported"), pair, strict=True)) for key, pair in metrics.items()
    }
    return parity.Measured(values, frozenset(called))


@pytest.mark.parametrize(
    ("task", "metrics", "refused"),
    [
        ("segmentation", {"dice": (0.9, 0.9)}, None),
        ("segmentation", {"dice": (0.9, 0.8985)}, None),
        ("segmentation", {"dice": (0.9, 0.897)}, r"dice 0.8970 for the 0.9000 .*\(at most 0.002"),
        ("segmentation", {"dice": (0.9, np.nan)}, "dice nan"),
        ("segmentation", {"dice": (0.9, 0.9), "recall": (0.9, 0.89)}, "recall 0.8900"),
        ("segmentation", {"dice": (0.9, 0.9), "ece": (0.01, 0.02)}, "ece 0.0200"),
        ("segmentation", {"dice": (0.9, 0.9), "ece_uncalibrated": (0.01, 0.9)}, None),
        ("segmentation", {"iou": (0.9, 0.9)}, "must give dice"),
        ("detection", {"ap": (0.3, 0.31), "ap50": (0.6, np.nan)}, "ap50 nan"),
        ("detection", {"ap": (np.nan, np.nan), "teeth_recall": (0.93, 0.925)}, None),
        ("detection", {"ap": (0.3, 0.3), "teeth_recall": (0.93, 0.91)}, "teeth_recall 0.9100"),
        ("generation", {"elbo": (11555.0, 11540.0), "kl": (115.0, 115.5)}, None),
        ("generation", {"elbo": (11555.0, 11500.0)}, "elbo .*at most 0.002 worse, relative"),
        ("generation", {"elbo": (11555.0, 11555.0), "kl": (115.0, 120.0)}, "kl 120"),
        ("superimposition", {"mae": (0.03, 0.01)}, None),
        # measured of a jaw in int8 weights: the F-score hides it
        (
            "reconstruction",
            {"f_score_at_1_4mm": (0.9784, 0.9779), "gt_to_pred_mm": (0.414, 0.436)},
            "gt_to_pred_mm 0.4360",
        ),
    ],
)
def test_a_metric_that_loses_too_much_is_refused(task, metrics, refused):
    if refused is None:
        parity.check(ROWS, measured(**metrics), task, 0.005)
        return
    with pytest.raises(dz.DentalzooError, match=refused) as error:
        parity.check(ROWS, measured(**metrics), task, 0.005)
    assert "\n" not in str(error.value)


def test_functions_that_no_metric_was_measured_of_are_compared_on_samples():
    with pytest.raises(dz.DentalzooError, match="mask of segment .* at most 0.005.*give data"):
        parity.check(ROWS, None, "segmentation", 0.005)
    with pytest.raises(dz.DentalzooError, match=r"mask of segment .*at most 0.005 \(changed\)\. R"):
        parity.check(ROWS, measured(("serve",), dice=(0.9, 0.9)), "segmentation", 0.005)


def test_the_functions_that_an_evaluation_calls_are_known(bundle):
    given = []

    def evaluate(measured, options):
        given.append(measured.segment(np.zeros((8, 8), np.uint8)))
        assert "serve" in dir(measured)
        values = {"dice": 0.5, "recall": 0.5, "odd": 1.0}
        return values if len(given) == 1 else {"dice": 0.5}

    functions = {name: bundle.function(name) for name in ("segment", "serve")}
    result = parity.measure(bundle, functions, evaluate)
    assert result.called == {"segment"} and result.metrics.keys() == {"dice", "recall"}
    assert np.isnan(result.metrics["recall"]["exported"])


@pytest.mark.parametrize("path", sorted(RELEASED.iterdir()), ids=lambda path: path.name)
def test_every_metric_of_the_released_bundles_has_a_bound_or_says_nothing(path):
    metadata = read_metadata(path)
    task = metadata["task"]
    numbers = {key for key, value in metadata["metrics"].items() if isinstance(value, float | int)}
    assert metric_bounds.MAIN[task] in numbers
    for key in numbers - set(MEASURED_ON):
        others = any(fnmatchcase(key, pattern) for pattern in metric_bounds.OTHERS)
        assert (metric_bounds.bound_of(task, key) is None) == others, key


def test_boxes_are_compared_by_their_overlap():
    boxes = np.array([[[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9], [0, 0, 0, 0]]], np.float32)
    one = {"boxes": boxes, "classes": np.array([[1, 2, 0]]), "num": np.array([2])}
    other = {**one, "boxes": boxes[:, [1, 0, 2]], "classes": np.array([[2, 1, 0]])}
    assert parity._changed_boxes([(one, other)]) == 0  # another order
    assert parity._changed_boxes([(one, {**one, "classes": np.array([[1, 1, 0]])})]) == 0.5
    assert parity._changed_boxes([(one, {**one, "num": np.array([0])})]) == 1


def test_weights_are_factored_before_a_runtime_that_cannot_do_it():
    import tensorflow as tf

    module = tf.Module()
    module.covariance = tf.Variable([[4.0, 2.0], [2.0, 3.0]])

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, "z")])
    def function(z):
        return {"image": z @ tf.transpose(tf.linalg.cholesky(module.covariance)), "z": z}

    without = frozen.freeze(function).function
    z = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
    factor = np.linalg.cholesky([[4.0, 2.0], [2.0, 3.0]])
    assert "Cholesky" not in frozen.operations(without.get_concrete_function())
    result = without(tf.constant(z))
    assert result["image"].numpy() == pytest.approx(z @ factor.T, abs=1e-6)
    assert np.array_equal(result["z"], z)
