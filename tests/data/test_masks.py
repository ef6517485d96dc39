import json
import logging

import cv2
import numpy as np
import pytest
from PIL import Image

from dentalzoo.cli import main
from dentalzoo.data.duplicates import find_duplicates, perceptual_hash, perceptual_hashes
from dentalzoo.data.formats import base, format_named
from dentalzoo.data.formats.outlines import _decompress
from dentalzoo.data.formats.tree import scan
from dentalzoo.data.formats.writing import write_annotations
from dentalzoo.data.io.images import write_png
from dentalzoo.data.mask_regions import leave_out_boxes
from dentalzoo.data.masks import check, check_folder, find_masks, load
from dentalzoo.errors import BadFile, DentalzooError
from tests.hostile import make_hostile

HEIGHT, WIDTH = 12, 16


@pytest.fixture(autouse=True)
def _notices_anew(caplog):
    base.notice_once.cache_clear()
    caplog.set_level(logging.WARNING, "dentalzoo")


def radiograph(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH), np.uint8)


def truth(value=255):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[3:6, 4:12] = value
    return mask


def put(root, *images, masks=()):
    """Writes radiographs and masks by their paths below `root`."""
    for seed, name in enumerate(images):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(radiograph(seed)).save(path)
    for name in masks:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(truth()).save(path)


def pairs(dataset, root):
    return {
        s.image.relative_to(root).as_posix(): s.mask.relative_to(root).as_posix()
        for s in dataset.samples
    }


def splits(dataset):
    return {sample.name: sample.split for sample in dataset.samples}


# -- layouts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "mask", "split"),
    [
        ("images/a.jpg", "masks/a.png", ""),
        ("images/a.jpg", "masks/a.jpg_mask.png", ""),
        ("Images/a.png", "Masks/a_mask.tif", ""),
        ("img/a.png", "mask/a.png", ""),
        ("train/train_images/a.jpg", "train/train_mask/a.jpg_mask.png", "train"),
        ("valid/valid_images/a.jpg", "valid/valid_mask/a.jpg_mask.png", "val"),
        ("Update_Test/test_images/a.jpg", "Update_Test/test_masks/a.jpg_mask.png", "test"),
        (
            "x y/Data X_Ray/train/train_images/a.jpg",
            "x y/Data X_Ray/train/train_mask/a.png",
            "train",
        ),
        ("test/test_images/a.jpg", "test/test_mask/a.png", "test"),
        ("train_images/a.png", "train_masks/a.png", "train"),
        ("images/validation/a.png", "masks/validation/a.png", "val"),
        ("testing/images/a.png", "testing/masks/a.png", "test"),
        ("train/a.jpg", "train/a_mask.png", "train"),
        ("train/a_jpg.rf.0f1e.jpg", "train/a_jpg.rf.0f1e_mask.png", "train"),
        ("a.jpg", "a.jpg_mask.png", ""),
        ("train/a.png", "train/masks/a.png", "train"),
        ("images/é.png", "masks/e\u0301.png", ""),
        ("images/a.png", "semantic_segmentation_masks/a.png", ""),
        ("train/images/a.png", "train/teeth_mask/a.png", "train"),
    ],
)
def test_layouts(tmp_path, image, mask, split):
    put(tmp_path, image, masks=[mask])
    dataset = find_masks(tmp_path)
    assert pairs(dataset, tmp_path) == {image: mask}
    assert [s.split for s in dataset.samples] == [split or "train"]
    assert dataset.skipped == [] and dataset.classes == ("foreground",)
    assert dataset.num_classes == 1
    arrays = load(dataset.samples[0], 1, channels=3)
    assert arrays["image"].shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(arrays["mask"][..., 0], truth(1)) or image.endswith("jpg")


@pytest.mark.parametrize(
    "masks",
    [["crown_masks/a.png", "root_masks/a.png"], ["train_masks/a.png"], ["other/teeth_masks/a.png"]],
)
def test_masks_of_another_name_may_be_of_something_else(tmp_path, masks):
    put(tmp_path, "images/a.png", masks=masks)
    with pytest.raises(DentalzooError, match="no image with a mask"):
        find_masks(tmp_path)


def test_masks_of_the_same_name_come_first(tmp_path):
    put(tmp_path, "images/a.png", masks=["masks/a.png", "crown_masks/a.png"])
    assert pairs(find_masks(tmp_path), tmp_path) == {"images/a.png": "masks/a.png"}


