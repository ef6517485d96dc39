"""Images with boxes as TFRecord files: what is written is read back, whole or by name refused."""

import dataclasses
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from dentalzoo import cli
from dentalzoo.contracts import DataOptions
from dentalzoo.data.boxes import check_boxes, find_boxes, load_boxes, write_records
from dentalzoo.data.formats import base
from dentalzoo.data.formats.label_maps import label_map, read_label_map
from dentalzoo.data.formats.tfrecord import writer as record_writer
from dentalzoo.data.formats.vott import write_vott_v1
from dentalzoo.data.io.images import read_image
from dentalzoo.data.synthetic import write_panoramic_dataset
from dentalzoo.errors import DentalzooError
from tests.data.formats.test_voc import CLASSES, HEIGHT, WIDTH, annotation, pixels, thing, vott1
from tests.data.test_boxes import yolo
from tests.data.test_images import exif, put, text, textured

SHARDS = [f"{split}-{i:05d}-of-00002.tfrecord" for split in ("train", "val") for i in range(2)]


@pytest.fixture(autouse=True)
def _notices_anew():
    base.notice_once.cache_clear()


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    """Ten radiographs, three of them for validation."""
    folder = tmp_path_factory.mktemp("radiographs") / "radiographs"
    return write_panoramic_dataset(folder, 10, 0, 128, 256, val_fraction=0.3)


@pytest.fixture(scope="module")
def recorded(radiographs, tmp_path_factory):
    """The records of `radiographs`. Not to be changed."""
    folder = tmp_path_factory.mktemp("recorded") / "records"
    write_records(radiographs, folder, shards=2)
    return folder


def example(**features):
    """A serialised `tf.train.Example`; a double underscore stands for a slash."""
    import tensorflow as tf

    made = tf.train.Example()
    for key, values in features.items():
        feature = made.features.feature[f"image/{key.replace('__', '/')}"]
        kind = {bytes: "bytes_list", float: "float_list", int: "int64_list"}[type(values[0])]
        getattr(feature, kind).value.extend(values)
    return made.SerializeToString()


def drawn(path, *boxes, name=b"a.jpg", size=(HEIGHT, WIDTH), **more):
    """An example as others write it; boxes are (ymin, xmin, ymax, xmax)."""
    features = {"encoded": [path.read_bytes()]}
    features |= {"filename": [name]} if name else {}
    features |= {"height": [size[0]], "width": [size[1]]} if size else {}
    for key, column in zip(("ymin", "xmin", "ymax", "xmax"), zip(*boxes, strict=True), strict=True):
        features[f"object__bbox__{key}"] = list(column)
    return example(**features, **more)


