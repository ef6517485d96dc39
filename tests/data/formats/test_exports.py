"""The same four annotated radiographs as nine tools export them: names, boxes and masks agree."""

import json

import numpy as np
import pytest

from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.io.images import write_png
from dentalzoo.data.masks import find_masks, load

HEIGHT, WIDTH = 60, 100
NAMES = ("Caries", "Crown", "Filling")  # nothing is a Crown
# image -> (class, x0, y0, x1, y1): rectangles with the corners of their polygons
OBJECTS = {
    "film 1": [("Caries", 10, 10, 30, 40), ("Filling", 50, 20, 90, 50)],
    "film 2": [("Filling", 5, 5, 25, 25)],
    "film 3": [],
    "film 4": [("Caries", 40, 30, 60, 55), ("Caries", 70, 10, 95, 35)],
}


def image(path):
    write_png(path, np.full((HEIGHT, WIDTH), 90, np.uint8))


def corners(x0, y0, x1, y1):
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def coco(path, file_name, first_id=1, heading=False):
    """COCO JSON; Roboflow begins with a category that groups the others."""
    names = [*(("teeth",) if heading else ()), *NAMES]
    categories = [
        {"id": i, "name": n, "supercategory": "none" if i == 0 or not heading else "teeth"}
        for i, n in enumerate(names, 0 if heading else first_id)
    ]
    ids = {entry["name"]: entry["id"] for entry in categories}
    images = [
        {"id": i, "file_name": file_name(name), "height": HEIGHT, "width": WIDTH}
        for i, name in enumerate(OBJECTS, first_id)
    ]
    annotations = []
    for entry, objects in zip(images, OBJECTS.values(), strict=True):
        for label, *edges in objects:
            x0, y0, x1, y1 = edges
            annotations.append(
                {
                    "id": len(annotations) + first_id,
                    "image_id": entry["id"],
                    "category_id": ids[label],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "segmentation": [corners(*edges)],
                    "iscrowd": 0,
                }
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))


def ultralytics_yolo(root):
    for name, objects in OBJECTS.items():
        image(root / "train" / "images" / f"{name}.png")
        lines = [
            f"{NAMES.index(label)} {(x0 + x1) / 2 / WIDTH} {(y0 + y1) / 2 / HEIGHT} "
            f"{(x1 - x0) / WIDTH} {(y1 - y0) / HEIGHT}"
            for label, x0, y0, x1, y1 in objects
        ]
        (root / "train" / "labels").mkdir(exist_ok=True)
        (root / "train" / "labels" / f"{name}.txt").write_text("\n".join(lines))
    names = "nc: 3\nnames: ['Caries', 'Crown', 'Filling']\n"
    text = f"train: ../train/images\nval: ../valid/images\n\n{names}"
    (root / "data.yaml").write_text(text)


def yolo_segmentation(root):
    for name, objects in OBJECTS.items():
        image(root / "images" / "train" / f"{name}.png")
        lines = []
        for label, *edges in objects:
            parts = [
                value / (HEIGHT if i % 2 else WIDTH) for i, value in enumerate(corners(*edges))
            ]
            lines.append(" ".join(map(str, [NAMES.index(label), *parts])))
        (root / "labels" / "train").mkdir(parents=True, exist_ok=True)
        (root / "labels" / "train" / f"{name}.txt").write_text("\n".join(lines))
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(NAMES))
    (root / "data.yaml").write_text(f"path: .\ntrain: images/train\nnames:\n{names}")


def coco_own(root):
    for name in OBJECTS:
        image(root / "train2017" / f"{name}.png")
    coco(root / "annotations" / "instances_train2017.json", "{}.png".format)


def cvat_coco(root):
    for name in OBJECTS:
        image(root / "images" / "default" / f"{name}.png")
    coco(root / "annotations" / "instances_default.json", "{}.png".format)


def cvat_xml(root):
    labels = "".join(f"<label><name>{n}</name><color>#fff</color></label>" for n in NAMES)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task><labels>{labels}</labels></task></meta>"
    ]
    for index, (name, objects) in enumerate(OBJECTS.items()):
        image(root / "images" / f"{name}.png")
        lines.append(f'<image id="{index}" name="{name}.png" width="{WIDTH}" height="{HEIGHT}">')
        for label, x0, y0, x1, y1 in objects:
            points = f"{x0},{y0};{x1},{y0};{x1},{y1};{x0},{y1}"
            lines.append(f'<polygon label="{label}" occluded="0" points="{points}" z_order="0"/>')
        lines.append("</image>")
    (root / "annotations.xml").write_text("\n".join([*lines, "</annotations>"]))


