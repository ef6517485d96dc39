"""Readers and models against each other: the numbers of `evaluate`, kappa, distances."""

import csv
import json
import shutil

import numpy as np
import pytest
from scipy import ndimage

import dentalzoo as dz
from dentalzoo.agreement import agree
from dentalzoo.agreement.kappa import cohens_kappa
from dentalzoo.agreement.of_masks import boundary_distances
from dentalzoo.cli import main
from dentalzoo.data.io.images import write_png
from dentalzoo.data.synthetic import panoramic, write_panoramic_dataset
from dentalzoo.output_dirs import list_results


def mask_folder(folder, masks):
    for name, mask in masks.items():
        write_png(folder / "images" / f"{name}.png", np.full(mask.shape, 90, np.uint8))
        write_png(folder / "masks" / f"{name}.png", mask.astype(np.uint8) * np.uint8(255))
    return folder


def box_folder(folder, boxes, classes=("a", "b")):
    for name, lines in boxes.items():
        write_png(folder / "images" / f"{name}.png", np.full((100, 200), 90, np.uint8))
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{name}.txt").write_text("\n".join(lines))
    (folder / "classes.txt").write_text("\n".join(classes))
    return folder


def annotator(mask, seed):
    """A second annotator: the border moves by a pixel or two, differently for each tooth."""
    rng = np.random.default_rng(seed)
    areas, count = ndimage.label(mask)
    drawn = np.zeros(mask.shape, bool)
    for area in range(1, count + 1):
        grow = rng.integers(-2, 3)
        step = ndimage.binary_dilation if grow > 0 else ndimage.binary_erosion
        one = areas == area
        drawn |= step(one, iterations=abs(grow)) if grow else one
    return drawn


# ---- masks ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    """Two maskings of four synthetic radiographs."""
    root = tmp_path_factory.mktemp("readers")
    write_panoramic_dataset(root / "source", 4, 0, 96, 192)
    source = {p.stem: p for p in sorted((root / "source").rglob("masks/*.png"))}
    from dentalzoo.data.io.images import read_mask

    masks = {stem: read_mask(path) > 0 for stem, path in source.items()}
    folders = [
        mask_folder(root / f"reader {seed}", {k: annotator(m, seed) for k, m in masks.items()})
        for seed in (1, 2)
    ]
    return folders


@pytest.mark.parametrize(
    ("kind", "said"), [("none", "all 2 are empty"), ("black", "black on white")]
)
def test_masks_that_are_empty_or_inverted_are_named(tmp_path, caplog, kind, said):
    mask = np.zeros((40, 60), bool)
    mask[10:20, 20:40] = True
    mask_folder(tmp_path / "good", {"a": mask, "b": mask[::-1]})
    other = {"a": mask & False, "b": mask & False} if kind == "none" else {"a": ~mask, "b": ~mask}
    agree([tmp_path / "good", mask_folder(tmp_path / kind, other)])
    assert sum(said in line and line.startswith(f"{kind}: ") for line in caplog.messages) == 1
    with pytest.raises(dz.DentalzooError, match="seed must be an integer >= 0"):
        agree([tmp_path / "good", tmp_path / kind], seed=-1)


def test_two_maskings_have_the_scores_of_their_pixels(readers, tmp_path):
    report = agree(readers, tmp_path / "out")
    (pair,) = report["pairs"]
    assert (pair["reference"], pair["rater"]) == ("reader 1", "reader 2")
    assert report["images"] == 4 == len(pair["per_image"])
    from dentalzoo.data.io.images import read_image, read_mask

    dices, kappas = [], np.zeros((2, 2))
    for path in sorted((readers[0] / "masks").glob("*.png")):
        one, other = read_mask(path) > 0, read_mask(readers[1] / "masks" / path.name) > 0
        dices.append(2 * (one & other).sum() / (one.sum() + other.sum()))
        kappas += [
            [(one & other).sum(), (one & ~other).sum()],
            [(~one & other).sum(), (~one & ~other).sum()],
        ]
    assert pair["dice"]["value"] == pytest.approx(np.mean(dices), abs=1e-6)
    assert pair["dice"]["low"] <= pair["dice"]["value"] <= pair["dice"]["high"]
    assert 0.5 < pair["dice"]["value"] < 1 and 0 < pair["mean_distance"]["value"] < 5
    assert pair["mean_distance"]["value"] <= pair["hausdorff_95"]["value"]
    ((_, numbers),) = pair["per_class"].items()
    assert numbers["kappa"]["value"] == pytest.approx(cohens_kappa(kappas), abs=1e-6)
    assert numbers["kappa_present"]["value"] == 1
    assert json.loads((tmp_path / "out" / "agreement.json").read_text()) == report
    assert read_image(tmp_path / "out" / "agreement.png").shape[1] == 900