def test_splits_are_kept_apart_and_named_alike(tmp_path):
    for split, name in (("train", "b"), ("train", "a10"), ("train", "a2"), ("valid", "b")):
        put(tmp_path, f"{split}/images/{name}.png", masks=[f"{split}/masks/{name}.png"])
    everything = find_masks(tmp_path)
    assert len(everything) == 4
    assert len({sample.name for sample in everything.samples}) == 4  # "b" is there twice
    put(tmp_path, "valid/images/alone.png")
    train = find_masks(tmp_path, "training")
    assert train.skipped == []  # what another split misses is not this one's business
    assert [sample.name for sample in train.samples] == ["a2", "a10", "b"]
    for alias in ("val", "valid", "validation"):
        dataset = find_masks(tmp_path, alias)
        assert [sample.name for sample in dataset.samples] == ["b"]
        assert dataset.skipped == [("valid/images/alone.png", "image without mask")]
    with pytest.raises(DentalzooError, match=r"split 'test'.*Received: .*'train': 3, 'val': 1"):
        find_masks(tmp_path, "test")
    with pytest.raises(DentalzooError, match="Received: 'holdout'"):
        find_masks(tmp_path, "holdout")


def test_everything_left_out_is_listed(tmp_path, caplog):
    put(tmp_path, *(f"images/{n}.png" for n in "abc"), masks=["masks/a.png", "masks/z.png"])
    put(tmp_path, "images/b.jpg", "train/p.png", masks=["masks/b.png", "masks/a_mask.png"])
    put(tmp_path, "images/d.png", masks=["masks/d.png"])
    (tmp_path / "images" / "gone.png").symlink_to("nowhere")
    (tmp_path / "images" / "folder.png").mkdir()
    dataset = find_masks(tmp_path)
    assert list(pairs(dataset, tmp_path)) == ["images/d.png"]
    reasons = dict(dataset.skipped)
    assert reasons["images/a.png"] == "image with several masks: a.png and a_mask.png"
    assert reasons["masks/b.png"] == "mask of both b.jpg and b.png"
    assert reasons["images/c.png"] == reasons["train/p.png"] == "image without mask"
    assert reasons["masks/z.png"] == "mask without image"
    assert reasons["images/gone.png"] == reasons["images/folder.png"]
    lines = [r.getMessage() for r in caplog.records]
    assert all(any(name in line for line in lines) for name in reasons)


def test_many_skipped_files_are_told_in_one_line(tmp_path, caplog):
    put(tmp_path, *(f"images/{n}.png" for n in range(23)), masks=["masks/0.png"])
    dataset = find_masks(tmp_path)
    assert len(dataset.skipped) == 22
    assert [r.getMessage() for r in caplog.records] == ["skipped 22 files: 22 x image without mask"]


def test_folders_of_something_else_are_no_fault(tmp_path, caplog):
    put(tmp_path, "images/a.png", "previews/a.png", "logo.png", masks=["masks/a.png"])
    coco(tmp_path / "annotations.coco.json", [(0, 0, [BOX])])
    caplog.set_level(logging.INFO, "dentalzoo")
    for annotations in ("masks", "coco"):
        dataset = find_masks(tmp_path, annotations=annotations)
        assert [s.image.parent.name for s in dataset.samples] == ["images"]
        assert dataset.skipped == []
        assert "not used: ./: 1 images" in caplog.text
        assert "previews/: 1 images" in caplog.text
        caplog.clear()


def test_nothing_there_says_what_is_understood_and_what_was_seen(tmp_path):
    with pytest.raises(DentalzooError, match="no image at all") as error:
        find_masks(tmp_path)
    assert "images/ beside masks/" in str(error.value) and "coco" in str(error.value)
    put(tmp_path, "scans/a.png")
    with pytest.raises(DentalzooError, match=r"Received: scans/ \(1 images\)"):
        find_masks(tmp_path)
    with pytest.raises(DentalzooError, match="Received: no such folder"):
        find_masks(tmp_path / "gone")


def test_a_link_in_a_circle_ends(tmp_path):
    put(tmp_path, "images/a.png", masks=["masks/a.png"])
    (tmp_path / "images" / "again").symlink_to(tmp_path)
    assert len(find_masks(tmp_path)) == 1


# -- split.csv -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "id,split\na,train\nb,val\n",
        "\ufeffid,split\r\na.png,training\r\nb,valid\r\n",
        "file;split\na.png;train\nb.png;validation\n\n",
        "id,age,split\na,41,train\nb,50,val\n",
    ],
)
def test_split_csv(tmp_path, text):
    put(tmp_path, "images/a.png", "images/b.png", masks=["masks/a.png", "masks/b.png"])
    (tmp_path / "split.csv").write_text(text, encoding="utf-8")
    assert splits(find_masks(tmp_path)) == {"a": "train", "b": "val"}
    assert splits(find_masks(tmp_path, "val")) == {"b": "val"}