def label_studio_coco(root):
    for name in OBJECTS:
        image(root / "images" / f"1a2b3c4d-{name.replace(' ', '_')}.png")
    coco(
        root / "result.json",
        lambda name: f"images/1a2b3c4d-{name.replace(' ', '_')}.png",
        first_id=0,
    )


def label_studio_json(root):
    tasks = []
    for number, (name, objects) in enumerate(OBJECTS.items(), 1):
        image(root / "images" / f"{name}.png")
        results = []
        for label, *edges in objects:
            points = np.reshape(corners(*edges), (-1, 2)) / (WIDTH, HEIGHT) * 100
            results.append(
                {
                    "original_width": WIDTH,
                    "original_height": HEIGHT,
                    "image_rotation": 0,
                    "value": {"points": points.tolist(), "closed": True, "polygonlabels": [label]},
                    "id": f"r{len(results)}",
                    "from_name": "label",
                    "to_name": "image",
                    "type": "polygonlabels",
                    "origin": "manual",
                }
            )
        upload = f"/data/upload/7/1a2b3c4d-{name.replace(' ', '%20')}.png"
        annotations = [{"id": number, "was_cancelled": False, "result": results}]
        tasks.append({"id": number, "data": {"image": upload}, "annotations": annotations})
    (root / "project-7-at-2026-01-01-00-00-1a2b3c4d.json").write_text(json.dumps(tasks))


def labelme(root):
    for name, objects in OBJECTS.items():
        image(root / f"{name}.png")
        shapes = [
            {
                "label": label,
                "points": np.reshape(corners(*edges), (-1, 2)).tolist(),
                "group_id": None,
                "shape_type": "polygon",
                "flags": {},
            }
            for label, *edges in objects
        ]
        content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"{name}.png"}
        content |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
        (root / f"{name}.json").write_text(json.dumps(content))


def roboflow_coco(root):
    def name_of(name):
        return f"{name.replace(' ', '-')}_png.rf.{'0' * 31}{name[-1]}.jpg"

    for name in OBJECTS:
        image(root / "train" / name_of(name))
    coco(root / "train" / "_annotations.coco.json", name_of, heading=True)


# export -> (maker, format, whether it lists the class that nothing has, whether it has masks)
EXPORTS = {
    "Ultralytics YOLO": (ultralytics_yolo, "YOLO", True, False),
    "YOLO segmentation": (yolo_segmentation, "YOLO", True, True),
    "COCO": (coco_own, "COCO", True, True),
    "CVAT COCO": (cvat_coco, "COCO", True, True),
    "CVAT XML": (cvat_xml, "CVAT", True, True),
    "Label Studio COCO": (label_studio_coco, "COCO", True, True),
    "Label Studio JSON": (label_studio_json, "Label Studio", False, True),
    "LabelMe": (labelme, "LabelMe", False, True),
    "Roboflow COCO": (roboflow_coco, "COCO", True, True),
}


def plain(name):
    return next(key for key in OBJECTS if key[-1] == name.split(".rf.")[-1].rstrip("_pngj.")[-1])


@pytest.mark.parametrize("export", EXPORTS)
def test_names_and_boxes(export, tmp_path):
    make, form, unused, _ = EXPORTS[export]
    make(tmp_path)
    dataset = find_boxes(tmp_path, val_fraction=0)
    assert dataset.format == form and not dataset.skipped
    assert dataset.classes == (NAMES if unused else ("Caries", "Filling"))
    assert sorted(plain(s.name) for s in dataset.samples) == sorted(OBJECTS)
    for sample in dataset.samples:
        expected = OBJECTS[plain(sample.name)]
        assert [box.label for box in sample.boxes] == [label for label, *_ in expected]
        for box, (_, *edges) in zip(sample.boxes, expected, strict=True):
            found = (box.left * WIDTH, box.top * HEIGHT, box.right * WIDTH, box.bottom * HEIGHT)
            assert found == pytest.approx(edges, abs=1e-3)


@pytest.mark.parametrize("export", [e for e, row in EXPORTS.items() if row[3]])
def test_masks_by_class(export, tmp_path):
    make, _, unused, _ = EXPORTS[export]
    make(tmp_path)
    classes = NAMES if unused else ("Caries", "Filling")
    dataset = find_masks(tmp_path, classes=classes)
    assert len(dataset) == 4
    for sample in dataset.samples:
        expected = np.zeros((HEIGHT, WIDTH), int)
        for label, x0, y0, x1, y1 in OBJECTS[plain(sample.name)]:
            expected[y0:y1, x0:x1] = classes.index(label) + 1
        mask = load(sample, len(classes) + 1)["mask"][..., 0]
        np.testing.assert_array_equal(mask, expected)


def test_boxes_alone_are_no_masks(tmp_path):
    ultralytics_yolo(tmp_path)
    with pytest.raises(ValueError, match="YOLO labels"):
        find_masks(tmp_path)