def put_records(path, *records):
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def examples(folder):
    """{name: feature lists} of all records, by their own definition."""
    import tensorflow as tf

    for path in sorted(folder.glob("*.tfrecord")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            yield {
                key: list(getattr(feature, feature.WhichOneof("kind")).value)
                for key, feature in features.items()
            }


@pytest.fixture
def jpeg(tmp_path):
    path = tmp_path / "images" / "a.jpg"
    path.parent.mkdir()
    Image.fromarray(textured(0)).save(path)
    return path


BOXES = ((0.1, 0.2, 0.5, 0.4), (0.5, 0.5, 1.0, 0.75))


# ---- there and back ------------------------------------------------------------------------------


def test_a_data_set_comes_back_as_it_was(radiographs, recorded):
    before, after = find_boxes(radiographs), find_boxes(recorded)
    assert (after.format, after.skipped, after.repaired) == ("TFRecord", [], [])
    assert after.classes == before.classes
    there = {sample.name: sample for sample in after.samples}
    assert there.keys() == {sample.name for sample in before.samples}
    for sample in before.samples:
        other = there[sample.name]
        assert (other.split, other.group) == (sample.split, sample.group)
        assert [b.label for b in other.boxes] == [b.label for b in sample.boxes]
        one, same = (load_boxes(s, before.classes) for s in (sample, other))
        np.testing.assert_allclose(same["boxes"], one["boxes"], rtol=0, atol=1e-7)
        assert np.abs(same["image"].astype(int) - one["image"]).mean() < 2  # JPEG


def test_the_files_are_those_of_the_object_detection_api(radiographs, recorded):
    assert sorted(path.name for path in recorded.iterdir()) == sorted(
        ["label_map.pbtxt", "records.json", *SHARDS]
    )
    assert tuple(read_label_map(recorded / "label_map.pbtxt")) == find_boxes(radiographs).classes
    numbers, found = [], find_boxes(radiographs)
    truth = {sample.image.relative_to(radiographs).as_posix(): sample for sample in found.samples}
    for features in examples(recorded):
        encoded = features["image/encoded"][0]
        assert features["image/format"] == [b"jpeg"] and encoded.startswith(b"\xff\xd8\xff")
        assert features["image/key/sha256"] == [hashlib.sha256(encoded).hexdigest().encode()]
        assert (features["image/height"], features["image/width"]) == ([128], [256])
        numbers.append(int(features["image/source_id"][0]))
        sample = truth[features["image/filename"][0].decode()]
        assert ("image/object/class/text" in features) == bool(sample.boxes)
        if sample.boxes:
            names = [box.label for box in sample.boxes]
            assert features["image/object/class/text"] == [name.encode() for name in names]
            ids = [found.classes.index(name) + 1 for name in names]
            assert features["image/object/class/label"] == ids
            for key, edge in zip(("ymin", "xmax"), ("top", "right"), strict=True):
                edges = np.float32([getattr(box, edge) for box in sample.boxes])
                assert np.array_equal(np.float32(features[f"image/object/bbox/{key}"]), edges)
    assert sorted(numbers) == list(range(1, 11))


def test_the_decoder_of_the_model_garden_reads_them(recorded):
    import tensorflow as tf

    from dentalzoo.models.panoramic_detection.keras2_bridge import vision

    decoder = vision("dataloaders.tf_example_decoder").TfExampleDecoder()
    found = find_boxes(recorded)
    files = [str(recorded / name) for name in SHARDS]
    decoded = tf.data.TFRecordDataset(files).map(decoder.decode).as_numpy_iterator()
    for sample, row in zip(found.samples, decoded, strict=True):
        loaded = load_boxes(sample, found.classes)
        np.testing.assert_array_equal(row["groundtruth_boxes"], loaded["boxes"])
        np.testing.assert_array_equal(row["groundtruth_classes"], loaded["labels"])
        assert row["image"].shape == loaded["image"].shape == (row["height"], row["width"], 3)
        assert np.abs(row["image"].astype(int) - loaded["image"]).mean() < 2  # other JPEG decoder
        assert row["source_id"].isdigit() and not row["groundtruth_is_crowd"].any()


def test_training_reads_them(radiographs, recorded):
    from dentalzoo.models import panoramic_detection as paper

    config = dataclasses.replace(paper.VARIANTS["tiny"], classes=find_boxes(radiographs).classes)
    one, other = (
        list(paper.make_dataset(folder, config, DataOptions("train")).dataset.as_numpy_iterator())
        for folder in (radiographs, recorded)
    )
    for rows, same in zip(one, other, strict=True):
        np.testing.assert_allclose(same["boxes"], rows["boxes"], atol=1e-7)
        np.testing.assert_array_equal(same["classes"], rows["classes"])
        assert np.abs(same["image"] - rows["image"]).mean() < 0.01


def test_an_export_of_vott_1_goes_to_records_and_to_vott_1(tmp_path):
    export, out = vott1(tmp_path / "export"), tmp_path / "records"
    write_records(export, out)
    before, after = find_boxes(export), find_boxes(out)
    assert before.classes == after.classes == CLASSES
    names = (export / "pascal_label_map.pbtxt", out / "label_map.pbtxt")
    assert [*map(read_label_map, names)] == [list(CLASSES)] * 2
    project = write_vott_v1(tmp_path / "radiographs.json", after.samples, after.classes)
    shutil.copytree(export / "JPEGImages", tmp_path / "again" / "radiographs")
    shutil.copy(project, tmp_path / "again")
    again = find_boxes(tmp_path / "again")
    assert again.classes == CLASSES and again.skipped == again.repaired == []
    truth = {s.image.name: s.boxes for s in before.samples}
    for found in (after, again):
        assert {s.image.name for s in found.samples} == truth.keys()
        for sample in found.samples:
            boxes = truth[sample.image.name]
            assert [b.label for b in sample.boxes] == [b.label for b in boxes]
            assert [*map(pixels, sample.boxes)] == [*map(pixels, boxes)]
    assert sum(map(len, truth.values())) == 3  # one image shows nothing


def test_records_of_records_are_the_same(recorded, tmp_path):
    write_records(recorded, tmp_path / "again", shards=1)
    one, other = find_boxes(recorded), find_boxes(tmp_path / "again")
    there = {sample.name: sample for sample in other.samples}
    for sample in one.samples:
        assert there[sample.name].boxes == sample.boxes
        assert there[sample.name].image.open("rb").read() == sample.image.open("rb").read()


def test_marks_of_boxes_come_back(tmp_path):
    put(tmp_path, "voc/images/a.png")
    boxes = (thing("root", 1, 1, 9, 9, "<difficult>1</difficult>"), thing("root", 20, 20, 40, 40))
    text(tmp_path / "voc" / "a.xml", annotation("a.png", *boxes))
    write_records(tmp_path / "voc", tmp_path / "out")
    assert [box.difficult for box in find_boxes(tmp_path / "out").samples[0].boxes] == [True, False]


def test_masks_of_objects_are_not_read_and_this_is_said(tmp_path, jpeg, caplog):
    more = {"object__class__text": [b"root"] * 2, "object__mask": [b"png"] * 2}
    put_records(tmp_path / "records" / "a.tfrecord", drawn(jpeg, *BOXES, **more))
    assert len(find_boxes(tmp_path / "records").samples[0].boxes) == 2
    assert sum("image/object/mask of the records is not read" in m for m in caplog.messages) == 1


# ---- images ------------------------------------------------------------------------------------


def encoded(data, tmp_path, **options):
    """{file name: (content, the image as it is read)} of the records of a folder."""
    write_records(data, tmp_path / "out", **options)
    found = find_boxes(tmp_path / "out")
    return {s.image.name: (s.image.open("rb").read(), read_image(s.image)) for s in found.samples}


def test_a_jpeg_is_taken_as_it_is_and_all_else_is_encoded(tmp_path):
    data = yolo(tmp_path / "data", "a", "b", "c", "d", "e")
    paths = {name: data / "images" / f"{name}.png" for name in "abcde"}
    img = Image.fromarray(textured(0))
    img.save(paths["a"], format="JPEG")
    img.convert("L").save(paths["b"], format="JPEG")
    img.convert("CMYK").save(paths["c"], format="JPEG")
    deep = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 6
    Image.fromarray(deep).save(paths["d"])
    found = encoded(data, tmp_path, quality=100)
    for name, path in paths.items():
        content, image = found[path.name]
        assert content.startswith(b"\xff\xd8\xff")
        assert (content == path.read_bytes()) == (name in "ab")
        assert np.abs(image.astype(int) - read_image(path)).mean() < 3
    assert found["d.png"][1].shape == (HEIGHT, WIDTH, 1)


@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_a_turned_image_is_written_upright(tmp_path, orientation):
    put(tmp_path, "data/images/a.jpg")
    upright = read_image(tmp_path / "data" / "images" / "a.jpg")
    size = exif(tmp_path / "data" / "images" / "a.jpg", orientation)
    box = {"xmin": 11, "ymin": 21, "xmax": 40, "ymax": 60}
    text(tmp_path / "data" / "a.xml", annotation("a.jpg", thing("root", *box.values())))
    (content, image), *_ = encoded(tmp_path / "data", tmp_path).values()
    assert (size != upright.shape[:2]) == (orientation >= 5)
    assert b"Exif" not in content[:64]
    assert np.abs(image.astype(int) - upright).mean() < 8
    (sample,) = find_boxes(tmp_path / "out").samples
    assert pixels(sample.boxes[0]) == (10, 20, 40, 60)


def test_clahe_is_that_of_opencv_on_the_grey_image(tmp_path):
    data = yolo(tmp_path / "data", "a")
    Image.fromarray(textured(0, 256, 320)).save(data / "images" / "a.png")
    (_, image), *_ = encoded(data, tmp_path, clahe=True, quality=100).values()
    grey = read_image(data / "images" / "a.png", 1)[..., 0]
    expected = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(16, 16)).apply(grey)
    assert image.shape == (256, 320, 1)
    assert np.abs(image[..., 0].astype(int) - expected).max() <= 3  # JPEG
    assert np.abs(grey.astype(int) - expected).mean() > 5