def test_split_csv_rows_and_files_that_miss_each_other(tmp_path):
    put(tmp_path, *(f"images/{n}.png" for n in "abc"), masks=["masks/a.png", "masks/b.png"])
    (tmp_path / "split.csv").write_text("id,split\na,train\nc,train\nx,val\n")
    dataset = find_masks(tmp_path)
    assert splits(dataset) == {"a": "train"}
    assert dict(dataset.skipped) == {
        "images/b.png": "image in no split of split.csv",
        "images/c.png": "image without mask",
        "x": "row of split.csv without files",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,fold\na,1\n", "Received: 'name,fold'"),
        ("id,split\na,7\n", "line 2.*Received: '7'"),
        ("id,split\na,train\na,val\n", "line 3.*one split"),
        ("", "Received: ''"),
    ],
)
def test_split_csv_that_is_wrong(tmp_path, text, reason):
    put(tmp_path, "images/a.png", masks=["masks/a.png"])
    (tmp_path / "split.csv").write_text(text)
    with pytest.raises(BadFile, match=reason):
        find_masks(tmp_path)


# -- COCO ----------------------------------------------------------------------------------------

BOX = [4, 3, 12, 3, 12, 6, 4, 6]  # covers truth()


def coco(path, annotations, categories=("teeth",), images=("a.png",), **size):
    """Writes a COCO file; `annotations` are (image index, category index, segmentation)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = {"height": HEIGHT, "width": WIDTH} | size
    content = {
        "images": [{"id": i, "file_name": n} | size for i, n in enumerate(images)],
        "categories": [
            c if isinstance(c, dict) else {"id": i, "name": c} for i, c in enumerate(categories)
        ],
        "annotations": [
            {"id": k, "image_id": i, "category_id": c, "segmentation": s, "iscrowd": 0}
            for k, (i, c, s) in enumerate(annotations)
        ],
    }
    path.write_text(json.dumps(content))
    return path


def only_mask(root, num_classes=None, **options):
    dataset = find_masks(root, **options)
    (sample,) = dataset.samples
    return load(sample, num_classes or dataset.num_classes)["mask"][..., 0]


def runs(mask):
    flat = mask.T.ravel()  # COCO counts column by column
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    return ([0] if flat[0] else []) + counts


@pytest.mark.parametrize("kind", ["polygon", "runs", "compressed"])
def test_coco_outlines(tmp_path, kind):
    put(tmp_path, "train/a.png")
    size = {"size": [HEIGHT, WIDTH]}
    segmentation = {"polygon": [BOX], "runs": size | {"counts": runs(truth(1))}}.get(kind)
    if kind == "compressed":
        from pycocotools import mask as reference

        encoded = reference.encode(np.asfortranarray(truth(1)))
        segmentation = size | {"counts": encoded["counts"].decode()}
    coco(tmp_path / "train" / "_annotations.coco.json", [(0, 0, segmentation)])
    assert np.array_equal(only_mask(tmp_path), truth(1))
    assert splits(find_masks(tmp_path)) == {"a": "train"}


def test_compressed_runs_agree_with_pycocotools():
    from pycocotools import mask as reference

    rng = np.random.default_rng(0)
    for density in (0.02, 0.5, 0.98):
        mask = (rng.random((61, 83)) < density).astype(np.uint8)
        text = reference.encode(np.asfortranarray(mask))["counts"].decode()
        assert _decompress(text) == runs(mask)


@pytest.mark.parametrize("order", [1, -1])
def test_coco_classes_by_name_with_gaps_and_zero(tmp_path, order):
    put(tmp_path, "a.png")
    names = {0: "Crown", 7: "Caries", 3: "Root"}
    caries, root = [[5, 4, 8, 4, 8, 6, 5, 6]], [[0, 8, 4, 8, 4, 10, 0, 10]]
    coco(
        tmp_path / "_annotations.coco.json",
        [(0, 7, caries), (0, 0, [BOX]), (0, 3, root)][::order],
        [{"id": key, "name": name} for key, name in names.items()],
    )
    assert only_mask(tmp_path).max() == 1 and only_mask(tmp_path).sum() == 24 + 8
    mask = only_mask(tmp_path, classes=["Caries", "Crown"])
    assert find_masks(tmp_path, classes=["Caries", "Crown"]).num_classes == 3
    assert np.bincount(mask.ravel()).tolist() == [HEIGHT * WIDTH - 24, 6, 18]  # caries on the crown
    with pytest.raises(DentalzooError, match=r"'Caries', 'Crown', 'Root'.*Received: \['caries'\]"):
        find_masks(tmp_path, classes=["caries"])


@pytest.mark.parametrize("classes", [["a", "a"], [], "teeth", ["background", "a"]])
def test_classes_that_are_no_list_of_names(tmp_path, classes):
    put(tmp_path, "images/a.png", masks=["masks/a.png"])
    with pytest.raises(DentalzooError, match="Received: "):
        find_masks(tmp_path, classes=classes)


def test_coco_at_the_root_with_images_in_split_folders(tmp_path):
    data = tmp_path / "Data"
    put(data, "train/train_images/a.png", "valid/valid_images/a.png", "valid/valid_images/b.png")
    coco(tmp_path / "train_annotations.coco.json", [(0, 0, [BOX])])
    coco(tmp_path / "valid_annotations.coco.json", [(0, 0, [BOX])], images=["a.png", "c.png"])
    dataset = find_masks(tmp_path)
    assert {(s.image.parent.name, s.split) for s in dataset.samples} == {
        ("train_images", "train"),
        ("valid_images", "val"),
    }
    assert dict(dataset.skipped) == {
        "valid_annotations.coco.json: c.png": "annotation without image",
        "Data/valid/valid_images/b.png": "image without annotation",
    }


def test_masks_win_over_coco_unless_asked(tmp_path):
    put(tmp_path, "images/a.png", masks=["masks/a.png"])
    coco(tmp_path / "all_annotations.coco.json", [(0, 0, [[0, 0, 2, 0, 2, 2, 0, 2]])])
    assert only_mask(tmp_path).sum() == 24
    assert only_mask(tmp_path, annotations="coco").sum() == 4
    assert only_mask(tmp_path, annotations="masks").sum() == 24
    with pytest.raises(DentalzooError, match="Received: 'both'"):
        find_masks(tmp_path, annotations="both")


def test_a_image_without_outlines_is_background(tmp_path):
    put(tmp_path, "a.png")
    coco(tmp_path / "_annotations.coco.json", [])
    assert only_mask(tmp_path).sum() == 0


@pytest.mark.parametrize("segmentation", [[], None])
def test_a_box_without_an_outline_is_no_mask(tmp_path, segmentation):
    put(tmp_path, "a.png", "b.png")
    outlines = [(0, 0, segmentation), (0, 0, [[0, 0, 2, 0, 2, 2, 0, 2]])]
    coco(tmp_path / "_annotations.coco.json", outlines[:1])
    with pytest.raises(DentalzooError, match="found COCO files .* nothing to use as masks"):
        find_masks(tmp_path)
    coco(tmp_path / "_annotations.coco.json", outlines)
    sample = next(s for s in find_masks(tmp_path).samples if s.name == "a")
    with pytest.raises(BadFile, match="a box without an outline"):
        load(sample)


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([[1, 1, 5]], "odd number of coordinates"),
        ([[0, 0, 1e9, 0, 5, 5]], "far outside"),
        ([[0, 0, float("nan"), 0, 5, 5]], "far outside"),
        ({"size": [HEIGHT, WIDTH], "counts": [3, 2]}, "add up"),
        ({"size": [HEIGHT, WIDTH], "counts": [-3, HEIGHT * WIDTH + 3]}, "add up"),
        ({"size": [HEIGHT, WIDTH], "counts": "0PPPP3"}, "add up"),
        ({"size": [HEIGHT, WIDTH], "counts": "z~"}, "compressed"),
        ({"size": [9, 9], "counts": [81]}, "size"),
        ("polygon", "."),
    ],
)
def test_broken_outlines_are_refused(tmp_path, segmentation, reason):
    put(tmp_path, "a.png")
    coco(tmp_path / "_annotations.coco.json", [(0, 0, segmentation)])
    with pytest.raises(BadFile, match=reason) as error:
        only_mask(tmp_path)
    assert "Received: " in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"images": 3}', '{"images": [{"id": 1}], "categories": [], "annotations": []}'],
)
def test_broken_coco_files_are_refused(tmp_path, content):
    put(tmp_path, "a.png")
    (tmp_path / "_annotations.coco.json").write_text(content)
    with pytest.raises(BadFile, match="must be COCO JSON"):
        find_masks(tmp_path)


def test_coco_that_contradicts_itself_is_refused(tmp_path):
    put(tmp_path, "a.png")
    path = tmp_path / "_annotations.coco.json"
    coco(path, [(5, 0, [BOX])])
    with pytest.raises(BadFile, match="image_id 5"):
        find_masks(tmp_path)
    coco(path, [(0, 9, [BOX])])
    with pytest.raises(BadFile, match="category_id 9"):
        find_masks(tmp_path)
    coco(path, [], images=["a.png", "a.png"])
    with pytest.raises(BadFile, match="twice"):
        find_masks(tmp_path)
    coco(path, [(0, 0, [BOX])], width=WIDTH + 1)
    with pytest.raises(BadFile, match="Received: 17 x 12"):
        only_mask(tmp_path)


def test_coco_never_reaches_outside_its_folder(tmp_path):
    put(tmp_path, "secret/a.png", "data/b.png")
    coco(tmp_path / "data" / "_annotations.coco.json", [], images=["../secret/a.png", "b.png"])
    dataset = find_masks(tmp_path / "data")
    assert [s.name for s in dataset.samples] == ["b"]
    assert dataset.skipped == [
        ("_annotations.coco.json: ../secret/a.png", "annotation without image")
    ]


# -- the rules of load ---------------------------------------------------------------------------


def loaded(root, mask, num_classes=1, suffix=".png", **options):
    put(root, "images/a.png", masks=[])
    (root / "masks").mkdir(exist_ok=True)
    Image.fromarray(mask).save(root / "masks" / f"a{suffix}", **options)
    (sample,) = find_masks(root).samples
    arrays = load(sample, num_classes)
    assert arrays["mask"].dtype == np.uint8 and arrays["mask"].shape == (HEIGHT, WIDTH, 1)
    assert arrays["image"].shape == (HEIGHT, WIDTH, 1) and arrays["name"] == "a"
    return arrays["mask"][..., 0]


@pytest.mark.parametrize("num_classes", [1, 2])
@pytest.mark.parametrize("value", [0, 1, 255])
def test_binary_masks(tmp_path, caplog, value, num_classes):
    assert np.array_equal(loaded(tmp_path, truth(value), num_classes), truth(min(value, 1)))
    assert not caplog.records


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_soft_masks_are_thresholded_with_one_notice(tmp_path, caplog, suffix):
    large = np.kron(truth(), np.ones((8, 8), np.uint8))
    soft = cv2.GaussianBlur(large, (9, 9), 0)
    assert ((soft > 85) & (soft < 128)).any()
    put(tmp_path, "images/a.png", "images/b.png")
    (tmp_path / "masks").mkdir()
    for name in "ab":
        Image.fromarray(255 - soft).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(soft).save(tmp_path / "masks" / f"{name}{suffix}")
    for sample in find_masks(tmp_path).samples:
        mask = load(sample)["mask"][..., 0]
        assert np.mean(mask != (soft > 127.5)) <= (0.002 if suffix == ".jpg" else 0)
    assert [r.getMessage().split(": ")[1] for r in caplog.records] == [
        "soft or lossy masks are thresholded at > 0.5"
    ]


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (truth(7), "the values 0, 7"),
        (truth(100), "the values 0, 100"),
        (np.pad([[100]], ((0, HEIGHT - 1), (0, WIDTH - 1))).astype(np.uint8), "values 0, 100"),
        (np.maximum(truth(85), np.eye(HEIGHT, WIDTH, dtype=np.uint8) * 255), "0, 85, 255"),
        (np.maximum(truth(1), np.eye(HEIGHT, WIDTH, dtype=np.uint8) * 255), "0, 1, 255"),
        (np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH) // 24 * 36, "middle"),
        (radiograph(), "middle grey"),
        (truth()[1:], "16 x 12 .*Received: 16 x 11"),
        (truth().T, "Received: 12 x 16"),
    ],
)
def test_masks_that_are_no_binary_masks(tmp_path, mask, reason):
    with pytest.raises(BadFile, match=reason):
        loaded(tmp_path, mask)


def test_class_ids(tmp_path):
    mask = truth(1)
    mask[0, :5] = [2, 3, 32, 5, 0]
    assert np.array_equal(loaded(tmp_path, mask, 33), mask)
    assert np.array_equal(loaded(tmp_path, mask.astype(np.uint16), 33), mask)
    with pytest.raises(BadFile, match=r"0\.\.31 .*Received: the values 32"):
        loaded(tmp_path, mask, 32)
    with pytest.raises(BadFile, match="Received: the values 255"):
        loaded(tmp_path, truth(), 33)


def test_masks_of_turned_images(tmp_path, caplog):
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "images").mkdir()
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(radiograph())))
    stored.save(tmp_path / "images" / "a.png", exif=exif)
    for mask in (truth(), np.ascontiguousarray(np.rot90(truth()))):
        write_png(tmp_path / "masks" / "a.png", mask)
        (sample,) = find_masks(tmp_path).samples
        arrays = load(sample)
        assert np.array_equal(arrays["image"][..., 0], radiograph())
        assert np.array_equal(arrays["mask"][..., 0], truth(1))
    assert len(caplog.records) == 1 and "drawn upright" in caplog.records[0].getMessage()
    for box, size in ((BOX, {}), ([3, 4, 6, 4, 6, 12, 3, 12], {"height": WIDTH, "width": HEIGHT})):
        coco(tmp_path / "x_annotations.coco.json", [(0, 0, [box])], **size)
        assert only_mask(tmp_path, annotations="coco").sum() == 24


# -- check, duplicates, hostile and real files ---------------------------------------------------


def test_check_keeps_the_good_and_lists_the_bad(tmp_path, caplog):
    names = [f"{n}.png" for n in range(4)]
    put(tmp_path, *(f"images/{n}" for n in names), masks=[f"masks/{n}" for n in names])
    (tmp_path / "images" / "1.png").write_bytes(b"x")
    write_png(tmp_path / "masks" / "2.png", truth(9))
    kept = {}
    dataset = find_masks(tmp_path)
    checked = check(dataset, keep=lambda index, arrays: kept.update({index: arrays["name"]}))
    assert [s.name for s in checked.samples] == ["0", "3"] and kept == {0: "0", 1: "3"}
    assert [name for name, _ in checked.skipped] == ["1", "2"]
    assert checked.skipped[1][1].startswith("2.png: must be a binary mask")
    assert len(dataset) == 4 and len(caplog.records) == 2
    for name in names:
        (tmp_path / "images" / name).write_bytes(b"")
    with pytest.raises(DentalzooError, match="none of 4 images.*Received: an empty file"):
        check(dataset)


def test_check_refuses_a_count_of_classes_that_contradicts_coco(tmp_path):
    put(tmp_path, "a.png")
    coco(tmp_path / "_annotations.coco.json", [(0, 0, [BOX])])
    with pytest.raises(DentalzooError, match="num_classes must be 1 .*Received: 33"):
        check(find_masks(tmp_path), num_classes=33)


def test_hostile_folder(tmp_path, caplog):
    expected = make_hostile(tmp_path / "data")
    dataset = check(find_masks(tmp_path / "data"))
    good = {sample.image.name for sample in dataset.samples}
    assert good == {name for name, e in expected.items() if e.pair}
    listed = " ".join(name for name, _ in dataset.skipped)
    for name in expected.keys() - good:
        assert name.rsplit(".", 1)[0] in listed, name
    assert all("\n" not in reason for _, reason in dataset.skipped)
    assert all(r.levelno == logging.WARNING for r in caplog.records)


def textured(seed):
    """A smooth image, as alike to another seed as two radiographs are."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 16), np.uint8)
    image = Image.fromarray(small).resize((160, 80), Image.Resampling.BICUBIC)
    return np.asarray(image)[..., None]


