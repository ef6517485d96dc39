"""Random damage to YOLO, COCO and DENTEX files: read, or refused in one line, never a traceback."""

import json
import os
import random

import pytest

from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.masks import find_masks, load
from dentalzoo.errors import DentalzooError
from tests.data.formats.tool_samples import HEIGHT, WIDTH, put

MANY = 2000 if os.environ.get("DENTALZOO_ALL_SETS") else 300
VALUES = (None, True, -1, 0, 1.5, 1e20, float("nan"), float("inf"), "", "a", [], [1], {}, {"a": 1})
VALUES += ([[0.1, 0.2, 0.3, 0.4]], {"size": [HEIGHT, WIDTH], "counts": "0PP"}, "../../a.png")
VALUES += ({"size": [1e9, 1e9], "counts": [1]}, {"size": "ab", "counts": None}, "/data/upload/")
WORDS = ("nan", "inf", "1e400", "0,5", "abc", "2", "\x00", "é", "9" * 30, "-0", "-1", "1.0")
SETTINGS = (
    *("names: [a, b]", "names: {0: a, 1: b}", "names: *a", "names: [[a]]", "names: {null: a}"),
    *("nc: 2", "nc: x", "train: train.txt", "val: ../val/images", "test: [x, {}]", "path: .."),
    *("kpt_shape: [2, 3]", "kpt_shape: [a]", "task: obb", "task: segment", "? [1]", "- 1", "\t"),
    *("!!python/object/apply:os.system ['x']", "names: " + "[" * 3000, "train:\n- .\n- images"),
)
LISTS = (b"images/0.png\n", b"\x00\xff", b"", b"../../0.png\n", b"\xff\xfe", b"0.png\n0.png\n")
NAMES = ('{"categories":3}', '{"categories":[{"id":"x","name":null}]}', '["a"]', "a\n\nb\n", "[[")


def coco(rng):
    polygon = [[3, 4, 13, 4, 13, 16]]
    return {
        "images": [
            {"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT} for i in (0, 1)
        ],
        "categories": [{"id": i, "name": str(i), "supercategory": "x"} for i in (1, 2)],
        "annotations": [
            {"id": i, "image_id": i % 2, "category_id": 1, "bbox": [3, 4, 10, 12], "area": 120}
            | {"iscrowd": 0, "segmentation": polygon}
            for i in range(4)
        ],
    }


def dentex(rng):
    content = coco(rng)
    del content["categories"]
    content["categories_1"] = [{"id": i, "name": str(i + 1)} for i in range(4)]
    content["categories_2"] = [{"id": i, "name": i + 1} for i in range(8)]
    if rng.random() < 0.5:
        content["categories_3"] = [{"id": 0, "name": "Caries"}]
    for entry in content["annotations"]:
        entry |= {"category_id_1": 0, "category_id_2": 3, "category_id_3": 0}
    return content


def changed(value, rng):
    """A copy with some values replaced, left out or doubled."""
    if rng.random() < 0.015:
        return rng.choice(VALUES)
    if isinstance(value, dict):
        return {k: changed(v, rng) for k, v in value.items() if rng.random() > 0.007}
    if isinstance(value, list):
        kept = [changed(v, rng) for v in value if rng.random() > 0.007]
        return [*kept, rng.choice(kept)] if kept and rng.random() < 0.03 else kept
    return value


def damage_json(folder, rng, make):
    text = json.dumps(changed(make(rng), rng))
    if rng.random() < 0.1:
        place = rng.randrange(len(text))
        text = text[:place] + chr(rng.randrange(256)) + text[place + rng.randrange(2) :]
    text = text[: rng.randrange(len(text))] if rng.random() < 0.05 else text
    name = rng.choice(("_annotations.coco.json", "result.json", "instances_train.json"))
    (folder / name).write_text(text, encoding="utf-8")


def damage_yolo(folder, rng):
    (folder / "labels").mkdir(exist_ok=True)
    count = rng.choice((5, 5, 6, 7, 8, 9, 11, 13))
    for name in "01":
        lines = []
        for _ in range(rng.randrange(4)):
            length = count if rng.random() < 0.7 else rng.randrange(1, 14)
            words = [f"{rng.random():.3f}" if i else str(rng.randrange(3)) for i in range(length)]
            lines.append(" ".join(rng.choice(WORDS) if rng.random() < 0.04 else w for w in words))
        (folder / "labels" / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    if rng.random() < 0.6:
        lines = rng.sample(SETTINGS, rng.randrange(1, 5))
        (folder / rng.choice(("data.yaml", "x.yml"))).write_text("\n".join(lines))
    if rng.random() < 0.3:
        (folder / "obj.data").write_text("train = train.txt\nnames = x\nvalid= /a/../..\n")
        (folder / "obj.names").write_text("a\nb\n")
    if rng.random() < 0.3:
        (folder / "train.txt").write_bytes(rng.choice(LISTS))
    if rng.random() < 0.3:
        name = rng.choice(("notes.json", "classes.txt", "classes.json"))
        (folder / name).write_text(rng.choice(NAMES))


def clear(folder):
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".png":
            path.unlink()


MAKERS = {
    "YOLO": damage_yolo,
    "COCO": lambda folder, rng: damage_json(folder, rng, coco),
    "DENTEX": lambda folder, rng: damage_json(folder, rng, dentex),
}


@pytest.mark.parametrize(
    "seeds", [range(15), pytest.param(range(15, MANY), marks=pytest.mark.slow)], ids=("few", "many")
)
@pytest.mark.parametrize("form", MAKERS)
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, form, seeds):
    put(tmp_path / "images", "0.png", "1.png")
    results = set()
    for seed in seeds:
        clear(tmp_path)
        MAKERS[form](tmp_path, random.Random(seed))
        for read in (
            lambda: find_boxes(tmp_path, outlines=True),
            lambda: [load(sample) for sample in find_masks(tmp_path).samples],
        ):
            try:
                read()
                results.add("read")
            except DentalzooError as error:
                assert "\n" not in str(error), seed
                results.add("refused")
    assert results == {"read", "refused"}