def test_images_without_boxes_stay_unless_they_are_skipped(tmp_path):
    data = yolo(tmp_path / "data", "a", "b", lines=("0 0.5 0.5 0.5 0.5", "1 0.5 0.5 0.2 0.2"))
    text(data / "labels" / "b.txt")
    kept = write_records(data, tmp_path / "all", val_fraction=0)
    skipped = write_records(data, tmp_path / "some", skip_empty=True, classes=["Implant"])
    assert (kept.written, skipped.written) == (2, 1)
    assert [len(s.boxes) for s in find_boxes(tmp_path / "all").samples] == [2, 0]
    found = find_boxes(tmp_path / "some")
    assert found.classes == ("Implant",) and [s.name for s in found.samples] == ["a"]
    with pytest.raises(DentalzooError, match="no image has a box of the classes Crown"):
        text(data / "labels" / "a.txt", "1 0.5 0.5 0.2 0.2")
        write_records(data, tmp_path / "none", skip_empty=True, classes=["Crown"])


def test_bad_images_are_named_and_left_out(tmp_path, capsys):
    data = yolo(tmp_path / "data", "a", "b", "c")
    path = data / "images" / "b.png"
    path.write_bytes(path.read_bytes()[:2000])
    assert cli.main(["tfrecord", str(data), str(tmp_path / "out"), "--shards", "2"]) == 1
    shown = capsys.readouterr()
    assert shown.out == f"2 written to {tmp_path / 'out'}, 1 failed\n"
    assert "skipped b: damaged" in shown.err
    again = write_records(data, tmp_path / "out", shards=2)
    assert again.written == 2 and [name for name, _ in again.failed] == ["b"]
    assert {s.name for s in find_boxes(tmp_path / "out").samples} == {"a", "c"}
    for name in "ac":
        shutil.copy(path, data / "images" / f"{name}.png")
    with pytest.raises(DentalzooError, match="none of 3 images can be used. Received: "):
        write_records(data, tmp_path / "none")