def test_duplicates():
    a = {f"a{n}": perceptual_hash(textured(n)) for n in range(20)}
    brighter = np.clip(textured(3) * 0.8 + 20, 0, 255).astype(np.uint8)
    smaller = np.asarray(Image.fromarray(textured(4)[..., 0]).resize((97, 41)))[..., None]
    b = {f"b{n}": perceptual_hash(textured(n)) for n in range(100, 120)}
    assert find_duplicates(a, b) == []
    b |= {
        "copy": perceptual_hash(np.repeat(textured(2), 3, 2)),
        "bright": perceptual_hash(brighter),
        "small": perceptual_hash(smaller),
    }
    assert find_duplicates(a, b) == [
        ("a2", "copy", "same pixels"),
        ("a3", "bright", "nearly alike"),
        ("a4", "small", "nearly alike"),
    ]
    flat = {"flat": perceptual_hash(np.zeros((9, 9, 1), np.uint8))}
    assert find_duplicates(flat, {"dark": perceptual_hash(np.full((9, 9, 1), 1, np.uint8))}) == []


def test_duplicates_of_roboflow_copies_on_disk(tmp_path):
    for seed, name in enumerate(("train/x_jpg.rf.aa", "train/y", "valid/x_jpg.rf.bb")):
        image, mask = (f"{part}/{name.split('/')[1]}.png" for part in ("images", "masks"))
        split = name.split("/")[0]
        put(tmp_path, f"{split}/{image}", masks=[f"{split}/{mask}"])
        write_png(tmp_path / split / image, textured(seed))
    pairs = find_duplicates(find_masks(tmp_path, "train"), find_masks(tmp_path, "val"))
    assert pairs == [("x_jpg.rf.aa", "x_jpg.rf.bb", "same source")]


