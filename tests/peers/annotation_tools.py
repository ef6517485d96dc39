"""Read and write projects with the libraries of the tools, without this package.

`python annotation_tools.py read NAME FOLDER` prints {image: [[label, kind, left, top, right,
bottom, pixels], ...]}; `write NAME FOLDER` writes one. NAME is the name of a function below.
"""

import json
import sys
from pathlib import Path

import numpy as np


def ring():
    inside = np.zeros((40, 60), bool)
    inside[5:20, 30:50] = True
    inside[8:12, 35:41] = False
    return inside


def read_labelme(folder):
    from labelme._label_file import LabelFile

    found = {}
    for path in sorted(folder.glob("images/*.json")):
        file = LabelFile(str(path))
        found[Path(file.imagePath).stem] = [
            [
                shape["label"],
                shape["shape_type"],
                *np.min(shape["points"], 0).tolist(),
                *np.max(shape["points"], 0).tolist(),
                0 if shape["mask"] is None else int(shape["mask"].sum()),
            ]
            for shape in file.shapes
        ]
    return found


def read_supervision(folder):
    import supervision

    images = str(folder / "images")
    return in_pixels(supervision.DetectionDataset.from_labelme(images, images))


def read_yolo(folder):
    import supervision

    images, labels = (str(folder / name / "train") for name in ("images", "labels"))
    data = supervision.DetectionDataset.from_yolo(images, labels, str(folder / "data.yaml"))
    return in_pixels(data)


def read_coco(folder):
    import supervision

    (annotations,) = folder.glob("annotations/*.json")
    images = str(folder / "images" / "train")
    return in_pixels(supervision.DetectionDataset.from_coco(images, str(annotations)))


def read_voc(folder):
    import supervision

    images, annotations = (str(folder / name) for name in ("JPEGImages", "Annotations"))
    return in_pixels(supervision.DetectionDataset.from_pascal_voc(images, annotations))


def in_pixels(data):
    return {
        Path(path).stem: [
            [data.classes[number], "", *map(float, edges), 0]
            for number, edges in zip(detections.class_id, detections.xyxy, strict=True)
        ]
        for path, _, detections in data
    }


def read_cvat(folder):
    import datumaro

    data = datumaro.Dataset.import_from(str(folder), "cvat")
    names = [label.name for label in data.categories()[datumaro.AnnotationType.label]]
    found = {"": names}
    for item in data:
        found[item.id] = []
        for one in item.annotations:
            left, top, width, height = map(float, one.get_bbox())
            kind = one.type.name
            pixels = int(one.image.sum()) if kind == "mask" else 0
            edges = [left, top, left + width, top + height]
            found[item.id].append([names[one.label], kind, *edges, pixels])
    return found


def read_label_studio(folder):
    from label_studio_sdk.converter import Converter, brush
    from label_studio_sdk.label_interface import LabelInterface

    config = (folder / "config.xml").read_text(encoding="utf-8")
    tasks = json.loads((folder / "tasks.json").read_text(encoding="utf-8"))
    found = {"": sorted(LabelInterface(config).get_control("box").labels)}
    for task in tasks:
        own = found[task["data"]["image"].rpartition("/")[2]] = []
        for region in task["annotations"][0]["result"]:
            if region["type"] == "brushlabels":
                size = (region["original_height"], region["original_width"], 4)
                rows, columns = np.nonzero(
                    brush.decode_rle(region["value"]["rle"]).reshape(size)[..., 3]
                )
                edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                label = region["value"]["brushlabels"][0]
                own.append([label, "mask", *map(float, edges), len(rows)])
    out = folder.parent / "label_studio_coco"
    converter = Converter(config, str(folder), download_resources=False)
    converter.convert_to_coco(
        str(folder / "tasks.json"), str(out), output_image_dir=str(out / "images"), is_dir=False
    )
    coco = json.loads((out / "result.json").read_text(encoding="utf-8"))
    labels = {one["id"]: one["name"] for one in coco["categories"]}
    images = {one["id"]: one["file_name"].rpartition("/")[2] for one in coco["images"]}
    for one in coco["annotations"]:
        left, top, width, height = one["bbox"]
        kind = "polygon" if one["segmentation"] else "box"
        edges = [left, top, left + width, top + height]
        found[images[one["image_id"]]].append([labels[one["category_id"]], kind, *edges, 0])
    return found


def read_supervisely(folder):
    import supervisely

    project = supervisely.Project(str(folder), supervisely.OpenMode.READ)
    found = {"": [one.name for one in project.meta.obj_classes]}
    for dataset in project.datasets:
        for name in dataset:
            found[Path(name).stem] = own = []
            for label in dataset.get_ann(name, project.meta).labels:
                box, kind = label.geometry.to_bbox(), label.geometry.geometry_name()
                pixels = int(label.geometry.data.sum()) if kind == "bitmap" else 0
                edges = [box.left, box.top, box.right + 1, box.bottom + 1]
                if kind == "polygon":  # of centres of pixels
                    edges = [value + 0.5 for value in (box.left, box.top, box.right, box.bottom)]
                own.append([label.obj_class.name, kind, *map(float, edges), pixels])
    return found


def write_cvat(folder):
    import datumaro
    from datumaro.components.media import Image

    media = [Image.from_numpy(np.zeros((40, 60, 3), np.uint8)) for _ in range(2)]
    shapes = [
        datumaro.Bbox(6, 8, 18, 16, label=0),
        datumaro.Polygon([6, 4, 30, 4, 30, 24], label=1),
        datumaro.Mask(ring(), label=1),
    ]
    items = [
        datumaro.DatasetItem("a", subset="train", media=media[0], annotations=shapes),
        datumaro.DatasetItem("b", subset="test", media=media[1], annotations=[]),
    ]
    data = datumaro.Dataset.from_iterable(items, categories=["x", "y", "unused"])
    data.export(str(folder), "cvat", save_media=True)


def write_supervisely(folder):
    import supervisely as sly

    kinds = [sly.ObjClass(name, sly.AnyGeometry) for name in ("x", "y", "unused")]
    project = sly.Project(str(folder), sly.OpenMode.CREATE)
    project.set_meta(sly.ProjectMeta(kinds))
    image = np.zeros((40, 60, 3), np.uint8)
    labels = [
        sly.Label(sly.Rectangle(8, 6, 23, 23), kinds[0]),
        sly.Label(sly.Polygon([(4, 6), (4, 30), (24, 30)], []), kinds[1]),
        sly.Label(sly.Bitmap(ring()[5:20, 30:50], origin=sly.PointLocation(5, 30)), kinds[1]),
    ]
    train, test = project.create_dataset("train"), project.create_dataset("test")
    train.add_item_np("a.png", image, sly.Annotation((40, 60), labels))
    test.add_item_np("b.png", image, sly.Annotation((40, 60), []))


def write_brushes(folder):
    from label_studio_sdk.converter import brush

    rng = np.random.default_rng(0)
    folder.mkdir()
    pairs = []
    for _ in range(50):
        mask = ((rng.random((23, 31)) < rng.random()) * 255).astype(np.uint8)
        pairs.append((mask.tolist(), brush.mask2rle(mask)))
    (folder / "brushes.json").write_text(json.dumps(pairs))


if __name__ == "__main__":
    result = globals()["_".join(sys.argv[1:3])](Path(sys.argv[3]))
    print("\n" + json.dumps(result))