# ---- going on ------------------------------------------------------------------------------------


def test_what_was_interrupted_goes_on_at_the_first_missing_file(
    radiographs, recorded, tmp_path, monkeypatch
):
    out, made = tmp_path / "out", []
    encode = record_writer.ShardWriter.encode

    def counted(self, item):
        if len(made) == 6:
            raise KeyboardInterrupt
        made.append(item[1].name)
        return encode(self, item)

    monkeypatch.setattr(record_writer.ShardWriter, "encode", counted)
    with pytest.raises(KeyboardInterrupt):
        write_records(radiographs, out, shards=2)
    there = [path.name for path in out.glob("*.tfrecord")]
    assert there == SHARDS[:1] and not list(out.glob(".*"))
    stamp = (out / SHARDS[0]).stat().st_mtime_ns
    (out / f".{SHARDS[1]}.123.tmp").write_bytes(b"what a killed process leaves")
    found = check_boxes(out)
    missing = ["train-00001-of-00002.tfrecord", "1 of 2 shards missing, this one first"]
    assert found["usable"] == 3 and found["skipped"] == [missing]

    made.clear()
    monkeypatch.setattr(
        record_writer.ShardWriter, "encode", lambda *a: made.append(0) or encode(*a)
    )
    assert write_records(radiographs, out, shards=2).written == 10
    assert len(made) == 7 and (out / SHARDS[0]).stat().st_mtime_ns == stamp
    for path in recorded.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name
    assert not list(out.glob(".*"))
    assert write_records(radiographs, out, shards=2).written == 10 and len(made) == 7


@pytest.mark.slow
def test_what_was_killed_goes_on(tmp_path):
    radiographs = write_panoramic_dataset(tmp_path / "radiographs", 24, 0, 256, 512)
    write_records(radiographs, tmp_path / "whole", shards=12)
    out, command = tmp_path / "out", [sys.executable, "-m", "dentalzoo", "records"]
    for _ in range(2):
        before = len(list(out.glob("*.tfrecord")))
        process = subprocess.Popen([*command, radiographs, out, "--shards", "12"])
        while len(list(out.glob("*.tfrecord"))) < before + 2 and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert write_records(radiographs, out, shards=12).written == 24
    for path in (tmp_path / "whole").iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize(
    "other", [{"clahe": True}, {"quality": 80}, {"shards": 3}, {"classes": ["implant"]}]
)
def test_other_settings_are_not_mixed_in(radiographs, recorded, other):
    with pytest.raises(DentalzooError, match="holds records of other images or settings$"):
        write_records(radiographs, recorded, **{"shards": 2, **other})