def test_a_mask_of_colours_is_refused_with_the_list_of_them(tmp_path):
    put(tmp_path, "images/a.png", masks=["masks/a.png"])
    colours = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colours[2:6] = (255, 0, 0)
    colours[8:10] = (0, 255, 0)
    Image.fromarray(colours).save(tmp_path / "masks" / "a.png")
    (sample,) = find_masks(tmp_path).samples
    with pytest.raises(BadFile, match=r"of 3 colours: \(0, 0, 0\), \(255, 0, 0\), \(0, 255, 0\)"):
        load(sample)


def test_more_than_20_bad_files_are_counted(tmp_path, caplog):
    names = [f"{number:02d}.png" for number in range(26)]
    put(tmp_path, *(f"images/{n}" for n in names), masks=[f"masks/{n}" for n in names])
    for name in names[1:]:
        (tmp_path / "images" / name).write_bytes(b"")
    assert len(check_folder(tmp_path)["skipped"]) == 25
    failed = [line for line in caplog.messages if "an empty file" in line or "more images" in line]
    assert len(failed) == 21 and failed[-1].startswith("and 5 more images failed: 5 x must be PNG")


def test_check_folder_reports_all_that_is_wrong(tmp_path, caplog):
    for split, names in (("train", "abc"), ("valid", "d"), ("test", "e")):
        for name in names:
            put(tmp_path, f"{split}/images/{name}.png", masks=[f"{split}/masks/{name}.png"])
            write_png(tmp_path / split / "images" / f"{name}.png", textured(ord(name)))
    write_png(tmp_path / "test" / "images" / "e.png", textured(ord("b")))
    for mask in tmp_path.glob("*/masks/*.png"):
        write_png(mask, np.zeros((80, 160), np.uint8))
    (tmp_path / "train" / "images" / "c.png").write_bytes(b"")
    write_png(tmp_path / "train" / "images" / "a.png", np.full((80, 160), 9, np.uint8))
    report = check_folder(tmp_path)
    (name, reason), empty = report.pop("suspicious")
    assert name == "a" and "nearly black" in reason
    assert empty == ["masks", "no mask holds an object: all 4 are empty"]
    assert report.pop("skipped")[0][0] == "c"
    assert report.pop("duplicates") == [["b", "e", "same pixels, in train and test"]]
    assert report.pop("patients") == report.pop("personal") == []
    assert report.pop("duplicates_within") == []
    assert sorted(report.pop("without_objects")) == ["a", "b", "d", "e"]
    counts = {"usable": 4, "train": 2, "val": 1, "test": 1, "groups": 4, "empty_masks": 4}
    assert report == {"data": str(tmp_path), "masks": {"foreground": 0}, "not_used": []} | counts
    assert "b and e: same pixels, in train and test" in caplog.text
    report = check_folder(tmp_path, "valid")
    assert report["usable"] == 1 and report["duplicates"] == report["skipped"] == []
    assert json.loads(json.dumps(report)) == report