def test_results_of_predict_are_a_rater(readers, tmp_path):
    shutil.copytree(readers[1] / "masks", tmp_path / "predicted")
    shutil.copy(next((tmp_path / "predicted").glob("*.png")), tmp_path / "predicted/x_overlay.png")
    one = agree([readers[0], readers[1]])["pairs"][0]
    other = agree([readers[0], tmp_path / "predicted"])["pairs"][0]
    assert one["dice"] == other["dice"] and one["per_image"] == other["per_image"]
    with pytest.raises(dz.DentalzooError, match="images beside its masks"):
        agree([tmp_path / "predicted", tmp_path / "predicted"], kind="masks")


def test_images_that_not_all_have_are_named(readers, tmp_path, caplog):
    shutil.copytree(readers[1], tmp_path / "short")
    first = min((tmp_path / "short" / "images").glob("*.png"))
    first.unlink()
    (tmp_path / "short" / "masks" / first.name).unlink()
    report = agree([readers[0], tmp_path / "short"])
    assert report["images"] == 3 and report["not_shared"]["reader 1"] == [first.stem]
    assert any("1 images that not all folders have" in line for line in caplog.messages)


def test_images_that_one_alone_leaves_empty_are_named_and_can_be_left_out(
    readers, tmp_path, caplog, capsys
):
    shutil.copytree(readers[1], tmp_path / "started")
    first, *others = sorted((tmp_path / "started" / "masks").glob("*.png"))
    write_png(first, np.zeros((96, 192), np.uint8))
    (pair,) = agree([readers[0], tmp_path / "started"], tmp_path / "out")["pairs"]
    line = f"1 of 4 images are empty in started alone, not in reader 1: {first.stem}"
    assert caplog.messages.count(line) == 1
    assert pair["empty"] == {"reader 1": [], "started": [first.stem]}
    rows = {row["name"]: row["dice"] for row in pair["per_image"]}
    rest = pair["without_empty"]
    assert rest["images"] == 3 and rows[first.stem] == 0
    assert rest["dice"]["value"] == pytest.approx(np.mean([rows[p.stem] for p in others]), abs=1e-5)
    assert rest["dice"]["value"] > pair["dice"]["value"] + 0.1
    assert main(["agree", str(readers[0]), str(tmp_path / "started")]) == 0
    assert "the 3 images that are not empty on one side alone" in capsys.readouterr().out
    (pair,) = agree(readers)["pairs"]
    assert pair["without_empty"] is None and pair["empty"] == {"reader 1": [], "reader 2": []}


def test_a_project_of_predict_is_the_model_and_the_reader_the_reference(readers, tmp_path):
    shutil.copytree(readers[1], tmp_path / "model" / "cvat")
    for listed, reference in ((False, "cvat"), (True, "reader 1")):
        if listed:
            list_results(tmp_path / "model", ["cvat"])
        (pair,) = agree([tmp_path / "model" / "cvat", readers[0]])["pairs"]
        assert pair["reference"] == reference
    (pair,) = agree([tmp_path / "model", readers[0]])["pairs"]
    assert (pair["reference"], pair["rater"]) == ("reader 1", "model")
    (pair,) = agree([tmp_path / "model" / "cvat", readers[0]], kind="masks")["pairs"]
    assert pair["reference"] == "reader 1"


def test_masks_of_one_class_each_are_compared_with_a_line_where_its_names_differ(tmp_path, caplog):
    mask = np.zeros((40, 60), bool)
    mask[10:20, 20:40] = True
    folders = [mask_folder(tmp_path / name, {"a": mask}) for name in ("one", "other")]
    agree(folders)
    assert "whatever its name" not in caplog.text
    for folder, name in zip(folders, ("tooth", "caries"), strict=True):
        (folder / "masks" / "classes.json").write_text(json.dumps([name]))
    agree(folders)
    assert "whatever its name: one: tooth; other: caries" in caplog.text


@pytest.mark.slow
def test_a_model_against_the_ground_truth_has_the_metrics_of_evaluate(readers, tmp_path):
    bundle = dz.load("panoramic_unet.panoramic_teeth_v2")
    dz.predict(bundle, readers[0] / "images", tmp_path / "predicted")
    report = dz.evaluate(bundle, readers[0])
    (pair,) = agree([readers[0], tmp_path / "predicted"])["pairs"]
    assert pair["dice"]["value"] == pytest.approx(report["mean"]["dice"], abs=1e-6)
    assert pair["iou"]["value"] == pytest.approx(report["mean"]["iou"], abs=1e-6)
    ((_, numbers),) = pair["per_class"].items()
    assert numbers["dice"]["value"] == pytest.approx(report["pooled"]["dice"], abs=1e-6)