def test_other_images_are_not_mixed_in(tmp_path):
    data = yolo(tmp_path / "data", "a", "b")
    write_records(data, tmp_path / "out")
    text(data / "labels" / "a.txt", "0 0.5 0.5 0.1 0.1")
    with pytest.raises(DentalzooError, match="records of other images or settings"):
        write_records(data, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    text(tmp_path / "mine" / "thesis.txt", "text")
    with pytest.raises(DentalzooError, match="which holds thesis.txt"):
        write_records(data, tmp_path / "mine")
    with pytest.raises(DentalzooError, match="which holds inputs"):
        write_records(data, data / "images")


@pytest.mark.parametrize("bad", [{"shards": 0}, {"quality": 101}, {"shards": 2.0}])
def test_arguments_out_of_place(radiographs, tmp_path, bad):
    with pytest.raises(DentalzooError, match="must be an integer from 1 to .* Received: "):
        write_records(radiographs, tmp_path / "out", **bad)
    assert not (tmp_path / "out").exists()


# ---- damage --------------------------------------------------------------------------------------


def copied(recorded, tmp_path):
    return shutil.copytree(recorded, tmp_path / "copy")


@pytest.mark.parametrize(
    ("damage", "what"),
    [("cut", "truncated"), ("flipped", "corrupted"), ("length", "corrupted")],
)
def test_a_damaged_file_is_named_and_what_lies_before_is_read(recorded, tmp_path, damage, what):
    folder = copied(recorded, tmp_path)
    path = folder / SHARDS[0]
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[-10:]
    else:
        content[len(content) - 2000 if damage == "flipped" else 3] ^= 1
    path.write_bytes(content)
    found = find_boxes(folder)
    ((name, reason),) = found.skipped
    count = 1 if damage == "length" else 3
    assert name == f"{SHARDS[0]}, record {count}" and reason.startswith("damaged, cut off")
    assert len(found) == 10 - (4 - count) and f"Received: {what} record at " in reason


def test_files_without_records_and_lost_files_are_named(recorded, tmp_path, capsys):
    folder = copied(recorded, tmp_path)
    (folder / SHARDS[0]).write_bytes(b"")
    (folder / SHARDS[1]).write_bytes(b"no records at all, but some text that goes on and on")
    (folder / SHARDS[2]).unlink()
    assert cli.main(["check", "--boxes", "--json", str(folder)]) == 1
    report = json.loads(capsys.readouterr().out)
    reasons = dict(report["skipped"])
    assert reasons[f"{SHARDS[0]}, record 1"] == "must hold records. Received: an empty file"
    assert reasons[f"{SHARDS[1]}, record 1"].startswith("damaged, cut off or compressed")
    assert reasons[SHARDS[2]] == "1 of 2 shards missing, this one first"
    assert (report["format"], report["usable"], len(reasons)) == ("TFRecord", 2, 3)


def test_lost_files_of_many_are_one_line(tmp_path, jpeg):
    record = drawn(jpeg, *BOXES, object__class__label=[1, 2])
    put_records(tmp_path / "x.record-000000001-of-999999999", record)
    shutil.rmtree(jpeg.parent)
    ((name, reason),) = find_boxes(tmp_path).skipped
    assert name == "x.record-000000000-of-999999999"
    assert reason.startswith("999999998 of 999999999 shards missing")


def test_a_full_disk_is_told_and_leaves_nothing_half(radiographs, tmp_path, monkeypatch):
    import tensorflow as tf

    def write(self, record):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.io.TFRecordWriter, "write", write)
    with pytest.raises(DentalzooError, match="Received: No space left on device$"):
        write_records(radiographs, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "records.json",
        "label_map.pbtxt",
    }


def test_a_file_that_is_cut_after_it_was_found(recorded, tmp_path):
    folder = copied(recorded, tmp_path)
    found = find_boxes(folder)
    (folder / SHARDS[0]).write_bytes(b"")
    with pytest.raises(DentalzooError, match="an empty file"):
        load_boxes(found.samples[0], found.classes)
    (folder / SHARDS[0]).unlink()
    with pytest.raises(DentalzooError, match="no such file"):
        load_boxes(found.samples[0], found.classes)


def test_folders_of_damaged_records_alone(tmp_path):
    (tmp_path / "train.tfrecord").write_bytes(b"text")
    with pytest.raises(DentalzooError, match=r"Received: train.tfrecord; the first skipped: "):
        find_boxes(tmp_path)


# ---- records of others ---------------------------------------------------------------------------