@pytest.mark.parametrize(("name", "count"), [("panoramic_teeth", 85), ("magnetic_tile", 172)])
def test_real_data(shared_data, name, count):
    if not (shared_data / name).is_dir():
        pytest.skip(f"no {name} there")
    dataset = find_masks(shared_data / name)
    assert len(dataset) == count and dataset.skipped == []
    for sample in dataset.samples[::20]:
        assert set(np.unique(load(sample)["mask"])) <= {0, 1}


def test_real_radiographs_are_no_duplicates_of_each_other(shared_data):
    if not (shared_data / "panoramic_teeth").is_dir():
        pytest.skip("no panoramic_teeth there")
    prints = perceptual_hashes(find_masks(shared_data / "panoramic_teeth", "val"))
    assert find_duplicates(prints, prints) == [(n, n, "same pixels") for n in prints]


# -- boxes beside outlines -------------------------------------------------------------------------


def cvat(path, images):
    """Writes CVAT's XML; of each image its shapes (label, left, top, right, bottom, outlined)."""
    lines = ["<annotations><version>1.1</version>"]
    for name, shapes in images.items():
        lines.append(f'<image id="0" name="{name}" width="{WIDTH}" height="{HEIGHT}">')
        for label, left, top, right, bottom, outlined in shapes:
            corners = f"{left},{top};{right},{top};{right},{bottom};{left},{bottom}"
            box = f'xtl="{left}" ytl="{top}" xbr="{right}" ybr="{bottom}"'
            shape = f'polygon points="{corners}"' if outlined else f"box {box}"
            lines.append(f'<{shape} label="{label}"/>')
        lines.append("</image>")
    path.write_text("\n".join([*lines, "</annotations>"]))