def test_boundary_distances_are_those_of_all_pairs():
    rng = np.random.default_rng(0)
    one = ndimage.binary_opening(ndimage.gaussian_filter(rng.random((30, 40)), 3) > 0.5)
    other = np.roll(one, 2, 1)
    edges = [np.argwhere(a & ~ndimage.binary_erosion(a)) for a in (one, other)]
    table = np.linalg.norm(edges[0][:, None] - edges[1][None], axis=-1)
    ways = table.min(1), table.min(0)
    expected = np.concatenate(ways).mean(), max(np.percentile(way, 95) for way in ways)
    assert boundary_distances(one, other) == pytest.approx(expected)
    assert boundary_distances(one, one) == (0, 0)


# ---- boxes ---------------------------------------------------------------------------------------

READER = {"1": ["0 .25 .5 .2 .4", "1 .75 .5 .2 .4"], "2": ["0 .5 .5 .2 .4"], "3": []}
OTHER = {"1": ["0 .25 .5 .2 .4", "0 .75 .5 .2 .4"], "2": ["0 .51 .5 .2 .4"], "3": ["1 .5 .5 .1 .1"]}


def detections(folder, rows):
    folder.mkdir()
    with open(folder / "detections.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["file", "class", "score", "left", "top", "right", "bottom", "width", "height"]
        )
        writer.writerows(rows)
    return folder