def test_the_text_decides_where_labels_count_from_0(tmp_path, jpeg):
    record = drawn(jpeg, *BOXES, object__class__text=[b"root", b"implant"])
    record += example(object__class__label=[0, 1])
    put_records(tmp_path / "data" / "x_train.record-00000-of-00001", record)
    text(tmp_path / "data" / "tf_label_map.pbtxt", label_map(CLASSES))
    found = find_boxes(tmp_path / "data")
    (sample,) = found.samples
    assert (found.classes, sample.name, sample.split) == (CLASSES, "a", "train")
    assert [(b.label, pixels(b)) for b in sample.boxes] == [
        ("root", (24, 9, 48, 45)),
        ("implant", (60, 45, 90, 90)),
    ]
    assert np.array_equal(load_boxes(sample, CLASSES)["image"], read_image(jpeg))
    assert load_boxes(sample, CLASSES)["labels"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("names", "labels", "classes"),
    [
        ("item { id: 7 name: 'pore' } item { id: 2 name: 'crack' }", ["pore", "crack"], 2),
        ("", ["7", "2"], 2),
    ],
)
def test_labels_alone_are_ids(tmp_path, jpeg, names, labels, classes):
    put_records(tmp_path / "x.tfrecord", drawn(jpeg, *BOXES, object__class__label=[7, 2]))
    if names:
        text(tmp_path / "map.pbtxt", names)
    shutil.rmtree(jpeg.parent)
    found = find_boxes(tmp_path)
    assert [box.label for box in found.samples[0].boxes] == labels
    assert len(found.classes) == classes


def test_records_without_name_or_size_and_names_that_are_there_twice(tmp_path, jpeg):
    boxes = {"object__class__text": [b"root"]}
    records = [
        drawn(jpeg, BOXES[0], name=name, size=size, **boxes)
        for name, size in ((b"", None), (b"", (HEIGHT, WIDTH)), (b"..\\x\\1.jpg", None))
    ]
    put_records(tmp_path / "data" / "one.tfrecord", *records)
    put_records(tmp_path / "data" / "two.tfrecord", records[2], records[2])
    found = find_boxes(tmp_path / "data")
    assert found.skipped == found.repaired == [] and len({s.name for s in found.samples}) == 5
    assert all(s.image.is_relative_to(tmp_path / "data") for s in found.samples)
    assert {pixels(s.boxes[0]) for s in found.samples} == {(24, 9, 48, 45)}


def test_boxes_of_a_image_that_is_stored_turned(tmp_path, jpeg):
    """Who decodes without EXIF draws on the stored image, which the size tells."""
    size = exif(jpeg, 6)
    record = drawn(jpeg, (0.1, 0.2, 0.5, 0.4), size=size, object__class__text=[b"root"])
    put_records(tmp_path / "data" / "x.tfrecord", record)
    found = find_boxes(tmp_path / "data")
    assert "turned upright" in found.repaired[0][1]
    # Stored (y, x) lies upright at (x, 1 - y).
    assert pixels(found.samples[0].boxes[0], 1, 1) == (0.5, 0.2, 0.9, 0.4)


def test_what_cannot_be_used_is_named_and_the_rest_is_read(tmp_path, jpeg):
    label = {"object__class__text": [b"root"]}
    png = jpeg.with_suffix(".png")
    png.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    put_records(
        tmp_path / "data" / "x.tfrecord",
        drawn(jpeg, (0.1, 0.2, 0.5, 1.005), **label),
        b"\xff\xff\xff no message",
        example(filename=[b"b.jpg"]),
        drawn(jpeg, *BOXES, name=b"c.jpg", **label),
        drawn(jpeg, BOXES[0], name=b"d.jpg", **label) + example(object__bbox__xmin=[0.1, 0.2]),
        drawn(png, BOXES[0], name=b"e.png", **label),
        drawn(jpeg, BOXES[0], name=b"f.jpg", size=(50, 400), **label),
        drawn(
            jpeg, (0.1, 0.2, 0.1, 0.4), BOXES[0], name=b"g.jpg", object__class__text=[b"root"] * 2
        ),
    )
    found = find_boxes(tmp_path / "data")
    assert [s.name for s in found.samples] == ["a", "g"]
    assert [name for name, _ in found.repaired] == ["x.tfrecord, record 1, box 1"]
    reasons = [
        ("record 2", "must be a tf.train.Example"),
        ("record 3", "must have image/encoded. Received: image/filename"),
        ("record 4", "must have a class for each of 2 boxes. Received: 1"),
        ("record 5", "must have as many ymin, xmin, ymax, xmax as boxes. Received: [1, 2, 1, 1]"),
        ("e.png", "damaged or of an unknown kind"),
        ("record 7", "must have the size of f.jpg, 120 x 90"),
        ("record 8, box 1", "a box must have an area"),
    ]
    assert len(found.skipped) == len(reasons)
    for (name, reason), (place, told) in zip(found.skipped, reasons, strict=True):
        assert name.endswith(place) and reason.startswith(told)