TOOTH = ("tooth", 2, 3, 6, 9, True)
CARIES = ("caries", 8, 1, 12, 5, False)


def test_boxes_of_labels_without_outlines_are_left_out_of_masks_with_one_line(tmp_path, caplog):
    put(tmp_path, "a.png", "b.png", "c.png")
    filling = ("Filling", 3, 4, 5, 6, False)
    shapes = {"a.png": [TOOTH, CARIES], "b.png": [filling, TOOTH, CARIES], "c.png": []}
    cvat(tmp_path / "annotations.xml", shapes)
    dataset = find_masks(tmp_path)
    tooth = np.zeros((HEIGHT, WIDTH), np.uint8)
    tooth[3:9, 2:6] = 1
    masks = {s.name: load(s)["mask"][..., 0] for s in dataset.samples}
    assert np.array_equal(masks["a"], tooth) and np.array_equal(masks["b"], tooth)
    assert masks["c"].sum() == 0 and not dataset.skipped
    (line,) = [r.getMessage() for r in caplog.records if "no outlines" in r.getMessage()]
    assert "not used: boxes of 'Filling', 'caries' (they have no outlines; masks show 'tooth')" in (
        line
    )
    assert dataset.unused[0][0] == "boxes of 'Filling', 'caries'"


def test_an_image_with_boxes_of_labels_without_outlines_alone_is_not_taken_as_empty(tmp_path):
    put(tmp_path, "a.png", "b.png")
    cvat(tmp_path / "annotations.xml", {"a.png": [TOOTH], "b.png": [CARIES]})
    dataset = find_masks(tmp_path)
    assert [sample.name for sample in dataset.samples] == ["a"]
    reason = "only boxes of 'caries', without outlines; classes=('tooth',) takes it as empty"
    assert dataset.skipped == [("b.png", reason)]
    chosen = check(find_masks(tmp_path, classes=("tooth",)))
    assert [load(sample)["mask"].sum() for sample in chosen.samples] == [24, 0]


