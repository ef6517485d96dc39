"""Synthetic panoramic radiographs: determined by the seed, exact labels, plausible anatomy."""

import csv
import hashlib
import inspect
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from dentalzoo.data.synthetic import FINDINGS, panoramic, write_panoramic_dataset
from dentalzoo.data.synthetic import radiograph as generator
from dentalzoo.data.synthetic.dataset import fdi_palette
from dentalzoo.data.synthetic.shapes import LOWER, UPPER
from dentalzoo.errors import DentalzooError

SEEDS = range(8)


@pytest.fixture(scope="module")
def radiographs():
    return [panoramic(seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def worn():
    """Radiographs with many findings of every class."""
    rates = dict(missing=0.15, restored=0.5, endodontic=0.3, crowned=0.2, carious=0.3)
    return [panoramic(seed, remnants=0.1, edentulous=0, **rates) for seed in range(20, 26)]


def digest(radiograph):
    parts = [radiograph.image.tobytes(), radiograph.teeth.tobytes()]
    parts += [f.name.encode() + repr((f.fdi, f.box)).encode() + f.crop.tobytes()
              for f in radiograph.findings]  # fmt: skip
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_a_seed_gives_the_same_radiograph_in_another_process():
    code = (
        "import hashlib\nfrom dentalzoo.data.synthetic import panoramic\n"
        + inspect.getsource(digest)
        + "print(digest(panoramic(7, 128, 256)))"
    )
    root = Path(__file__).parents[3]
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert process.stdout.strip() == digest(panoramic(7, 128, 256))


def test_seeds_differ_and_global_random_state_is_unchanged(radiographs):
    assert len({digest(radiograph) for radiograph in radiographs}) == len(radiographs)
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    panoramic(1, 64, 128)
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize("height, width", [(256, 512), (512, 1024), (640, 1280), (101, 333)])
def test_any_size(height, width):
    radiograph = panoramic(3, height, width)
    assert radiograph.image.shape == radiograph.teeth.shape == (height, width)
    assert radiograph.image.dtype == radiograph.teeth.dtype == np.uint8
    assert 0.12 < radiograph.tooth_mask.mean() < 0.33


def test_sizes_show_the_same_patient():
    small, large = panoramic(5, 256, 512), panoramic(5, 512, 1024)
    assert small.positions == large.positions
    assert {(f.name, f.fdi) for f in small.findings} == {(f.name, f.fdi) for f in large.findings}
    reduced = cv2.resize(large.teeth, (512, 256), interpolation=cv2.INTER_NEAREST)
    assert (reduced == small.teeth).mean() > 0.97


def test_every_box_is_the_tight_box_of_its_mask(worn):
    seen = set()
    for radiograph in worn:
        height, width = radiograph.teeth.shape
        for finding, box in zip(radiograph.findings, radiograph.boxes, strict=True):
            mask = finding.mask(height, width)
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            expected = (rows[0] / height, columns[0] / width,
                        (rows[-1] + 1) / height, (columns[-1] + 1) / width)  # fmt: skip
            assert finding.box == pytest.approx(expected, abs=1e-9)
            assert box == pytest.approx(expected, abs=1e-6)
            seen.add(finding.name)
    assert seen == set(FINDINGS)


def test_a_finding_keeps_every_pixel_of_its_mask():
    frame = generator._make_frame(np.random.default_rng(0), 40, 60)
    mask = np.zeros((9, 12), bool)
    mask[2, 3], mask[7, 10] = True, True
    finding = generator._finding(frame, "caries", 11, (slice(20, 29), slice(30, 42)), mask)
    whole = finding.mask(40, 60)
    assert (whole[20:29, 30:42] == mask).all() and whole.sum() == 2
    assert finding.box == pytest.approx((22 / 40, 33 / 60, 28 / 40, 41 / 60))
    empty = np.zeros((9, 12), bool)
    assert generator._finding(frame, "caries", 11, (slice(20, 29), slice(30, 42)), empty) is None


def test_class_ids_count_from_one(worn):
    radiograph = worn[0]
    assert radiograph.classes.dtype == np.int32 and radiograph.boxes.dtype == np.float32
    assert [FINDINGS[i - 1] for i in radiograph.classes] == [f.name for f in radiograph.findings]
    union = np.logical_or.reduce(
        [f.mask(512, 1024) for f in radiograph.findings if f.name == "crown"]
    )
    assert (radiograph.finding_mask("crown") == union).all()
    with pytest.raises(DentalzooError, match="Received: 'gold'"):
        radiograph.finding_mask("gold")


def test_positions_are_teeth_or_implants_or_gaps(radiographs, worn):
    for radiograph in [*radiographs, *worn]:
        assert 28 <= len(radiograph.positions) <= 32
        teeth = set(np.unique(radiograph.teeth)) - {0}
        empty = {f.fdi for f in radiograph.findings if f.name in ("missing", "implant")}
        assert teeth | empty == set(radiograph.positions)
        assert not teeth & empty
        on_teeth = ("restoration", "endodontic", "caries", "root")
        assert {f.fdi for f in radiograph.findings if f.name in on_teeth} <= teeth


def test_fdi_numbers_run_from_the_patients_right_to_the_left(radiographs):
    for radiograph in radiographs:
        for order, other in ((UPPER, LOWER), (LOWER, UPPER)):
            present = [fdi for fdi in order if (radiograph.teeth == fdi).any()]
            centres = [np.nonzero(radiograph.teeth == fdi) for fdi in present]
            columns = [c.mean() for _, c in centres]
            assert columns == sorted(columns), present
            below = np.isin(radiograph.teeth, other)
            rows = np.mean([r.mean() for r, _ in centres])
            assert (rows < np.nonzero(below)[0].mean()) == (order is UPPER)


def test_a_tooth_is_one_piece(radiographs):
    for radiograph in radiographs:
        for fdi in np.unique(radiograph.teeth)[1:]:
            pieces, labels = cv2.connectedComponents((radiograph.teeth == fdi).astype(np.uint8))
            sizes = np.bincount(labels.ravel())[1:]
            assert sizes.max() > 0.9 * sizes.sum(), fdi


def test_enamel_is_brighter_than_dentine_and_dentine_than_pulp(monkeypatch):
    teeth = []
    make = generator._make_dentition
    monkeypatch.setattr(
        generator, "_make_dentition", lambda *args: teeth.extend(make(*args)) or list(teeth)
    )
    frames = []
    frame = generator._make_frame
    monkeypatch.setattr(
        generator, "_make_frame", lambda *args: frames.append(frame(*args)) or frames[-1]
    )
    zero = dict(missing=0, restored=0, endodontic=0, crowned=0, carious=0, remnants=0)
    means = []
    for seed in range(4):
        teeth.clear()
        radiograph = panoramic(seed, edentulous=0, **zero)
        whole = slice(0, 512), slice(0, 1024)
        molars = [tooth for tooth in teeth if tooth.fdi % 10 in (6, 7)]
        for tooth in molars:
            mine = radiograph.teeth == tooth.fdi
            crown, core, pulp = (
                frames[-1].cover(outlines, whole) > 0.9
                for outlines in ([tooth.crown], [tooth.core], tooth.pulp)
            )
            enamel = mine & crown & ~core
            dentine = mine & crown & core & ~pulp
            means.append(
                [radiograph.image[part].mean() for part in (enamel, dentine, mine & pulp & core)]
            )
    enamel, dentine, pulp = np.mean(means, axis=0)
    assert enamel > dentine + 5 and dentine > pulp + 5


def test_metal_is_the_brightest_and_caries_dark(worn):
    for radiograph in worn:
        tooth = radiograph.image[radiograph.tooth_mask].mean()
        for name in ("restoration", "endodontic", "crown", "implant"):
            mask = radiograph.finding_mask(name)
            if mask.any():
                assert radiograph.image[mask].mean() > tooth + 15, name
    caries = [
        f.image[f.finding_mask("caries")].mean() for f in worn if f.finding_mask("caries").any()
    ]
    assert np.mean(caries) < np.mean([f.image[f.tooth_mask].mean() for f in worn]) - 10


def test_teeth_are_brighter_than_their_surroundings(radiographs):
    for radiograph in radiographs:
        mask = radiograph.tooth_mask.astype(np.uint8)
        ring = (cv2.dilate(mask, np.ones((25, 25), np.uint8)) > 0) & (mask == 0)
        assert radiograph.image[mask > 0].mean() > radiograph.image[ring].mean() + 8


def test_findings_of_a_position_do_not_overlap(worn):
    for radiograph in worn:
        for fdi in {f.fdi for f in radiograph.findings}:
            masks = [f.mask(*radiograph.teeth.shape) for f in radiograph.findings if f.fdi == fdi]
            assert np.sum(masks, axis=0).max() == 1, fdi


def test_implants_are_not_teeth(worn):
    for radiograph in worn:
        for finding in radiograph.findings:
            if finding.name == "implant":
                assert not (radiograph.teeth == finding.fdi).any()


def test_edentulous():
    radiograph = panoramic(2, 256, 512, edentulous=1.0)
    assert not radiograph.teeth.any()
    assert {f.name for f in radiograph.findings} <= {"missing", "implant", "crown"}
    assert {f.fdi for f in radiograph.findings} == set(radiograph.positions)


def test_rates_of_zero_leave_a_perfect_dentition():
    zero = dict(missing=0, restored=0, endodontic=0, crowned=0, carious=0, remnants=0, edentulous=0)
    radiograph = panoramic(1, 256, 512, wisdom=1.0, **zero)
    assert radiograph.findings == () and radiograph.boxes.shape == (0, 4)
    assert radiograph.positions == (*UPPER, *LOWER)
    assert set(np.unique(radiograph.teeth)) == {0, *UPPER, *LOWER}


@pytest.mark.parametrize("arguments", [(-1,), (0, 16, 1024), (0, 512, 8)])
def test_refuses(arguments):
    with pytest.raises(DentalzooError, match="Received: "):
        panoramic(*arguments)


def test_quick_enough():
    spent = []
    for seed in range(5):
        start = time.process_time()
        panoramic(seed)
        spent.append(time.process_time() - start)
    print(f"CPU time of a radiograph of 512 x 1024: {1000 * statistics.median(spent):.0f} ms")
    assert statistics.median(spent) < 0.5


def test_written_dataset(tmp_path):
    folder = write_panoramic_dataset(tmp_path / "radiographs", 5, seed=30, height=128, width=256)
    names = [f"{i:04d}" for i in range(5)]
    with open(folder / "split.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == names
    assert [row["split"] for row in rows] == ["train"] * 4 + ["val"]
    coco = json.loads((folder / "annotations.coco.json").read_text())
    assert [c["name"] for c in coco["categories"]] == list(FINDINGS)
    for index, name in enumerate(names):
        radiograph = panoramic(30 + index, 128, 256)
        image = np.asarray(Image.open(folder / "images" / f"{name}.png"))
        assert (image == radiograph.image).all()
        mask = np.asarray(Image.open(folder / "masks" / f"{name}.png"))
        assert set(np.unique(mask)) <= {0, 255} and ((mask > 0) == radiograph.tooth_mask).all()
        teeth = Image.open(folder / "teeth" / f"{name}.png")
        assert teeth.mode == "P" and (np.asarray(teeth) == radiograph.teeth).all()
        entries = [a for a in coco["annotations"] if a["image_id"] == index + 1]
        assert len(entries) == len(radiograph.findings)
        for entry, finding in zip(entries, radiograph.findings, strict=True):
            x, y, w, h = entry["bbox"]
            box = np.array(finding.box) * (128, 256, 128, 256)
            assert [y, x, y + h, x + w] == pytest.approx(box)
            assert entry["area"] == finding.crop.sum()
    with pytest.raises(DentalzooError, match="Received: 0"):
        write_panoramic_dataset(tmp_path, 0)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_polygons_rasterise_to_the_masks(tmp_path):
    write_panoramic_dataset(tmp_path, 1, seed=24, missing=0.2, restored=0.6)
    radiograph = panoramic(24, missing=0.2, restored=0.6)
    entries = json.loads((tmp_path / "annotations.coco.json").read_text())["annotations"]
    overlaps = []
    for entry, finding in zip(entries, radiograph.findings, strict=True):
        runs = coco_mask.merge(coco_mask.frPyObjects(entry["segmentation"], 512, 1024))
        decoded, mask = coco_mask.decode(runs) > 0, finding.mask(512, 1024)
        overlaps.append((decoded & mask).sum() / (decoded | mask).sum())
    assert np.mean(overlaps) > 0.93 and len(overlaps) > 5


def test_palette_has_a_colour_per_tooth():
    colours = [fdi_palette()[fdi] for fdi in (0, *UPPER, *LOWER)]
    assert len(set(colours)) == 33