def test_two_readers_of_boxes(tmp_path):
    one, other = box_folder(tmp_path / "one", READER), box_folder(tmp_path / "other", OTHER)
    (pair,) = agree([one, other])["pairs"]
    assert pair["precision"]["value"] == 0.5 and pair["voc_map"] is None
    assert pair["recall"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    overlap = (0.2 - 0.01) / (0.2 + 0.01)
    assert pair["iou"]["value"] == pytest.approx((1 + overlap) / 2, abs=1e-5)
    assert pair["per_class"]["a"]["kappa_present"]["value"] == 1
    assert pair["per_class"]["b"]["kappa_present"]["value"] == -0.5  # by hand: (1/3 - 5/9) / (4/9)
    assert [row["false_positives"] for row in pair["per_image"]] == [1, 0, 1]


def test_a_model_has_a_curve_and_readers_are_the_reference(tmp_path):
    rows = [
        ["1.png", "a", 0.9, 30, 30, 70, 70, 200, 100],
        ["1.png", "b", 0.4, 130, 30, 170, 70, 200, 100],
        ["2.png", "a", 0.2, 0, 0, 20, 20, 200, 100],
        ["3.png", "", "", "", "", "", "", 200, 100],
    ]
    model = detections(tmp_path / "model", rows)
    reader = box_folder(tmp_path / "reader", READER)
    for folders in ([model, reader], [reader, model]):
        report = agree(folders, tmp_path / "out", score_threshold=0.3)
        (pair,) = report["pairs"]
        assert (pair["reference"], pair["rater"]) == ("reader", "model")
        assert (pair["precision"]["value"], pair["per_class"]["b"]["ap50"]) == (1, 1)
        assert pair["recall"]["value"] == pytest.approx(2 / 3, abs=1e-6)
        assert pair["voc_map"]["value"] == 0.75 and pair["score_threshold"] == 0.3


def test_boxes_without_a_class_in_common_are_refused_or_compared_without(tmp_path, capsys):
    one = box_folder(tmp_path / "one", READER, [f"tooth {n}" for n in range(9)])
    other = box_folder(tmp_path / "other", READER, ("a", "b"))
    with pytest.raises(dz.DentalzooError, match="class in common") as caught:
        agree([one, other], tmp_path / "out")
    assert str(caught.value).endswith(
        "Received: one: tooth 0, tooth 1, tooth 2, tooth 3, tooth 4 and 4 more; other: a, b"
    )
    assert not (tmp_path / "out").exists()
    command = ["agree", str(one), str(other), "--kind", "boxes"]
    assert main(command) == 2 and "--ignore-classes" in capsys.readouterr().err
    assert main([*command, "--ignore-classes", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["classes"] == ["object"] and report["pairs"][0]["f1"]["value"] == 1
    with pytest.raises(dz.DentalzooError, match="the kind boxes and without classes"):
        agree([one, other], ignore_classes=True)


def test_classes_on_one_side_alone_are_named_in_one_line(tmp_path, caplog):
    one = box_folder(tmp_path / "one", READER, ("a", "b"))
    other = box_folder(tmp_path / "other", OTHER, ("a", "x"))
    report = agree([one, other])
    assert report["classes"] == ["a", "b", "x"]
    assert report["classes_not_shared"] == {"one": ["b"], "other": ["x"]}
    lines = [line for line in caplog.messages if "classes that not all folders have" in line]
    assert [line.rpartition("with: ")[2] for line in lines] == ["one: b; other: x"]
    caplog.clear()
    report = agree([one, box_folder(tmp_path / "third", OTHER)])
    assert not any(report["classes_not_shared"].values()) and "no box agrees" not in caplog.text


def test_a_model_that_has_no_box_is_still_a_model_with_the_classes_of_the_reader(tmp_path):
    rows = [[f"{n}.png", "", "", "", "", "", "", 200, 100] for n in (1, 2, 3)]
    model = detections(tmp_path / "model", rows)
    (pair,) = agree([model, box_folder(tmp_path / "reader", READER)])["pairs"]
    assert (pair["reference"], pair["recall"]["value"]) == ("reader", 0)
    assert pair["empty"] == {"reader": [], "model": ["1", "2"]}
    assert pair["without_empty"]["images"] == 1


@pytest.mark.slow
def test_boxes_of_a_model_have_the_metrics_of_evaluate(tmp_path):
    """Annotated is what the model finds, some of it moved, and some left out."""
    data = tmp_path / "data"
    for seed in range(6):
        write_png(data / "images" / f"{seed}.png", panoramic(seed, 256, 512).image)
    bundle = dz.load("panoramic_detection.dental_radiography_v4")
    classes = list(bundle.config.classes)
    dz.predict(bundle, data / "images", tmp_path / "model", score_threshold=0.001)
    (data / "labels").mkdir()
    (data / "classes.txt").write_text("\n".join(classes))
    with open(tmp_path / "model" / "detections.csv", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if float(row["score"] or 0) > 0.3]
    for number, row in enumerate(rows):
        if number % 4 == 3:
            continue
        left, top, right, bottom = (float(row[k]) for k in ("left", "top", "right", "bottom"))
        centre = ((left + right) / 2 + number % 3 * 8) / 512, (top + bottom) / 512
        line = classes.index(row["class"]), *centre, (right - left) / 512, (bottom - top) / 256
        with open(data / "labels" / f"{row['file'][:-4]}.txt", "a") as stream:
            print(*line, file=stream)
    report = dz.evaluate(bundle, data, score_threshold=0.4)
    (pair,) = agree([data, tmp_path / "model"], kind="boxes", classes=classes, score_threshold=0.4)[
        "pairs"
    ]
    for key in ("precision", "recall", "f1"):
        assert pair[key]["value"] == pytest.approx(report["operating"][key], abs=1e-6)
        assert 0.2 < pair[key]["value"] < 0.99
    assert pair["voc_map"]["value"] == pytest.approx(report["voc"]["map"], abs=2e-3)
    assert pair["ap50"] == pytest.approx(report["coco"]["ap50"], abs=2e-3)


# ---- numbers -------------------------------------------------------------------------------------


def test_kappa():
    assert cohens_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)  # Wikipedia's example
    assert cohens_kappa(np.array([[45, 15], [25, 15]])) == pytest.approx(0.1304, abs=1e-4)
    assert cohens_kappa(np.array([[9, 0], [0, 0]])) == 1
    assert np.isnan(cohens_kappa(np.zeros((2, 2))))


# ---- errors and the command ----------------------------------------------------------------------


def test_what_cannot_be_compared_is_refused(tmp_path, readers):
    one = box_folder(tmp_path / "one", READER)
    other = box_folder(tmp_path / "other", {"x": READER["1"]})
    for folders, options, reason in (
        ([one], {}, "two or more"),
        ([one, tmp_path / "absent"], {}, "must be folders"),
        ([one, other], {}, "images of the same names"),
        ([one, readers[0]], {}, "every folder must have masks, or every folder boxes"),
        ([one, one], {"kind": "meshes"}, "kind must be"),
        ([one, one], {"score_threshold": 2}, r"in \[0, 1\]"),
    ):
        with pytest.raises(dz.DentalzooError, match=reason):
            agree(folders, **options)


def test_the_command_prints_a_table(tmp_path, capsys):
    one, other = box_folder(tmp_path / "one", READER), box_folder(tmp_path / "other", OTHER)
    assert main(["agree", str(one), str(other), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "boxes of 3 images" in shown and "other against one" in shown
    assert "precision        0.5000 (" in shown and "voc_map          -" in shown
    assert main(["agree", str(one), str(other), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "boxes"