def test_a_label_with_outlines_and_boxes_is_refused_and_the_way_out_works(tmp_path):
    put(tmp_path, "a.png", "b.png", "c.png")
    other = ("Caries", 8, 1, 12, 5, True)
    shapes = {"a.png": [TOOTH, CARIES], "b.png": [TOOTH, other], "c.png": [TOOTH]}
    cvat(tmp_path / "annotations.xml", shapes)
    checked = check(find_masks(tmp_path))
    assert [sample.name for sample in checked.samples] == ["b", "c"]
    ((name, reason),) = checked.skipped
    assert name == "a" and "a box without an outline of the class 'caries'" in reason
    assert "--classes tooth (of train: --set \"classes=('tooth',)\")" in reason
    chosen = check(find_masks(tmp_path, classes=("tooth",)))
    assert [load(sample)["mask"].sum() for sample in chosen.samples] == [24, 24, 24]
    refused = check(find_masks(tmp_path, classes=("tooth", "caries")))
    assert [sample.name for sample in refused.samples] == ["b", "c"]


def test_boxes_are_not_left_out_beside_masks_of_pixels_whose_labels_are_unknown(tmp_path):
    annotation = base.ImageAnnotation
    tooth = base.RawBox("tooth", (0, 0, 1, 1), "object 1", outline=[[0, 0, 1, 0, 1, 1]])
    boxes = [tooth, base.RawBox("caries", (0, 0, 1, 1), "object 2")]
    tree = scan(tmp_path)
    for mask, left in ((tmp_path / "mask.png", 2), (None, 1)):
        one, two = annotation(tmp_path, "one", boxes=[*boxes]), annotation(tmp_path, "two")
        two.mask = mask
        images = {tmp_path / "one.png": one, tmp_path / "two.png": two}
        parsed = base.ParsedAnnotations(images)
        assert len(leave_out_boxes(tree, parsed)) == (mask is None)
        assert len(one.boxes) == left


def test_check_names_a_single_inverted_mask(tmp_path):
    names = [f"{number}.png" for number in range(4)]
    put(tmp_path, *(f"images/{name}" for name in names), masks=[f"masks/{name}" for name in names])
    Image.fromarray(255 - truth()).save(tmp_path / "masks" / "2.png")
    (name, reason), (of_all, _) = check_folder(tmp_path)["suspicious"]
    assert name == "2" and "is it black on white?" in reason
    assert of_all == "masks"  # one of four is more than one in ten


def test_the_union_of_several_classes_is_told(tmp_path, caplog):
    polygon = '<polygon label="{}" points="4,4;14,4;14,14"/>'
    shapes = "".join(map(polygon.format, ("crown", "tooth", "tooth")))
    put(tmp_path, "a.png")
    text = f'<annotations><image name="a.png" width="48" height="24">{shapes}</image></annotations>'
    (tmp_path / "a.xml").write_text(text)
    caplog.set_level("INFO", "dentalzoo")
    find_masks(tmp_path, classes=["tooth", "crown"])
    assert "make one mask" not in caplog.text
    find_masks(tmp_path)
    assert "the outlines of 2 classes make one mask, crown, tooth" in caplog.text


def test_check_takes_the_classes_of_a_list_beside_the_masks(tmp_path, capsys):
    put(tmp_path, "images/a.png", masks=["masks/a.png"])
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[2:5, 2:5], ids[6:9, 6:9] = 1, 2
    write_png(tmp_path / "masks" / "a.png", ids)
    assert main(["check", str(tmp_path), "--json"]) == 2
    (tmp_path / "masks" / "classes.txt").write_text("tooth\ncrown")
    capsys.readouterr()
    assert main(["check", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["masks"] == {"tooth": 1, "crown": 1}


@pytest.mark.parametrize(
    "key", ["coco", "vott", "labelme", "label_studio", "cvat", "supervisely", "dentex"]
)
def test_boxes_beside_outlines_in_each_format_that_holds_both(key, tmp_path):
    outlined, boxed = ("11", "12") if key == "dentex" else ("tooth", "caries")
    sides = [3 / HEIGHT, 2 / WIDTH, 9 / HEIGHT, 6 / WIDTH]
    outline = ((2.0, 3.0, 6.0, 3.0, 6.0, 9.0, 2.0, 9.0),)
    objects = (base.Box(outlined, *sides, outline=outline), base.Box(boxed, 0.1, 0.5, 0.4, 0.9))
    put(tmp_path, "a.png")
    samples = [base.BoxSample("a", tmp_path / "a.png", objects)]
    write_annotations(format_named(key), samples, tmp_path / "out", (outlined, boxed))
    (sample,) = find_masks(tmp_path / "out").samples
    tooth = np.zeros((HEIGHT, WIDTH), np.uint8)
    tooth[3:9, 2:6] = 1
    assert np.array_equal(load(sample)["mask"][..., 0], tooth)
