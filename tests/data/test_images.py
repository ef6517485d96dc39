import json
import logging
import unicodedata

import cv2
import numpy as np
import pytest
from PIL import Image

from dentalzoo.data import images as images
from dentalzoo.data.crops import (
    Region,
    blob_regions,
    box_regions,
    enclosed_regions,
    shrink_mask,
    square,
)
from dentalzoo.data.duplicates import find_duplicates, perceptual_hash, perceptual_hashes
from dentalzoo.data.formats import base
from dentalzoo.data.formats.base import ImageAnnotation, RawBox
from dentalzoo.data.images import CROPS, check_images, find_images, load_image
from dentalzoo.data.io.decode import upright
from dentalzoo.data.io.images import write_png
from dentalzoo.data.synthetic import defect, tooth_photo, write_defect_dataset, write_tooth_photos
from dentalzoo.errors import BadFile, DentalzooError, MissingSplit
from tests.hostile import make_hostile

HEIGHT, WIDTH = 90, 120


@pytest.fixture(autouse=True)
def _notices_anew():
    base.notice_once.cache_clear()


def textured(seed, height=HEIGHT, width=WIDTH):
    """A smooth RGB image, as unlike another seed's as two photographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def put(root, *names, height=HEIGHT, width=WIDTH):
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(textured(seed, height, width)).save(path)


def text(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def drawing(*boxes, height=HEIGHT, width=WIDTH, gap=0):
    """White ellipses in boxes (top, left, bottom, right), each with a gap in its line."""
    lines = np.zeros((height, width), np.uint8)
    for top, left, bottom, right in boxes:
        centre, axes = ((left + right) // 2, (top + bottom) // 2), (right - left, bottom - top)
        cv2.ellipse(lines, centre, (axes[0] // 2, axes[1] // 2), 0, 0, 360, 255, 1)
        lines[centre[1] : centre[1] + gap, right - 4 : right + 4] = 0
    return lines


def exif(path, orientation):
    """Saves an image so that it is stored turned and shown as it was."""
    shown = np.asarray(Image.open(path))
    inverse = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    tags = Image.Exif()
    tags[274] = orientation
    stored = np.ascontiguousarray(upright(shown, inverse))
    Image.fromarray(stored).save(path, exif=tags)
    return stored.shape[:2]


def names(dataset):
    return [sample.name for sample in dataset.samples]


def by_split(dataset):
    found = {}
    for sample in dataset.samples:
        found.setdefault(sample.split, []).append(sample.name)
    return found


# -- whole images -------------------------------------------------------------------------------


def test_a_flat_folder_of_photographs(tmp_path):
    write_tooth_photos(tmp_path / "teeth", 20, size=32)
    dataset = find_images(tmp_path / "teeth")
    assert len(dataset) == 20 and dataset.skipped == []
    assert {split: len(found) for split, found in by_split(dataset).items()} == {
        "train": 18,
        "val": 2,
    }
    loaded = load_image(dataset.samples[3], (16, 24), 1)
    assert set(loaded) == {"image"} and loaded["image"].shape == (16, 24, 1)
    same = load_image(dataset.samples[3], (32, 32), 3)["image"]
    np.testing.assert_array_equal(same, tooth_photo(3, 32).image)


def test_images_with_masks_labels_and_splits(tmp_path):
    write_defect_dataset(tmp_path, 12, size=48, val_fraction=0.25)
    (tmp_path / "masks" / "0004.png").unlink()
    dataset = find_images(tmp_path)
    assert [s.label for s in dataset.samples[:3]] == ["crack", "double_crack", "branched_crack"]
    assert by_split(dataset)["val"] == ["0009", "0010", "0011"]
    assert dataset.samples[4].mask is None and dataset.skipped == []
    loaded = load_image(dataset.samples[1], (48, 48), 1)
    np.testing.assert_array_equal(loaded["mask"][..., 0], defect(1, "double_crack", 48).mask)
    assert set(load_image(dataset.samples[4], (48, 48), 1)) == {"image"}
    assert all(s.mask is None for s in find_images(tmp_path, with_masks=False).samples)
    assert names(find_images(tmp_path, "valid")) == ["0009", "0010", "0011"]


@pytest.mark.parametrize(
    ("files", "split", "label"),
    [
        ("train/x.jpg", "train", ""),
        ("valid/images/x.png", "val", ""),
        ("test_images/x.png", "test", ""),
        ("train/molar/x.png", "train", "molar"),
        ("MT_Crack/images/x.png", "train", "MT_Crack"),
        ("images/x.png", "train", ""),
    ],
)
def test_folders_tell_splits_and_labels(tmp_path, files, split, label):
    put(tmp_path, files)
    (sample,) = find_images(tmp_path).samples
    assert (sample.split, sample.label, sample.name) == (split, label, "x")


def test_drawings_masks_and_previews_are_no_images(tmp_path):
    put(tmp_path, "images/a.jpg", "masks/a.png", "tooth_boundary/a.png", "previews/a.png")
    (sample,) = find_images(tmp_path).samples
    assert sample.image == tmp_path / "images" / "a.jpg"
    assert sample.mask == tmp_path / "masks" / "a.png"


def test_names_are_unique(tmp_path):
    put(tmp_path, "A/images/x.png", "B/images/x.png", "A/images/y.png", "A/images/y.jpg")
    found = names(find_images(tmp_path))
    assert sorted(found) == ["A/images/x", "A/images/y.jpg", "A/images/y.png", "B/images/x"]


def test_nothing_usable_says_what_was_expected_and_seen(tmp_path):
    with pytest.raises(DentalzooError, match="no usable image; expected a folder of.*no image"):
        find_images(tmp_path)
    put(tmp_path, "images/a.png")
    for crops, what in (("boundaries", "boundary/"), ("boxes", "YOLO"), ("masks", "masks/")):
        with pytest.raises(DentalzooError, match=f"{what}.*Received: images/ .1 images"):
            find_images(tmp_path, crops=crops)
    with pytest.raises(DentalzooError, match="no such folder"):
        find_images(tmp_path / "nowhere")


def test_too_few_images_are_refused_with_the_number_needed(tmp_path):
    put(tmp_path, "train/a.png", "train/b.png", "val/c.png")
    assert len(find_images(tmp_path, "train", min_images=2)) == 2
    with pytest.raises(
        DentalzooError,
        match="must hold 3 or more usable images of the split 'train'. Received: 2 ",
    ):
        find_images(tmp_path, "train", min_images=3)


@pytest.mark.parametrize(
    "options",
    [
        {"crops": "teeth"},
        {"margin": 0.5},
        {"margin": float("nan")},
        {"window": 0},
        {"window": 2.5},
        {"val_fraction": 1},
        {"val_fraction": -0.1},
        {"min_images": 0},
        {"split": "some"},
    ],
)
def test_options_out_of_range_are_refused(tmp_path, options):
    put(tmp_path, "a.png")
    with pytest.raises(DentalzooError, match="Received: "):
        find_images(tmp_path, **options)


# -- splits and groups ----------------------------------------------------------------------------


def test_the_val_fraction_depends_on_names_alone(tmp_path):
    files = [f"{n:03d}.png" for n in range(40)]
    for folder, order in (("one", files), ("two", files[::-1])):
        put(tmp_path / folder, *order, height=4, width=4)
    one, two = (find_images(tmp_path / f, val_fraction=0.2) for f in ("one", "two"))
    assert by_split(one) == by_split(two) and len(by_split(one)["val"]) == 8
    more = by_split(find_images(tmp_path / "one", val_fraction=0.3))
    assert set(by_split(one)["val"]) < set(more["val"])
    assert names(find_images(tmp_path / "one", "val", val_fraction=0.2)) == by_split(one)["val"]


def test_without_a_val_fraction_there_is_no_val_split(tmp_path):
    put(tmp_path, "a.png", "b.png")
    assert len(find_images(tmp_path, "train", val_fraction=0)) == 2
    with pytest.raises(MissingSplit, match="'train': 2.*val_fraction=0"):
        find_images(tmp_path, "val", val_fraction=0)
    with pytest.raises(MissingSplit):
        find_images(tmp_path, "test")
    (tmp_path / "b.png").unlink()
    with pytest.raises(MissingSplit):  # one image is for training
        find_images(tmp_path, "val")


def test_groups_of_a_table_stay_together_and_belong_to_their_folder(tmp_path):
    for part in ("MT_Crack", "MT_Hole"):
        put(tmp_path / part, *(f"images/{n:02d}.jpg" for n in range(20)), height=4, width=4)
        rows = [f"{n:02d},{n // 2},4,4" for n in range(20)]
        text(tmp_path / part / "index.csv", "id,near_dup_group,w,h", *rows)
    dataset = find_images(tmp_path, val_fraction=0.25)
    assert len({s.group for s in dataset.samples}) == 20 and len(set(names(dataset))) == 40
    splits = {}
    for sample in dataset.samples:
        splits.setdefault(sample.group, set()).add(sample.split)
    assert all(len(found) == 1 for found in splits.values())
    assert sum(found == {"val"} for found in splits.values()) == 5
    assert {s.label for s in dataset.samples} == {"MT_Crack", "MT_Hole"}


def test_a_group_torn_by_a_table_of_splits_is_refused(tmp_path):
    put(tmp_path, "images/a.png", "images/b.png")
    text(tmp_path / "index.csv", "id;group", "a;p1", "b;p1")
    assert {s.group for s in find_images(tmp_path).samples} == {"index.csv: p1"}
    text(tmp_path / "split.csv", "file,split", "a.png,train", "b.png,val")
    with pytest.raises(
        DentalzooError, match="a group must lie in one split.*p1.* in train and val"
    ):
        find_images(tmp_path)
    text(tmp_path / "index.csv", "id;group", "a;p1", "a;p2")
    with pytest.raises(BadFile, match="a.png must be in one group. Received: p1, p2"):
        find_images(tmp_path)


def test_copies_of_one_source_are_one_group(tmp_path):
    put(tmp_path, "x_jpg.rf.aa.png", "x_jpg.rf.bb.png", "y.png")
    groups = [s.group for s in find_images(tmp_path).samples]
    assert groups == ["x_jpg", "x_jpg", "y.png"]


def test_a_table_of_splits_lists_what_it_does_not_find(tmp_path):
    put(tmp_path, "images/a.png", "images/b.png", "images/c.png")
    text(tmp_path / "split.csv", "id,split", "a,train", "b,val", "z,val")
    dataset = find_images(tmp_path)
    assert by_split(dataset) == {"train": ["a"], "val": ["b"]}
    assert sorted(dataset.skipped) == [
        ("images/c.png", "image in no split of split.csv"),
        ("z", "row of split.csv without files"),
    ]


def test_other_tables_of_that_name_do_no_harm(tmp_path):
    put(tmp_path, "a.png", "b.png")
    text(tmp_path / "index.csv", "width,height", "3,4")
    assert {s.group for s in find_images(tmp_path).samples} == {"a.png", "b.png"}
    (tmp_path / "index.csv").write_bytes(b"id,group\n\xff\xfe,\x00\n")
    with pytest.raises(BadFile, match=r"index\.csv: must be a table in UTF-8"):
        find_images(tmp_path)


# -- crops by drawn lines -------------------------------------------------------------------------

TEETH = [(20, 10, 50, 34), (18, 40, 52, 66), (22, 72, 50, 94)]


def test_teeth_are_cut_where_lines_enclose_them(tmp_path):
    put(tmp_path, "images/p.jpg", "images/q.jpg")
    write_png(tmp_path / "tooth_boundary" / "p.png", drawing(*TEETH))
    write_png(tmp_path / "tooth_boundary" / "q.png", drawing(TEETH[1]))
    dataset = find_images(tmp_path, crops="boundaries", margin=1.0)
    assert [n.rpartition("_")[0] for n in names(dataset)] == ["p", "p", "p", "q"]
    assert names(dataset)[-1] == "q_01" and {s.group for s in dataset.samples} == {
        "images/p.jpg",
        "images/q.jpg",
    }
    windows = sorted((s.window for s in dataset.samples[:3]), key=lambda w: w[1])
    for (top, left, bottom, right), window in zip(TEETH, windows, strict=True):
        assert window[2] - window[0] == window[3] - window[1]
        assert abs(window[2] - window[0] - max(bottom - top, right - left)) <= 2
        middle = (window[0] + window[2]) / 2, (window[1] + window[3]) / 2
        assert np.allclose(middle, ((top + bottom) / 2, (left + right) / 2), atol=1)


def test_a_crop_is_the_part_of_the_photograph_it_says(tmp_path):
    put(tmp_path, "images/p.png")
    write_png(tmp_path / "boundary" / "p.png", drawing(*TEETH))
    for sample in find_images(tmp_path, crops="boundaries").samples:
        top, left, bottom, right = sample.window
        side = bottom - top
        np.testing.assert_array_equal(
            load_image(sample, (side, side), 3)["image"], textured(0)[top:bottom, left:right]
        )


def test_gaps_between_teeth_and_within_an_arch_are_no_teeth():
    big = 480
    lines = np.zeros((big, big), np.uint8)
    arch = []
    for angle in np.linspace(np.pi, 2 * np.pi, 9):
        y, x = int(300 + 150 * np.sin(angle)), int(240 + 150 * np.cos(angle))
        cv2.circle(lines, (x, y), 31, 255, 2)
        arch.append((y, x))
    cv2.line(lines, arch[0][::-1], arch[-1][::-1], 255, 2)  # closes the arch
    cv2.line(lines, (0, 60), (big, 60), 255, 2)  # cut by the border
    cv2.circle(lines, (240, 20), 7, 255, 2)  # a dark spot
    found = enclosed_regions(lines > 0)
    # the closing line cuts the first and the last tooth in two halves
    wholes = [r for r in found if r.box[2] - r.box[0] > 45 and r.box[3] - r.box[1] > 45]
    assert len(wholes) >= 7 and all(r.area < 3200 for r in found)
    assert all(r.box[0] > 70 for r in found)
    for y, x in arch[1:-1]:
        assert any(np.hypot(r.centre[0] - y, r.centre[1] - x) < 5 for r in wholes)


def test_small_gaps_in_lines_are_closed_and_colours_may_be_exchanged():
    lines = drawing((100, 100, 200, 180), (240, 120, 330, 200), height=480, width=480, gap=3)
    boxes = {region.box for region in enclosed_regions(lines > 0)}
    assert len(boxes) == 2
    assert {region.box for region in enclosed_regions(lines == 0)} == boxes
    assert enclosed_regions(np.zeros((9, 9), bool)) == []
    assert enclosed_regions(np.ones((9, 9), bool)) == []


def test_drawings_that_cannot_be_used_are_named(tmp_path, caplog):
    put(tmp_path, *(f"images/{n}.png" for n in "abcdef"))
    folder = tmp_path / "tooth_boundary"
    write_png(folder / "a.png", drawing(*TEETH))
    write_png(folder / "b.png", drawing(*TEETH, width=WIDTH + 1))
    write_png(folder / "c.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    (folder / "d.png").write_bytes(b"no image")
    write_png(folder / "z.png", drawing(*TEETH))
    (tmp_path / "images" / "f.png").write_bytes(b"\xff\xd8\xff broken")
    write_png(folder / "f.png", drawing(*TEETH))
    dataset = find_images(tmp_path, crops="boundaries")
    assert len(dataset) == 3
    reasons = dict(dataset.skipped)
    assert "121 x 90" in reasons["images/b.png"] and "120 x 90" in reasons["images/b.png"]
    assert reasons["tooth_boundary/c.png"] == "no closed line in it"
    assert reasons["images/d.png"].startswith("d.png: ")
    assert reasons["images/e.png"] == "image without drawing of boundaries"
    assert "damaged" in reasons["images/f.png"]
    assert reasons["tooth_boundary/z.png"] == "drawing of boundaries without image"
    warned = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) == 6 and all("\n" not in r for r in reasons.values())


# -- crops by boxes -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(90, 120), (180, 240)])
@pytest.mark.parametrize("form", ["VOC", "LabelMe", "COCO"])
def test_boxes_of_any_format_are_cropped_also_from_another_size(tmp_path, form, size):
    put(tmp_path, "a.png", height=90, width=120)
    tall, wide = size
    top, left, bottom, right = (value * tall // 90 for value in (20, 30, 50, 60))
    if form == "VOC":
        edges = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
        text(
            tmp_path / "a.xml",
            f"<annotation><folder>Annotation</folder><filename>a.png</filename><size><width>{wide}"
            f"</width><height>{tall}</height><depth>1</depth></size><object><name>crown</name>"
            f"<bndbox>{edges}</bndbox></object></annotation>",
        )
    elif form == "LabelMe":
        shape = {"label": "crown", "shape_type": "rectangle"}
        shape["points"] = [[left, top], [right, bottom]]
        content = {"version": "5.0", "flags": {}, "shapes": [shape], "imagePath": "a.png"}
        content |= {"imageHeight": tall, "imageWidth": wide, "imageData": None}
        text(tmp_path / "a.json", json.dumps(content))
    else:
        if size != (90, 120):
            pytest.skip("see the next tests: a size that contradicts the image")
        one = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [], "iscrowd": 0}
        one["bbox"] = [left, top, right - left, bottom - top]
        images = [{"id": 1, "file_name": "a.png", "height": tall, "width": wide}]
        content = {"images": images, "categories": [{"id": 1, "name": "crown"}]}
        text(tmp_path / "coco.json", json.dumps(content | {"annotations": [one]}))
    (sample,) = find_images(tmp_path, crops="boxes", margin=1).samples
    assert sample.window == (20, 30, 50, 60) and sample.label == "crown"


def test_yolo_boxes_with_names_of_classes(tmp_path):
    put(tmp_path, "train/images/a.jpg", "valid/images/b.jpg")
    text(tmp_path / "train" / "labels" / "a.txt", "1 0.5 0.5 0.25 0.5", "0 0.05 0.5 0.1 0.2")
    text(tmp_path / "valid" / "labels" / "b.txt", "0 0.4 0.4 0.6 0.4 0.6 0.8 0.4 0.8")
    text(tmp_path / "classes.txt", "Cavity", "Crown")
    dataset = find_images(tmp_path, crops="boxes", margin=1.0)
    found = [(s.name, s.label, s.window, s.split) for s in dataset.samples]
    assert found == [
        ("a_01", "Crown", (22, 37, 68, 83), "train"),
        ("a_02", "Cavity", (36, 0, 54, 18), "train"),
        ("b_01", "Cavity", (36, 42, 72, 78), "val"),
    ]
    text(tmp_path / "classes.json", json.dumps({"0": "Caries", "1": "Crown"}))
    assert find_images(tmp_path, "val", crops="boxes").samples[0].label == "Caries"
    (tmp_path / "classes.json").write_text('[["Caries"]]')
    with pytest.raises(BadFile, match=r"classes\.json: must be a list of names"):
        find_images(tmp_path, crops="boxes")


def test_lines_of_labels_that_cannot_be_used_are_named(tmp_path):
    put(tmp_path, "images/a.jpg", "images/b.jpg", "images/c.jpg", "images/d.jpg")
    bad = {
        "0 nan 0.5 0.2 0.2": "every value must be a number",
        "0 0.5 0.5 inf 0.2": "every value must be a number",
        "0 0.5 0.5 0 0.2": "must have an area",
        "0 0.5 0.5 -0.1 0.2": "must have an area",
        "0 1.4 0.5 0.2 0.2": "must lie in its image",
        "0 0.02 0.5 0.2 0.2": "must lie in its image",
        "0 0.5 0.5 0.001 0.2": "must have 4 pixels",
        "0 0.5 0.5 0.2": "Received: 4 numbers",
        "7 0.5 0.5 0.2 0.2": "below 2. Received: 7",
        "-1 0.5 0.5 0.2 0.2": "Received: -1",
        "0.5 0.5 0.5 0.2 0.2": "Received: 0.5",
        "tooth 0.5 0.5 0.2 0.2": "must be numbers",
    }
    text(tmp_path / "labels" / "a.txt", "0 0.5 0.5 0.2 0.2", *bad, "", "0 0.5 0.5 0.2 0.2")
    text(tmp_path / "labels" / "b.txt", "1 0.0999999 0.5 0.2000001 0.2")
    (tmp_path / "labels" / "c.txt").write_bytes(b"")
    text(tmp_path / "labels" / "z.txt", "1 0.5 0.5 0.2 0.2")
    text(tmp_path / "labels" / "classes.txt", "Cavity", "Crown")
    dataset = find_images(tmp_path, crops="boxes")
    assert names(dataset) == ["a_01", "b_01"]
    reasons = dict(dataset.skipped)
    for number, reason in enumerate(bad.values(), start=2):
        assert reason in reasons.pop(f"labels/a.txt, line {number}"), reason
    assert reasons == {
        "labels/a.txt, line 15": "the same box as an earlier one",
        "labels/c.txt": "no usable box in it",
        "images/d.jpg": "image without boxes",
        "labels/z.txt": "labels without image",
    }


def coco(path, boxes, size=(HEIGHT, WIDTH), name="a.jpg"):
    entries = [
        {"id": i, "image_id": 1, "category_id": 3, "bbox": box, **more}
        for i, (box, more) in enumerate(boxes)
    ]
    content = {
        "images": [{"id": 1, "file_name": name, "height": size[0], "width": size[1]}],
        "categories": [{"id": 3, "name": "Crown"}],
        "annotations": entries,
    }
    text(path, json.dumps(content))


def test_coco_boxes(tmp_path):
    put(tmp_path, "train/a.jpg")
    listed = [([30, 20, 20, 40], {}), ([1, 2, 30, 30], {"iscrowd": 1}), ([1, 2, 3], {}), (None, {})]
    coco(tmp_path / "train" / "_annotations.coco.json", listed)
    dataset = find_images(tmp_path, crops="boxes", margin=1)
    (sample,) = dataset.samples
    assert (sample.window, sample.label, sample.split) == ((20, 20, 60, 60), "Crown", "train")
    assert [name.rpartition(", ")[2] for name, _ in dataset.skipped] == ["box 2", "box 3", "box 4"]
    coco(tmp_path / "train" / "_annotations.coco.json", listed[:1], size=(50, 50))
    with pytest.raises(DentalzooError, match="120 x 90.*Received: 50 x 50"):
        find_images(tmp_path, crops="boxes")


# -- crops by masks -------------------------------------------------------------------------------


def spots(*boxes):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = 255
    return mask


def test_a_window_for_every_blob_of_a_mask(tmp_path):
    put(tmp_path, "images/a.png", "images/b.png", "images/c.png")
    write_png(tmp_path / "masks" / "a.png", spots((10, 20, 14, 26), (40, 60, 60, 90)))
    write_png(tmp_path / "masks" / "b.png", spots())
    dataset = find_images(tmp_path, crops="masks", margin=2)
    assert names(dataset) == ["a_01", "a_02"]
    assert [s.window for s in dataset.samples] == [(6, 17, 18, 29), (20, 45, 80, 105)]
    loaded = load_image(dataset.samples[0], (12, 12), 3)
    assert loaded["mask"].sum() == 24 and loaded["mask"].shape == (12, 12, 1)
    assert dict(dataset.skipped) == {
        "masks/b.png": "no blob in it",
        "images/c.png": "image without mask",
    }
    (largest,) = find_images(tmp_path, crops="masks", margin=2, one_per_image=True).samples
    assert (largest.name, largest.window) == ("a_01", (20, 45, 80, 105))
    fixed = find_images(tmp_path, crops="masks", window=32).samples
    assert [s.window for s in fixed] == [(0, 7, 32, 39), (34, 59, 66, 91)]


def test_auto_cuts_blobs_out_where_there_are_masks_and_enlarges_none(tmp_path):
    put(tmp_path / "bare", "a.png")
    (whole,) = find_images(tmp_path / "bare", crops="auto", smallest=32).samples
    assert whole.window is None
    put(tmp_path / "cut", "images/a.png")
    write_png(
        tmp_path / "cut/masks/a.png", spots((10, 20, 14, 26), (10, 28, 14, 34), (40, 20, 80, 60))
    )
    found = find_images(tmp_path / "cut", crops="auto", margin=1.5, smallest=32).samples
    sides = [sample.window[2] - sample.window[0] for sample in found]
    assert sides == [32, 32, 60]
    mask = spots((10, 20, 14, 26), (30, 20, 40, 30))[:64, :64]
    write_png(tmp_path / "small/images/b.png", np.full((64, 64, 1), 90, np.uint8))
    write_png(tmp_path / "small/masks/b.png", mask)
    same = find_images(tmp_path / "small", crops="auto", smallest=64)  # the whole image, once
    assert names(same) == ["b"] and load_image(same.samples[0], (16, 16), 1)["mask"].any()


def test_a_window_smaller_than_a_crack_is_put_on_the_crack():
    mask = np.zeros((200, 200), np.uint8)
    cv2.ellipse(mask, (100, 100), (90, 90), 0, 0, 180, 1, 3)  # empty in the middle of its box
    (region,) = blob_regions(mask)
    top, left, bottom, right = square(region, 200, 200, 1.3, 32)
    assert mask[top:bottom, left:right].any() and (bottom - top, right - left) == (32, 32)


def test_windows_are_squares_within_the_image():
    random = np.random.default_rng(0)
    for _ in range(500):
        height, width = random.integers(5, 300, 2)
        top, bottom = np.sort(random.choice(height + 1, 2, replace=False)).tolist()
        left, right = np.sort(random.choice(width + 1, 2, replace=False)).tolist()
        region = Region((top, left, bottom, right), (top, left), 1)
        y0, x0, y1, x1 = square(region, height, width, 1.3, None)
        assert 0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width and y1 - y0 == x1 - x0
        if max(bottom - top, right - left) <= min(height, width):
            assert y0 <= top and bottom <= y1 and x0 <= left and right <= x1


def test_thin_masks_stay_alive():
    mask = np.zeros((256, 256), np.uint8)
    mask[8:128, 40:80] = 1  # large: exact where it fills pixels
    cv2.line(mask, (150, 10), (240, 200), 1, 1)
    mask[200, 5] = 1
    small = shrink_mask(mask, (32, 32))
    assert small[1:16, 5:10].all() and small[25, 0] == 1
    _, blobs = cv2.connectedComponents(mask, connectivity=8)
    assert blobs.max() == 3 and small.sum() < 15 * 5 + 20
    assert shrink_mask(mask, (512, 512)).sum() == 4 * mask.sum()
    assert shrink_mask(np.zeros((9, 9), np.uint8), (4, 4)).sum() == 0
    np.testing.assert_array_equal(shrink_mask(mask, (256, 256)), mask)


# -- turned images, odd names, damage -----------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photographs_give_the_same_crops(tmp_path, orientation):
    put(tmp_path, "images/a.png")
    stored = exif(tmp_path / "images" / "a.png", orientation)
    write_png(tmp_path / "tooth_boundary" / "a.png", drawing(*TEETH))
    found = find_images(tmp_path, crops="boundaries")
    windows = [s.window for s in found.samples]
    for sample in found.samples:
        top, left, bottom, right = sample.window
        image = load_image(sample, (bottom - top, right - left), 3)["image"]
        np.testing.assert_array_equal(image, textured(0)[top:bottom, left:right])
    text(tmp_path / "labels" / "a.txt", "0 0.25 0.5 0.1 0.2")
    (box,) = find_images(tmp_path, crops="boxes", margin=1).samples
    assert box.window == (36, 21, 54, 39)
    if stored != (HEIGHT, WIDTH):  # drawn on the stored pixels
        inverse = {5: 5, 6: 8, 7: 7, 8: 6}[orientation]
        turned = np.ascontiguousarray(upright(drawing(*TEETH), inverse))
        write_png(tmp_path / "tooth_boundary" / "a.png", turned)
        again = find_images(tmp_path, crops="boundaries").samples
        assert [s.window for s in again] == windows


@pytest.mark.parametrize("orientation", range(1, 9))
def test_coco_boxes_of_stored_pixels_are_turned(orientation):
    mask = np.zeros((40, 60), np.uint8)
    mask[5:12, 20:50] = 1
    (expected,) = blob_regions(np.ascontiguousarray(upright(mask, orientation)))
    boxes = [RawBox("x", (5, 20, 12, 50), "box 1")]
    drawn = ImageAnnotation(None, "x", (40, 60), boxes=boxes)
    ((region,), bad) = box_regions(drawn, 40, 60, orientation)
    assert region.box == expected.box and bad == []


def test_accents_in_either_spelling(tmp_path):
    name = "zähne_ñ"
    put(tmp_path, f"images/{unicodedata.normalize('NFD', name)}.jpg")
    write_png(tmp_path / "tooth_boundary" / f"{name}.png", drawing(TEETH[0]))
    text(tmp_path / "labels" / f"{name}.txt", "0 0.5 0.5 0.2 0.2")
    for crops in CROPS[:3]:
        assert len(find_images(tmp_path, crops=crops)) == 1


def test_names_that_are_no_text(tmp_path):
    put(tmp_path, "good.png")
    try:
        (tmp_path / "a\udcff.png").write_bytes((tmp_path / "good.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes no such name")
    assert len(find_images(tmp_path)) == 2
    assert json.dumps(check_images(tmp_path))


def test_hostile_folder(tmp_path, caplog):
    expected = make_hostile(tmp_path / "data")
    found, good = find_images(tmp_path / "data", with_masks=False), set()
    for sample in found.samples:
        try:
            load_image(sample, (16, 16), 3)
            good.add(sample.image.name)
        except BadFile as error:
            assert "\n" not in str(error)
    assert good == {name for name, e in expected.items() if e.image}
    report = check_images(tmp_path / "data")
    good = {name for name, e in expected.items() if e.pair} | {"mask_missing.png"}
    assert report["usable"] == len(good)
    listed = " ".join(name for name, _ in report["skipped"])
    assert all(name.rsplit(".", 1)[0] in listed for name in expected.keys() - good)
    warned = [r for r in caplog.records if "no split" not in r.getMessage()]
    assert all(r.levelno == logging.WARNING for r in warned)


def test_a_image_that_shrank_since_is_refused(tmp_path):
    put(tmp_path, "images/a.png")
    write_png(tmp_path / "boundary" / "a.png", drawing(TEETH[2]))
    dataset = find_images(tmp_path, crops="boundaries")
    load_image(dataset.samples[0], (8, 8), 3)
    before = dataset.cache_key
    put(tmp_path, "images/a.png", height=20, width=30)
    assert dataset.cache_key != before
    with pytest.raises(BadFile, match="was it changed.*Received: 30 x 20"):
        load_image(dataset.samples[0], (8, 8), 3)


def test_a_photograph_is_read_once_for_all_its_crops(tmp_path, monkeypatch):
    put(tmp_path, "images/a.png", "images/b.png")
    for name in "ab":
        write_png(tmp_path / "boundary" / f"{name}.png", drawing(*TEETH))
    dataset = find_images(tmp_path, crops="boundaries")
    read = []
    monkeypatch.setattr(images, "read_image", lambda p, c: read.append(p) or textured(0))
    for sample in dataset.samples:
        load_image(sample, (8, 8), 3)
    assert len(dataset) == 6 and len(read) == 2


# -- check ----------------------------------------------------------------------------------------


def test_check_reports_copies_and_damage(tmp_path, caplog):
    put(tmp_path, "train/a.png", "train/b.png", "val/c.png", "val/d.png", "train/e.png")
    copy = Image.fromarray(textured(0)).resize((70, 50), Image.Resampling.BICUBIC)
    copy.save(tmp_path / "val" / "copy.jpg", quality=80)
    Image.fromarray(textured(1)).save(tmp_path / "train" / "twin.png")
    (tmp_path / "train" / "e.png").write_bytes(b"")
    Image.new("L", (70, 50), 250).save(tmp_path / "train" / "blank.png")
    report = check_images(tmp_path)
    ((name, reason),) = report.pop("suspicious")
    assert name == "blank" and "nearly white" in reason
    assert report.pop("duplicates") == [["a", "copy", "nearly alike, in train and val"]]
    assert report.pop("duplicates_within") == [["b", "twin", "same pixels, in train"]]
    assert [name for name, _ in report.pop("skipped")] == ["e"]
    assert report.pop("data") == str(tmp_path)
    assert report.pop("patients") == report.pop("personal") == []
    assert report == {"usable": 7, "train": 4, "val": 3, "groups": 7, "labels": {}, "not_used": []}
    assert "a and copy: nearly alike, in train and val" in caplog.text
    for path in tmp_path.glob("*/*"):
        path.write_bytes(b"x")
    with pytest.raises(DentalzooError, match="none of 8 images can be used"):
        check_images(tmp_path)


def test_crops_that_are_alike_are_found_too(tmp_path):
    image = np.concatenate([textured(0), textured(0), textured(1)], axis=1)
    for name in ("train/images/a.png", "val/images/b.png"):
        write_png(tmp_path / name, image)
        labels = tmp_path / name.replace("images", "labels").replace("png", "txt")
        text(labels, *(f"0 {x / 6} 0.5 0.3 0.9" for x in (1, 3, 5)))
    report = check_images(tmp_path, crops="boxes", margin=1)
    assert ["a_01", "b_01", "same pixels, in train and val"] in report["duplicates"]
    assert not [pair for pair in report["duplicates"] if "_03" in pair[0] and "_01" in pair[1]]


def test_smooth_surfaces_under_one_light_are_no_copies():
    prints = {
        str(n): perceptual_hash(defect(n, "pore", 64, texture="plain", border=0).image[..., None])
        for n in range(30)
    }
    assert find_duplicates(prints) == []
    teeth = {str(n): perceptual_hash(tooth_photo(n, 64).image) for n in range(40)}
    assert find_duplicates(teeth) == []


def test_pairs_within_a_set_are_named_once(tmp_path):
    put(tmp_path, "a.png", "b.png", "c.png")
    for name in ("d.png", "e.png"):
        (tmp_path / name).write_bytes((tmp_path / "a.png").read_bytes())
    prints = perceptual_hashes(find_images(tmp_path))
    pairs = [("a", "d"), ("a", "e"), ("d", "e")]
    assert find_duplicates(prints) == [(*pair, "same pixels") for pair in pairs]


# -- real images --------------------------------------------------------------------------------


def real(shared_data, name):
    if not (shared_data / name).is_dir():
        pytest.skip(f"DENTALZOO_DATA has no {name}")
    return shared_data / name


def test_real_photographs_give_single_teeth(shared_data):
    data = real(shared_data, "intraoral_photos")
    assert len(find_images(data)) == 10
    dataset = find_images(data, crops="boundaries")
    assert len(dataset) == 138 and dataset.skipped == []
    assert len({s.group for s in dataset.samples}) == 10
    sides = [s.window[2] - s.window[0] for s in dataset.samples]
    assert min(sides) > 60 and max(sides) < 280
    for sample in dataset.samples[::10]:
        middle = load_image(sample, (32, 32), 3)["image"][12:20, 12:20].astype(int)
        assert middle.mean() > 60  # neither the dark between teeth nor the surroundings


def test_real_radiographs_give_boxes(shared_data):
    dataset = find_images(real(shared_data, "dental_radiography"), "val", crops="boxes")
    assert len(dataset) == 586 and dataset.skipped == []
    assert {s.label for s in dataset.samples} == {"Cavity", "Fillings", "Impacted Tooth", "Implant"}


def test_real_tiles_have_groups_labels_and_thin_masks(shared_data):
    dataset = find_images(real(shared_data, "magnetic_tile"))
    assert len(dataset) == 172 and len({s.group for s in dataset.samples}) == 83
    assert {s.label for s in dataset.samples} == {"MT_Blowhole", "MT_Crack"}
    for sample in dataset.samples[::9]:
        assert load_image(sample, (64, 64), 1)["mask"].any()
    crops = find_images(real(shared_data, "magnetic_tile"), crops="masks", window=64)
    assert len(crops) == 188 and {s.window[2] - s.window[0] for s in crops.samples} == {64}


def test_of_a_flat_folder_only_the_validation_fraction_is_said(tmp_path, caplog):
    caplog.set_level("INFO", "dentalzoo")
    assert len(find_images(write_tooth_photos(tmp_path / "flat", 3, size=16))) == 3
    (line,) = caplog.messages
    assert "no split in the data: 1 of 3 images are held out for validation" in line
