"""Measuring and applying a bundle of the task "detection", on a stand-in that needs no network.

The stand-in sees bright rectangles on black: an image is its own detection. The hundreds of a
grey value are the class (0..99 is class 1), the rest is the score in percent.
"""

import csv
import json
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dentalzoo.cli import main
from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.io.images import read_image, write_png
from dentalzoo.errors import DentalzooError
from dentalzoo.plots.palette import palette
from dentalzoo.tasks.detection import compare, evaluate, predict, summary_metrics
from dentalzoo.tasks.detection import scores as measures
from dentalzoo.tasks.detection.coco_scores import coco_scores, evaluated
from dentalzoo.tasks.detection.drawing import overlay
from dentalzoo.tasks.detection.matching import (
    FALSE_POSITIVE,
    IGNORED,
    TRUE_POSITIVE,
    Case,
    Matches,
    match,
)
from dentalzoo.tasks.detection.resampling import ranked_by_coco, statistics
from dentalzoo.tasks.detection.sweep import Sweep
from dentalzoo.tasks.detector import Detector
from dentalzoo.tasks.options import (
    BoxOptions,
    DetectionEvaluateOptions,
    DetectionPredictOptions,
)
from dentalzoo.tasks.postprocessing import (
    in_quadrant_order,
    one_per_tooth,
    suppress,
    suppress_at,
    suppress_per_class,
)
from dentalzoo.tasks.tooth_order import OrderWarnings

CLASSES = ("restoration", "endodontic", "implant")


class StandIn:
    """Finds the rectangles; `raw` finds each three times, the copies moved and with less score."""

    name = "stand_in"

    def __init__(self, classes=CLASSES, raw=False, **config):
        self.path = Path("runs", self.name, "bundle")
        signatures = {"detect": {}, "raw": {}} if raw else {"detect": {}}
        self.metadata = {
            "task": "detection",
            "config": {"classes": list(classes), "nms_iou": 0.5, **config},
            "signatures": signatures,
        }
        self.calls = []

    @property
    def task(self):
        return self.metadata["task"]

    def detect(self, image):
        self.calls.append("detect")
        boxes, scores, classes = self._see(image)
        empty = 100 - len(scores)
        return {
            "boxes": np.pad(boxes, ((0, empty), (0, 0))),
            "scores": np.pad(scores, (0, empty)),
            "classes": np.pad(classes, (0, empty)),
            "num": np.int32(len(scores)),
        }

    def raw(self, image):
        self.calls.append("raw")
        boxes, scores, classes = self._see(image)
        moves = [0 * boxes]
        for part in (0.2, 0.45):  # IoU 2/3 and 0.38 with the box itself
            moves.append(np.pad((boxes[:, 2:] - boxes[:, :2])[:, :1] * part, ((0, 0), (0, 3))))
            moves[-1][:, 2] = moves[-1][:, 0]
        table = np.zeros((3 * len(scores), len(self.metadata["config"]["classes"])), np.float32)
        for index, factor in enumerate((1, 0.9, 0.8)):
            rows = np.arange(len(scores)) + index * len(scores)
            table[rows, classes - 1] = scores * factor
        return {"boxes": np.concatenate([boxes + move for move in moves]), "scores": table}

    def _see(self, image):
        grey = np.ascontiguousarray(image[..., 0])
        if grey[0, 0] == 13:
            raise DentalzooError("an image it does not like. Received: 13")
        _, _, stats, _ = cv2.connectedComponentsWithStats((grey > 0).astype(np.uint8))
        size = np.float32([*grey.shape, *grey.shape])
        boxes = [(y, x, y + h, x + w) for x, y, w, h, _ in stats[1:]]
        values = np.array([int(grey[y, x]) for y, x, _, _ in boxes], int)
        order = np.argsort(-(values % 100), kind="stable")
        boxes = np.float32(boxes).reshape(-1, 4)[order] / size
        return boxes, np.float32(values % 100 / 100)[order], np.int32(values // 100 + 1)[order]


def radiograph(*rectangles, size=(60, 100)):
    """A black image with rectangles (value, top, left, bottom, right)."""
    image = np.zeros(size, np.uint8)
    for value, top, left, bottom, right in rectangles:
        image[top:bottom, left:right] = value
    return image


def write_boxes(folder, imgs, classes=CLASSES):
    """A COCO data set of name -> (image, [(label, top, left, bottom, right)])."""
    images, annotations = [], []
    for name, (image, boxes) in imgs.items():
        write_png(folder / "images" / f"{name}.png", image)
        images.append(
            {
                "id": len(images) + 1,
                "file_name": f"{name}.png",
                "height": image.shape[0],
                "width": image.shape[1],
            }
        )
        for label, top, left, bottom, right in boxes:
            box = [left, top, right - left, bottom - top]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": classes.index(label) + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.coco.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def data(tmp_path):
    """Four images: one right, one with a wrong class, one with a miss, one with a ghost."""
    one, two = (10, 10, 30, 20), (10, 50, 30, 60)
    return write_boxes(
        tmp_path / "data",
        {
            "a": (
                radiograph((95, *one), (190, *two)),
                [("restoration", *one), ("endodontic", *two)],
            ),
            "b": (
                radiograph((280 - 100, *one)),
                [("restoration", *one)],
            ),  # seen as endodontic, 0.8
            "c": (radiograph((70, *one)), [("restoration", *one), ("restoration", *two)]),
            "d": (radiograph((60, *one)), []),
        },
    )


# ---- post-processing -----------------------------------------------------------------------------


def random_boxes(rng, number, size=0.3):
    corners = rng.random((number, 2)) * (1 - size)
    return np.float32(np.concatenate([corners, corners + 0.02 + rng.random((number, 2)) * size], 1))


@pytest.mark.parametrize("iou", [0.0, 0.2, 0.5, 0.9])
def test_suppression_is_that_of_opencv(iou):
    rng = np.random.default_rng(0)
    for number in (1, 2, 60):
        boxes = np.float64(np.round(random_boxes(rng, number) * 1000))
        scores = rng.permutation(number).astype(np.float64) / number + 0.001
        top, left, bottom, right = boxes.T
        theirs = cv2.dnn.NMSBoxes(
            np.stack([left, top, right - left, bottom - top], 1), scores.tolist(), 0.0, iou
        )
        np.testing.assert_array_equal(suppress(boxes, scores, iou), np.ravel(theirs))


@pytest.mark.slow
def test_suppression_is_that_of_tensorflow():
    import tensorflow as tf

    rng = np.random.default_rng(0)
    for iou in (0.0, 0.3, 0.5, 0.7, 1.0):
        boxes, scores = random_boxes(rng, 200), rng.permutation(200).astype(np.float32)
        theirs = tf.image.non_max_suppression(boxes, scores, 50, iou).numpy()
        np.testing.assert_array_equal(suppress(boxes, scores, iou, 50), theirs)


def test_a_smaller_limit_gives_the_beginning_of_the_same_list():
    rng = np.random.default_rng(1)
    boxes, scores = random_boxes(rng, 80), rng.random(80)
    ious = (0.1, 0.4, 1.0)
    for iou, kept in zip(ious, suppress_at(boxes, scores, ious), strict=True):
        for limit in (1, 5, 500):
            np.testing.assert_array_equal(suppress(boxes, scores, iou, limit), kept[:limit])
    assert len(kept) == 80


def test_classes_do_not_suppress_each_other():
    boxes = np.float32([[0, 0, 1, 1]] * 4)
    scores, classes = np.float32([0.5, 0.9, 0.7, 0.8]), np.int32([1, 1, 2, 2])
    assert suppress_per_class(boxes, scores, classes, 0.5).tolist() == [1, 3]
    assert suppress_per_class(boxes, scores, classes, None, 1).tolist() == [1, 3]
    assert suppress_per_class(boxes, scores, classes).tolist() == [1, 3, 2, 0]
    assert suppress_per_class(boxes[:0], scores[:0], classes[:0], 0.5).tolist() == []


# ---- teeth ---------------------------------------------------------------------------------------


def test_each_tooth_keeps_its_best_box_in_the_order_of_quadrants():
    numbers = np.array([36, 11, 18, 11, 21, 48, 36])
    scores = np.array([0.4, 0.6, 0.5, 0.9, 0.3, 0.8, 0.7])
    boxes = arch(numbers)
    chosen = one_per_tooth(boxes, scores, numbers)
    assert numbers[chosen].tolist() == [11, 18, 21, 36, 48]
    assert scores[chosen].tolist() == [0.9, 0.5, 0.3, 0.7, 0.8]
    boxes[4] = boxes[3]  # 21 stands where the better 11 does: one tooth has one number
    assert numbers[one_per_tooth(boxes, scores, numbers)].tolist() == [11, 18, 36, 48]
    assert one_per_tooth(boxes[:0], scores[:0], numbers[:0]).tolist() == []


def test_a_tooth_is_not_lost_where_its_number_is_given_to_its_neighbour():
    """27 is missing, as the network thinks, and what stands behind 26 is 28; or both are one on."""
    boxes = arch(np.array([26, 27, 28, 27, 28]))
    numbers, scores = np.array([26, 27, 27, 26, 28]), np.array([0.8, 0.9, 0.95, 0.7, 0.6])
    chosen = one_per_tooth(boxes, scores, numbers)
    assert numbers[chosen].tolist() == [26, 27, 28] and chosen.tolist() == [0, 1, 4]
    chosen = one_per_tooth(boxes[:4], scores[:4], numbers[:4])  # 26, or 26 and 27, of three teeth
    assert chosen.tolist() == [0, 2]
    scores[0] = 0.05  # now 26 one place on and 27 are likelier
    assert one_per_tooth(boxes[:4], scores[:4], numbers[:4]).tolist() == [3, 2]
    scores[3] = 0.01
    assert one_per_tooth(boxes[2:4], scores[2:4], numbers[2:4]).tolist() == [0]


def test_each_tooth_has_a_number_of_its_own_with_the_greatest_product_of_scores():
    """Against all choices."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        places, numbers = rng.integers(0, 3, 8), rng.choice([11, 12, 13], 8)
        boxes, scores = arch(11 + places), rng.random(8) ** 2
        best = 0
        for code in range(256):
            subset = np.flatnonzero([code >> bit & 1 for bit in range(8)])
            unlike = len(set(places[subset])) == len(set(numbers[subset])) == len(subset)
            if unlike:
                best = max(best, np.log(scores[subset] / 0.01).sum())
        chosen = one_per_tooth(boxes, scores, numbers)
        assert len(set(places[chosen])) == len(set(numbers[chosen])) == len(chosen)
        assert np.log(scores[chosen] / 0.01).sum() == pytest.approx(best)


def arch(numbers):
    """Boxes of teeth as they stand on a radiograph, upper jaw above the lower."""
    boxes = []
    for number in numbers:
        quadrant, kind = divmod(number, 10)
        side = -1 if quadrant in (1, 4, 5, 8) else 1
        x, y = 0.5 + side * (kind - 0.5) * 0.05, 0.2 if quadrant in (1, 2, 5, 6) else 0.6
        boxes.append((y, x - 0.02, y + 0.2, x + 0.02))
    return np.float32(boxes)


def test_a_whole_mouth_is_in_order_and_what_stands_elsewhere_is_not():
    numbers = np.array([10 * quadrant + kind for quadrant in (4, 2, 1, 3) for kind in range(1, 9)])
    boxes, scores = arch(numbers), np.full(32, 0.9)
    chosen = in_quadrant_order(boxes, scores, numbers)
    assert numbers[chosen].tolist() == sorted(numbers)
    # A second 11 on the wrong side, a 36 among the teeth of the right: both with less score.
    wrong = arch([21, 45])
    chosen = in_quadrant_order(
        np.concatenate([boxes, wrong]), np.append(scores, [0.8, 0.7]), np.append(numbers, [11, 36])
    )
    assert chosen.max() < 32 and len(chosen) == 32
    # With more score the ghost wins against the one tooth that it contradicts.
    chosen = in_quadrant_order(
        arch([12, 11, 21]), np.array([0.3, 0.9, 0.9]), np.array([11, 12, 21])
    )
    assert len(chosen) == 2


def test_deciduous_and_permanent_teeth_stand_in_one_jaw():
    numbers = np.array([55, 54, 16, 15, 65])
    chosen = in_quadrant_order(arch(numbers), np.full(5, 0.5), numbers)
    assert numbers[chosen].tolist() == [15, 16, 54, 55, 65]
    assert in_quadrant_order(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)).tolist() == []


def test_the_log_names_images_with_numbers_out_of_order_and_counts_the_rest(caplog):
    warnings = OrderWarnings("look at them")
    for number in range(25):
        warnings.add(Path(f"{number}.png"), [])
        warnings.add(Path(f"{number}.png"), [21, 11])
    warnings.close()
    lines = caplog.messages
    assert len(lines) == 21 and "0.png: not in the order of teeth: 11, 21; " in lines[0]
    assert lines[-1] == "and 5 more images have numbers out of order; look at them"


def test_order_takes_the_greatest_total_score():
    """Against all subsets."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        numbers = rng.choice([13, 12, 11, 21, 22], 6)
        boxes, scores = random_boxes(rng, 6), rng.random(6) + 0.1
        centres, places = (
            boxes[:, 1] + boxes[:, 3],
            np.where(numbers < 20, -(numbers % 10), numbers % 10),
        )
        best = 0
        for code in range(64):
            subset = np.flatnonzero([code >> bit & 1 for bit in range(6)])
            subset = subset[np.argsort(centres[subset])]
            if (np.diff(places[subset]) > 0).all():
                best = max(best, scores[subset].sum())
        chosen = in_quadrant_order(boxes, scores, numbers)
        assert scores[chosen].sum() == pytest.approx(best)


# ---- matching and scores -------------------------------------------------------------------------


def a_case(gt=(), detections=(), ignored=(), crowd=(), size=(600, 1000)):
    """gt: (label, box); detections: (label, score, box); boxes in [0, 1]."""
    return Case(
        name="case",
        size=size,
        gt_boxes=np.float32([box for _, box in gt]).reshape(-1, 4),
        gt_classes=np.array([label for label, _ in gt], np.int32),
        ignored=np.isin(np.arange(len(gt)), [*ignored, *crowd]),
        crowd=np.isin(np.arange(len(gt)), crowd),
        boxes=np.float32([box for *_, box in detections]).reshape(-1, 4),
        scores=np.float32([score for _, score, _ in detections]),
        classes=np.array([label for label, *_ in detections], np.int32),
    )


def gather(cases, num_classes):
    """The matches of all images."""
    matches = Matches(num_classes)
    for case in cases:
        matches.add(case)
    return matches


LEFT, RIGHT, WIDE = (0.1, 0.1, 0.3, 0.3), (0.1, 0.6, 0.3, 0.8), (0.05, 0.05, 0.35, 0.85)


def test_the_best_detection_of_an_object_is_its_true_positive():
    case = a_case(
        [(1, LEFT), (2, RIGHT)],
        [(1, 0.6, LEFT), (1, 0.9, (0.1, 0.1, 0.3, 0.28)), (1, 0.8, RIGHT), (2, 0.1, RIGHT)],
    )
    kinds, objects = match(case)
    assert kinds.tolist() == [FALSE_POSITIVE, TRUE_POSITIVE, FALSE_POSITIVE, TRUE_POSITIVE]
    assert objects.tolist() == [-1, 0, -1, 1]


def test_difficult_objects_and_crowds_are_ignored():
    boxes = [(1, 0.9, LEFT), (1, 0.8, LEFT), (1, 0.7, (0.12, 0.62, 0.2, 0.7)), (1, 0.6, RIGHT)]
    case = a_case([(1, LEFT), (1, RIGHT)], boxes, ignored=[0], crowd=[1])
    kinds, _ = match(case)
    assert kinds.tolist() == [IGNORED] * 4
    points = measures.curve(gather([case], 1), 1)
    assert (points.objects, len(points.scores)) == (0, 0)
    assert measures.average_precision(points) is None
    assert measures.sensitivity(points) is None
    assert measures.at_threshold(points, 0.5)["f1"] == 1


def test_a_crowd_takes_nothing_from_an_object_inside_of_it():
    case = a_case([(1, WIDE), (1, LEFT)], [(1, 0.9, LEFT), (1, 0.8, RIGHT)], crowd=[0])
    assert match(case)[0].tolist() == [TRUE_POSITIVE, IGNORED]


def random_cases(seed=0, number=25, classes=3, most=2, difficult=False):
    """Objects that do not overlap, so that the rules of VOC and COCO agree, and noisy boxes.

    They do not agree on a second detection of a difficult object: a false positive for COCO alone.
    """
    rng = np.random.default_rng(seed)
    cases = []
    for _ in range(number):
        cells = rng.permutation(16)[: rng.integers(0, 9)]
        boxes = [
            (r / 4 + 0.02, c / 4 + 0.02, r / 4 + 0.2, c / 4 + 0.2)
            for r, c in (divmod(cell, 4) for cell in cells)
        ]
        gt = [(int(rng.integers(1, classes + 1)), box) for box in boxes]
        detections = []
        for label, box in gt:
            for _ in range(rng.integers(0, most + 1)):
                label = label if rng.random() < 0.8 else int(rng.integers(1, classes + 1))
                noise = np.clip(box + rng.normal(0, 0.02, 4), 0, 1)
                detections.append((label, float(np.round(rng.random(), 2)), noise))  # with ties
        ignored = rng.permutation(len(gt))[: len(gt) // 3 * difficult]
        detections.sort(key=lambda entry: -entry[1])
        cases.append(a_case(gt, detections, ignored=ignored))
    return cases


@pytest.mark.parametrize("difficult", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_both_average_precisions_of_voc_are_pycocotools_at_the_same_recalls(seed, difficult):
    cases = random_cases(seed, most=1 if difficult else 2, difficult=difficult)
    matches = gather(cases, 3)
    eleven = evaluated(cases, 3, iouThrs=[0.5], recThrs=np.arange(11) / 10 - 1e-12)
    for label in (1, 2, 3):
        points = measures.curve(matches, label)
        theirs = eleven.eval["precision"][0, :, label - 1, 0, 0].mean()
        assert measures.average_precision_11(points) == pytest.approx(theirs, abs=1e-9)
        # A step of the recall is an object: the area is the mean of the precisions at each.
        steps = (np.arange(points.objects) + 0.5) / points.objects
        every = evaluated(cases, 3, iouThrs=[0.5], recThrs=steps)
        theirs = every.eval["precision"][0, :, label - 1, 0, 0].mean()
        assert measures.average_precision(points) == pytest.approx(theirs, abs=1e-9)
        assert points.recall[-1] == pytest.approx(every.eval["recall"][0, label - 1, 0, 0])
        coco = coco_scores(cases, 3)["ap50"][label - 1]
        assert measures.average_precision(points) == pytest.approx(coco, abs=0.02)


def test_coco_scores_of_each_class_are_those_of_that_class_alone():
    """pycocotools has no result of a class; ours is its mean over one class."""
    from pycocotools.coco import COCO

    cases = random_cases(7)
    ours = coco_scores(cases, 4)
    assert np.isnan(ours["ap"][3])  # never occurs
    for label in (1, 2, 3):
        alone = evaluated(cases, 4)
        assert isinstance(alone.cocoGt, COCO)
        alone.params.catIds, alone.params.maxDets = [label], [1, 10, 100]
        alone.params.areaRng, alone.params.areaRngLbl = [[0, 1e10]] * 4, ["all", "s", "m", "l"]
        alone.params.areaRngLbl = ["all", "small", "medium", "large"]
        import contextlib
        import io

        with contextlib.redirect_stdout(io.StringIO()):
            alone.evaluate()
            alone.accumulate()
            alone.summarize()
        for key, index in {"ap": 0, "ap50": 1, "ap75": 2, "ar100": 8}.items():
            assert ours[key][label - 1] == pytest.approx(alone.stats[index], abs=1e-12)


def test_coco_says_nothing_on_standard_output(capsys):
    coco_scores(random_cases(1), 3)
    assert capsys.readouterr().out == ""


def test_scores_of_perfect_detections_are_1_and_of_none_0():
    gt = [(1, LEFT), (2, RIGHT)]
    perfect = [a_case(gt, [(1, 0.9, LEFT), (2, 0.8, RIGHT)])] * 3
    none = [a_case(gt)] * 3
    for cases, value in ((perfect, 1.0), (none, 0.0)):
        matches = gather(cases, 3)
        for label in (1, 2):
            points = measures.curve(matches, label)
            assert measures.average_precision(points) == value
            assert measures.average_precision_11(points) == value
            assert measures.sensitivity(points) == [value] * 7
        coco = coco_scores(cases, 3)
        np.testing.assert_array_equal(coco["ap"][:2], value)
        assert np.isnan(coco["ap"][2])
        assert measures.average_precision(measures.curve(matches, 3)) is None


def test_average_precisions_by_hand():
    """TP, FP, TP of three objects: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3."""
    gt = [(1, LEFT), (1, RIGHT), (1, (0.6, 0.6, 0.8, 0.8))]
    case = a_case(gt, [(1, 0.9, LEFT), (1, 0.8, (0.5, 0.1, 0.6, 0.2)), (1, 0.7, RIGHT)])
    points = measures.curve(gather([case], 1), 1)
    assert measures.average_precision(points) == pytest.approx((1 + 2 / 3) / 3)
    assert measures.average_precision_11(points) == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)
    np.testing.assert_allclose(
        measures.precision_at(points, np.array([0, 0.3, 0.5, 0.9])), [1, 1, 2 / 3, 0]
    )
    at = measures.at_threshold(points, 0.75)
    assert at == pytest.approx(
        {"precision": 1 / 2, "recall": 1 / 3, "f1": 2 / 5, "false_positives_per_image": 1}
    )
    assert measures.best_threshold(points) == pytest.approx(0.7, abs=2e-6)
    assert measures.best_threshold(points) <= np.float32(0.7)


def test_froc_by_hand_on_two_images():
    ghost = (0.5, 0.1, 0.6, 0.2)
    one = a_case([(1, LEFT), (1, RIGHT)], [(1, 0.9, ghost), (1, 0.8, LEFT)])
    two = a_case([(1, LEFT), (1, RIGHT)], [(1, 0.7, ghost), (1, 0.7, LEFT), (1, 0.2, RIGHT)])
    points = measures.curve(gather([one, two], 1), 1)
    # One false positive on two images: from 0.5 an image on 1 of 4 is detected. A threshold of 0.7
    # takes both the ghost and the object, so that 2 of 4, and with them the last, cost 1.
    assert measures.sensitivity(points, (0.25, 0.5, 0.75, 1, 8)) == [0, 0.25, 0.25, 0.75, 0.75]


def test_froc_gets_no_worse_with_more_false_positives():
    points = measures.curve(gather(random_cases(3), 3))
    recalls = measures.sensitivity(points)
    assert recalls == sorted(recalls) and 0 < recalls[0] < recalls[-1] <= 1


def test_a_confusion_is_a_false_negative_under_a_false_positive():
    ghost = (0.6, 0.1, 0.7, 0.2)
    case = a_case(
        [(1, LEFT), (2, RIGHT), (3, (0.6, 0.6, 0.8, 0.8))],
        [(1, 0.9, LEFT), (3, 0.8, RIGHT), (2, 0.7, ghost), (1, 0.6, LEFT), (2, 0.1, RIGHT)],
    )
    outcome = measures.judge(case, 0.5)
    assert outcome.confused == [(1, 1)]
    assert tuple(outcome.counts().values()) == (1, 3, 2)
    counts = measures.confusion(case, outcome, 3)
    expected = np.zeros((4, 4), int)
    expected[0, 0] = 1  # a true positive
    expected[1, 2] = 1  # an object of class 2 seen as class 3
    expected[2, 3] = 1  # a false negative
    expected[3, 1] = expected[3, 0] = 1  # the ghost, and the second box on one object
    np.testing.assert_array_equal(counts, expected)
    lower = measures.judge(case, 0.05)  # now class 2 is detected too
    assert lower.confused == []
    assert lower.counts() == {"true_positives": 2, "false_positives": 3, "false_negatives": 1}


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.8])
def test_the_confusion_adds_up_to_what_the_operating_point_counts(threshold):
    cases = random_cases(11)
    points = measures.curve(gather(cases, 3))
    outcomes = [measures.judge(case, threshold) for case in cases]
    total = sum(measures.confusion(c, o, 3) for c, o in zip(cases, outcomes, strict=True))
    at = measures.at_threshold(points, threshold)
    hits, everything = np.trace(total), total[:, :3].sum()
    assert hits / everything == pytest.approx(at["precision"])
    assert total[:3].sum() == points.objects
    assert hits / points.objects == pytest.approx(at["recall"])


@pytest.mark.parametrize("difficult", [False, True])
def test_resampled_scores_are_those_of_the_copies(difficult):
    """Each image is repeated as often as it was drawn, and all is measured from the beginning."""
    cases, names, threshold = random_cases(5, 12, difficult=difficult), ("a", "b", "c"), 0.4
    measure = statistics(
        gather(cases, 3), ranked_by_coco(evaluated(cases, 3), 3), names, threshold, {}
    )
    times = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=6)
    values = measure(np.vstack([np.ones(12), times]).astype(float))
    for row, counts in enumerate([np.ones(12, int), *times]):
        copies = [case for case, count in zip(cases, counts, strict=True) for _ in range(count)]
        matches, coco = gather(copies, 3), coco_scores(copies, 3)
        for label, name in enumerate(names, 1):
            points = measures.curve(matches, label)
            for key, column in coco.items():
                assert values[name, key][row] == pytest.approx(
                    column[label - 1], abs=1e-9, nan_ok=True
                )
            area = measures.average_precision(points)
            assert values[name, "voc_ap"][row] == pytest.approx(area, abs=1e-9)
            at = measures.at_threshold(points, threshold)
            for key in ("precision", "recall", "f1"):
                assert values[name, key][row] == pytest.approx(at[key])
        pooled = measures.curve(matches)
        assert values[None, "ap50"][row] == pytest.approx(np.nanmean(coco["ap50"]))
        assert values[None, "froc_mean"][row] == pytest.approx(
            np.mean(measures.sensitivity(pooled))
        )
        f1 = measures.at_threshold(pooled, threshold)["f1"]
        assert values[None, "f1"][row] == pytest.approx(f1)


# ---- evaluate ------------------------------------------------------------------------------------


def test_evaluate_writes_what_it_returns(data, tmp_path):
    report = evaluate(StandIn(), data, out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == report
    names = ("confusion", "detections", *["evaluation"] * 2, "froc", "precision_recall", "worst")
    assert [path.stem for path in sorted((tmp_path / "out").iterdir())] == list(names)
    for name in ("confusion", "froc", "precision_recall", "worst"):
        assert read_image(tmp_path / "out" / f"{name}.png").std() > 5


def test_evaluate_counts_what_is_there(data):
    report = evaluate(StandIn(), data)
    assert (report["images"], report["objects"], report["detections"]) == (4, 5, 5)
    assert report["operating"] == pytest.approx(
        {"precision": 3 / 5, "recall": 3 / 5, "f1": 3 / 5, "false_positives_per_image": 0.5}
    )
    assert report["confusion"]["counts"] == [
        [2, 1, 0, 1],
        [0, 1, 0, 0],
        [0, 0, 0, 0],
        [1, 0, 0, 0],
    ]
    restoration, implant = (report["per_class"][name] for name in ("restoration", "implant"))
    assert (restoration["objects"], restoration["images"]) == (4, 3)
    assert restoration["voc_ap"] == pytest.approx(0.5)
    assert implant["ap"] is implant["voc_ap"] is implant["best_f1"] is None
    assert report["voc"]["map"] == pytest.approx((0.5 + 1) / 2)
    assert report["coco"]["ap50"] == pytest.approx((51 / 101 + 1) / 2, abs=1e-6)
    for key, value in summary_metrics(report).items():
        assert report["intervals"][key]["value"] == pytest.approx(value, abs=1e-6)
    for name, row in report["class_intervals"].items():
        for key in ("ap", "ap50", "voc_ap"):
            assert row[key]["value"] == report["per_class"][name][key]
    assert report["class_intervals"]["implant"]["ap50"]["low"] is None
    assert report["per_image"][2] == {
        "name": "c",
        "objects": 2,
        "true_positives": 1,
        "false_positives": 0,
        "false_negatives": 1,
    }
    assert set(summary_metrics(report)) >= {"ap", "ap50", "ap75", "voc_map", "froc_mean", "f1"}


@pytest.mark.parametrize(("threshold", "shown"), [(None, 5), (0.65, 4), (0.99, 0)])
def test_the_threshold_moves_the_operating_point_and_no_average(data, threshold, shown):
    report = evaluate(StandIn(), data, options=DetectionEvaluateOptions(score_threshold=threshold))
    rows = report["per_image"]
    assert sum(row["true_positives"] + row["false_positives"] for row in rows) == shown
    assert report["score_threshold"] == (0.5 if threshold is None else threshold)
    assert report["voc"]["map"] == pytest.approx(0.75)


def test_a_bundle_may_have_a_threshold_of_its_own(data):
    assert evaluate(StandIn(operating_threshold=0.85), data)["score_threshold"] == 0.85


def test_images_that_cannot_be_used_are_listed_and_the_rest_is_measured(data, caplog):
    write_png(data / "images" / "c.png", radiograph((13, 0, 0, 1, 1)))
    broken = data / "images" / "b.png"
    broken.write_bytes(broken.read_bytes()[:-30])
    report = evaluate(StandIn(), data)
    assert report["images"] == 2
    assert sorted(name for name, _ in report["skipped"]) == ["b", "c"]
    assert any("does not like" in line for line in caplog.messages)
    for name in "ad":
        write_png(data / "images" / f"{name}.png", radiograph((13, 0, 0, 1, 1)))
    with pytest.raises(DentalzooError, match="none of 4 images can be used"):
        evaluate(StandIn(), data)


def test_images_without_any_object_have_false_positives_and_no_precision(tmp_path):
    one = radiograph((95, 10, 10, 30, 20))
    images = {"a": (one, []), "b": (one, [("implant", 10, 10, 30, 20)]), "c": (radiograph(), [])}
    folder = write_boxes(tmp_path / "data", images)
    (folder / "split.csv").write_text("id,split\na,val\nb,train\nc,val\n")
    report = evaluate(
        StandIn(),
        folder,
        split="val",
        out=tmp_path / "out",
        options=DetectionEvaluateOptions(sweep=True),
    )
    assert (report["images"], report["objects"]) == (2, 0)
    assert report["coco"] == dict.fromkeys(("ap", "ap50", "ap75", "ar100"))
    assert report["operating"]["false_positives_per_image"] == 0.5
    assert set(summary_metrics(report)) == {
        "precision", "recall", "f1", "ece", "sweep_nms_iou", "sweep_max_per_class", "sweep_f1"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"score_threshold": 1.5}, "score_threshold must be a number from 0 to 1, or None"),
        ({"score_threshold": float("nan")}, "nan"),
        ({"nms_iou": -0.1}, "nms_iou must be a number from 0 to 1, or None"),
        ({"max_per_class": 0}, "max_per_class must be an integer >= 1, or None"),
        ({"max_per_class": 1.5}, "1.5"),
        ({"teeth": "best"}, "teeth must be one of: all, single, ordered, or None"),
        ({"teeth": "single"}, "teeth must be None for stand_in.*FDI numbers"),
    ],
)
def test_a_bad_option_is_refused(data, tmp_path, options, says):
    with pytest.raises(DentalzooError, match=says):
        evaluate(StandIn(), data, options=DetectionEvaluateOptions(**options))
    with pytest.raises(DentalzooError, match=says):
        predict(
            StandIn(),
            data / "images",
            tmp_path / "out",
            options=DetectionPredictOptions(**options),
        )


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"scores": np.float32([np.nan])}, "returned NaN or infinite scores"),
        ({"boxes": np.float32([[0, 0, np.inf, 1]])}, "returned NaN or infinite boxes"),
        ({"classes": np.int32([7])}, r"classes from 1 to 3. Received: \[7\]"),
        ({"classes": np.int32([0])}, r"Received: \[0\]"),
    ],
)
def test_a_bad_result_is_named(answer, says):
    class Broken(StandIn):
        def detect(self, image):
            good = {"boxes": np.float32([[0, 0, 1, 1]]), "scores": np.float32([0.5])}
            return good | {"classes": np.int32([1]), "num": np.int32(1)} | answer

    with pytest.raises(DentalzooError, match=says):
        Detector(Broken())(radiograph())


def test_a_bundle_without_names_of_classes_is_refused(data):
    with pytest.raises(DentalzooError, match="config must hold the names of its classes"):
        evaluate(StandIn(classes=()), data)


# ---- other settings, and the sweep ---------------------------------------------------------------


def test_raw_boxes_are_suppressed_as_asked(data):
    image = radiograph((90, 10, 10, 30, 20), (80, 10, 50, 30, 60))[..., None]
    bundle = StandIn(raw=True)
    assert [len(Detector(bundle, BoxOptions(nms_iou=iou))(image)) for iou in (0.3, 0.5, 0.7)] == [
        2,
        4,
        6,
    ]
    assert bundle.calls == ["raw"] * 3
    assert len(Detector(bundle, BoxOptions(nms_iou=0.7, max_per_class=3))(image)) == 3
    few = StandIn(raw=True, nms_iou=0.7, max_per_class=1)
    assert len(Detector(few, BoxOptions(max_per_class=3))(image)) == 3
    kept = Detector(StandIn(raw=True, max_detections=5), BoxOptions(nms_iou=0.7))(image)
    assert len(kept) == 5 and (np.diff(kept.scores) <= 0).all()


def test_without_raw_what_was_kept_can_still_be_thinned():
    image = radiograph((90, 10, 10, 30, 20), (80, 10, 50, 30, 60), (170, 40, 50, 50, 60))[..., None]
    kept = Detector(StandIn(), BoxOptions(max_per_class=1))(image)
    assert list(zip(kept.classes.tolist(), kept.scores.tolist(), strict=True)) == [
        (1, pytest.approx(0.9)),
        (2, pytest.approx(0.7)),
    ]


def test_the_sweep_runs_the_network_once_and_finds_the_best(data, caplog):
    caplog.set_level("INFO")
    bundle = StandIn(raw=True)
    report = evaluate(bundle, data, options=DetectionEvaluateOptions(sweep=True))
    assert sorted(bundle.calls) == ["detect"] * 4 + ["raw"] * 4
    sweep = report["sweep"]
    assert sweep["source"] == "raw"
    assert len(sweep["settings"]) == 6 * 6
    assert max(row["max_per_class"] for row in sweep["settings"]) == 32
    assert max(row["f1"] for row in sweep["settings"]) == sweep["best"]["f1"]["f1"]
    # The copies overlap their box by 0.67 and 0.38: the lowest overlap takes both away.
    assert sweep["best"]["f1"]["nms_iou"] == 0.2
    assert sweep["best"]["f1"]["ap50"] == pytest.approx(sweep["own"]["ap50"])
    assert any(line.startswith("sweep, best of 36: nms_iou 0.2, ") for line in caplog.messages)
    assert summary_metrics(report)["sweep_nms_iou"] == 0.2


def test_the_settings_of_the_sweep_give_its_numbers_when_used(data):
    sweep = evaluate(StandIn(raw=True), data, options=DetectionEvaluateOptions(sweep=True))["sweep"]
    for row in sweep["settings"][::7]:
        used = evaluate(
            StandIn(raw=True),
            data,
            options=DetectionEvaluateOptions(
                nms_iou=row["nms_iou"],
                max_per_class=row["max_per_class"],
                score_threshold=row["score_threshold"],
            ),
        )
        assert used["voc"]["map"] == pytest.approx(row["ap50"], abs=1e-6)
        assert used["operating"]["f1"] == pytest.approx(row["f1"], abs=1e-6)


def test_without_raw_the_sweep_suppresses_more_and_never_less(data):
    bundle = StandIn()
    sweep = evaluate(bundle, data, options=DetectionEvaluateOptions(sweep=True))["sweep"]
    assert sweep["source"] == "kept"
    assert {row["nms_iou"] for row in sweep["settings"]} == {0.2, 0.3, 0.4, None}
    assert bundle.calls == ["detect"] * 8


def test_more_boxes_than_teeth_are_tried_only_where_images_hold_more():
    usual = Sweep(Detector(StandIn()), max_objects=32)
    crowded = Sweep(Detector(StandIn()), max_objects=33)
    teeth = Sweep(Detector(StandIn(classes=("11", "12"))), max_objects=1)
    assert [s.limits[-1] for s in (usual, crowded, teeth)] == [32, 100, 1]


# ---- predict -------------------------------------------------------------------------------------


def rows_of(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def test_predict_writes_coco_results_and_a_table(data, tmp_path):
    report = predict(StandIn(), data / "images", tmp_path / "out")
    assert (report.written, report.failed) == (4, [])
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == [
        "detections.csv",
        "detections.json",
    ]
    results = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [entry["image_id"] for entry in results] == [1, 1, 2, 3, 4]
    assert results[0] == {
        "image_id": 1,
        "category_id": 1,
        "bbox": pytest.approx([10, 10, 10, 20], abs=1e-3),
        "score": pytest.approx(0.95),
        "file_name": "a.png",
    }
    rows = rows_of(tmp_path / "out" / "detections.csv")
    assert [row["file"] for row in rows] == ["a.png", "a.png", "b.png", "c.png", "d.png"]
    assert rows[1] == {
        "file": "a.png", "class": "endodontic", "score": "0.9", "left": "50.00", "top": "10.00",
        "right": "60.00", "bottom": "30.00", "width": "100", "height": "60",
    }  # fmt: skip


def renumbered(data):
    """Give the COCO file of a data set other ids of images and categories."""
    path = data / "annotations.coco.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        image["id"] += 40
    for category in content["categories"]:
        category["id"] = 3 * category["id"] + 2
    for entry in content["annotations"]:
        entry["image_id"] += 40
        entry["category_id"] = 3 * entry["category_id"] + 2
    path.write_text(json.dumps(content))
    return {category["name"]: category["id"] for category in content["categories"]}


def test_the_results_of_evaluate_have_the_ids_of_the_data(data, tmp_path):
    from pycocotools.coco import COCO

    ids = renumbered(data)
    evaluate(StandIn(), data, out=tmp_path / "out")
    results = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [entry["image_id"] for entry in results] == [41, 41, 42, 43, 44]
    assert [entry["category_id"] for entry in results[:2]] == [
        ids["restoration"],
        ids["endodontic"],
    ]
    gt = COCO(str(data / "annotations.coco.json"))
    assert len(gt.loadRes(str(tmp_path / "out" / "detections.json")).anns) == 5


def test_the_results_of_predict_have_the_ids_of_the_data_that_a_bundle_was_trained_on(
    data, tmp_path, caplog
):
    caplog.set_level("INFO", "dentalzoo")
    ids = renumbered(data)
    bundle = StandIn()
    bundle.metadata["training"] = {"category_ids": ids}
    predict(bundle, data / "images", tmp_path / "out")
    results = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [e["category_id"] for e in results[:2]] == [ids["restoration"], ids["endodontic"]]
    assert "category ids" not in caplog.text
    bundle.metadata["training"] = {"category_ids": {"restoration": 3}}  # not every class
    predict(bundle, data / "images", tmp_path / "counted")
    results = json.loads((tmp_path / "counted" / "detections.json").read_text())
    assert [entry["category_id"] for entry in results[:2]] == [1, 2]
    assert "detections.json (COCO) has the category ids 1 to 3, in order" in caplog.text


def test_the_results_give_the_same_average_precision_to_pycocotools(data, tmp_path):
    import contextlib
    import io

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    predict(
        StandIn(),
        data / "images",
        tmp_path / "out",
        options=DetectionPredictOptions(score_threshold=0),
    )
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO(str(data / "annotations.coco.json"))
        detections = gt.loadRes(str(tmp_path / "out" / "detections.json"))
        theirs = COCOeval(gt, detections, "bbox")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    ours = evaluate(StandIn(), data)["coco"]
    assert [ours[k] for k in ("ap", "ap50", "ap75", "ar100")] == pytest.approx(
        theirs.stats[[0, 1, 2, 8]].tolist(), abs=1e-6
    )


def test_a_score_threshold_leaves_boxes_out_and_an_image_without_any_keeps_its_row(data, tmp_path):
    predict(
        StandIn(),
        data / "images",
        tmp_path / "out",
        options=DetectionPredictOptions(score_threshold=0.75),
    )
    rows = rows_of(tmp_path / "out" / "detections.csv")
    assert [row["class"] for row in rows] == ["restoration", "endodontic", "endodontic", "", ""]
    assert rows[-1]["file"] == "d.png" and rows[-1]["width"] == "100"
    predict(
        StandIn(),
        data / "images",
        tmp_path / "out",
        options=DetectionPredictOptions(score_threshold=1),
    )
    assert json.loads((tmp_path / "out" / "detections.json").read_text()) == []


def test_predict_with_overlay(data, tmp_path):
    predict(
        StandIn(),
        data / "images" / "a.png",
        tmp_path / "out",
        options=DetectionPredictOptions(overlay=True),
    )
    drawn = read_image(tmp_path / "out" / "a_overlay.png")
    expected = overlay(
        read_image(data / "images" / "a.png"),
        np.float32([[10, 10, 30, 20], [10, 50, 30, 60]]) / (60, 100, 60, 100),
        np.array([1, 2]),
        CLASSES,
        np.array([0.95, 0.9]),
    )
    np.testing.assert_array_equal(drawn, expected)


def test_a_bad_image_is_one_line_and_the_rest_is_written(data, tmp_path, caplog):
    folder = data / "images"
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:-30])
    write_png(folder / "c.png", radiograph((13, 0, 0, 1, 1)))
    report = predict(StandIn(), [folder, tmp_path / "absent.png"], tmp_path / "out")
    assert report.written == 2 and len(report.failed) == 3
    blank = f"{folder / 'c.png'}: nearly black"  # also the one that the model refuses
    messages = [message for message in caplog.messages if not message.startswith(blank)]
    assert len(messages) == len(caplog.messages) - 1
    assert messages == [f"{path}: {reason}" for path, reason in report.failed]
    results = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert {entry["image_id"] for entry in results} == {1, 4}  # numbers do not move


def test_files_of_one_name_are_distinguished_by_their_folders(tmp_path):
    for name in ("x/a.png", "y/a.png"):
        write_png(tmp_path / name, radiograph((95, 10, 10, 30, 20)))
    predict(
        StandIn(),
        [tmp_path / "x", tmp_path / "y"],
        tmp_path / "out",
        options=DetectionPredictOptions(overlay=True, vott=[1]),
    )
    rows = rows_of(tmp_path / "out" / "detections.csv")
    assert [row["file"] for row in rows] == ["x/a.png", "y/a.png"]
    made = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")}
    assert made >= {"x_a.png_overlay.png", "y_a.png_overlay.png", "vott1/x.json", "vott1/y.json"}


@pytest.mark.parametrize("version", [1, 2])
def test_predictions_open_in_the_annotation_tool(data, tmp_path, version):
    """What VoTT would open is read back as annotations, and the bundle is perfect on it."""
    predict(
        StandIn(),
        data / "images",
        tmp_path / "out",
        options=DetectionPredictOptions(vott=[version]),
    )
    project = tmp_path / "project"
    (tmp_path / "out" / f"vott{version}").rename(project)
    (data / "images").rename(project / "images")
    samples = find_boxes(project, classes=CLASSES[:2]).samples
    assert [sample.name for sample in samples] == ["a", "b", "c", "d"]
    assert [len(sample.boxes) for sample in samples] == [2, 1, 1, 1]
    report = evaluate(StandIn(classes=CLASSES[:2]), project)
    assert report["coco"]["ap"] == 1.0


def test_predict_refuses_versions_of_vott_that_do_not_exist(data, tmp_path):
    with pytest.raises(DentalzooError, match="vott must be some of: 1, 2"):
        predict(
            StandIn(), data / "images", tmp_path / "out", options=DetectionPredictOptions(vott=[3])
        )


def test_teeth_are_single_and_in_the_order_of_quadrants(tmp_path):
    names = ("21", "11", "36")
    rectangles = [(90, 5, 55, 20, 60), (80, 30, 70, 40, 75), (195, 5, 45, 20, 50)]
    write_png(tmp_path / "in" / "a.png", radiograph(*rectangles, (250, 40, 5, 50, 10)))
    for rule, expected in {
        None: ["11", "21", "36"],
        "all": ["11", "21", "21", "36"],
        "single": ["11", "21", "36"],
        "ordered": ["11", "21", "36"],
    }.items():
        predict(
            StandIn(names),
            tmp_path / "in",
            tmp_path / "out",
            options=DetectionPredictOptions(teeth=rule),
        )
        classes = [row["class"] for row in rows_of(tmp_path / "out" / "detections.csv")]
        assert (sorted(classes) if rule == "all" else classes) == expected


def test_predict_never_writes_among_its_inputs(data):
    with pytest.raises(DentalzooError, match="a folder without inputs"):
        predict(StandIn(), data / "images", data / "images")
    with pytest.raises(DentalzooError, match="a folder without inputs"):
        evaluate(StandIn(), data, out=data / "images")


@pytest.mark.parametrize("action", ["evaluate", "predict"])
def test_memory_does_not_grow_with_the_number_of_images(tmp_path, action):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 2, (100, 200), np.uint8)  # 20 kB
    noise[:40, :40] = 0
    noise[10:30, 10:30] = 95

    class Single(StandIn):
        def _see(self, image):
            box = np.float32([[10 / 100, 10 / 200, 30 / 100, 30 / 200]])
            return box, np.float32([0.95]), np.int32([1])

    def peak(number):
        images = {f"{i:03d}": (noise, [("restoration", 10, 10, 30, 30)]) for i in range(number)}
        folder = write_boxes(tmp_path / f"{action}_{number}", images)
        tracemalloc.start()
        if action == "evaluate":
            evaluate(Single(), folder)
        else:
            predict(Single(), folder / "images", tmp_path / f"out_{number}")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(10)  # imports and caches
    few, many = peak(20), peak(70)
    # 50 more images are 1 MB; an image's boxes and row, and pycocotools' tables, some 10 kB.
    assert many - few < 50 * 12_000


# ---- comparison ----------------------------------------------------------------------------------


def test_two_bundles_side_by_side(data, tmp_path):
    class Blind(StandIn):
        name = "blind"

        def detect(self, image):
            return super().detect(image) | {"num": np.int32(0)}

    report = compare(StandIn(), Blind(CLASSES[::-1]), data, out=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == report
    assert report["bundles"] == ["stand_in", "blind"]
    assert report["per_class"] == {
        "restoration": [0.5, 0.0],
        "endodontic": [1.0, 0.0],
        "implant": [None, None],
    }
    difference = report["difference"]
    assert difference["voc_map"] == pytest.approx(0.75)
    assert difference["from"] <= 0.75 <= difference["to"]
    assert report["intervals"]["voc_map"]["value"] == difference["voc_map"]
    assert report["class_intervals"]["endodontic"]["voc_ap"]["value"] == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "comparison.json", "comparison.txt", "comparison.png", "radiographs.png", "froc.png"
    }  # fmt: skip


def test_a_bundle_does_not_differ_from_itself(data):
    report = compare(StandIn(), StandIn(CLASSES[::-1]), data)
    assert report["bundles"] == ["stand_in (1)", "stand_in (2)"]
    wrong = report["per_class"]["restoration"]
    assert wrong[0] == 0.5  # class ids are the stand-in's own


def test_bundles_of_other_classes_are_not_compared(data):
    with pytest.raises(DentalzooError, match="both bundles must have the same classes"):
        compare(StandIn(), StandIn(("restoration", "crown", "implant")), data)


# ---- drawing -------------------------------------------------------------------------------------


def test_an_overlay_draws_boxes_in_the_colours_of_their_classes_and_leaves_the_rest():
    image = np.full((200, 300, 1), 100, np.uint8)
    boxes = np.float32([[0.4, 0.1, 0.6, 0.3], [0.4, 0.6, 0.6, 0.8]])
    drawn = overlay(image, boxes, np.array([1, 3]), CLASSES, np.array([0.9, 0.5]))
    assert drawn.shape == (200, 300, 3) and drawn.dtype == np.uint8
    assert (drawn[100, 30] == palette()[1]).all() and (drawn[100, 180] == palette()[3]).all()
    assert (drawn[81, 30:89] == palette()[1]).all() or (drawn[80, 30:90] == palette()[1]).all()
    assert (drawn[100, 60] == 100).all() and (drawn[160:] == 100).all()
    assert (image == 100).all()
    np.testing.assert_array_equal(
        overlay(image, boxes[:0], np.zeros(0, int), CLASSES), np.repeat(image, 3, 2)
    )


@pytest.mark.parametrize("size", [(8, 8), (1, 50), (1400, 2900)])
def test_boxes_beyond_the_border_and_crowds_of_them_are_drawn(size):
    rng = np.random.default_rng(0)
    boxes = np.concatenate([[[-0.5, -0.5, 1.5, 1.5], [0, 0, 0, 0]], random_boxes(rng, 100, 0.05)])
    classes = rng.integers(1, 4, 102)
    drawn = overlay(
        np.zeros(size, np.uint8), boxes, classes, ("歯", "b" * 40, "c"), rng.random(102)
    )
    assert drawn.shape == (*size, 3) and drawn.any()


@pytest.mark.parametrize("size", [(128, 256), (300, 620), (1400, 2900)])
def test_names_hide_no_box_on_small_images_either(size):
    boxes = np.array(
        [(r / 5, c / 8, r / 5 + 0.1, c / 8 + 0.06) for r in range(5) for c in range(8)]
    )
    classes, scores = np.arange(40) % 3 + 1, np.linspace(1, 0.5, 40)
    image = np.full(size, 100, np.uint8)
    plain = overlay(image, boxes, classes, ("", "", ""))
    named = (overlay(image, boxes, classes, CLASSES, scores) != plain).any(-1)
    assert named.any()
    edges = np.rint(boxes * [*size, *size]).astype(int)
    hidden = [named[top:bottom, left:right].mean() for top, left, bottom, right in edges]
    assert max(hidden) < 0.25 and np.mean(hidden) < 0.1


def test_a_name_that_does_not_fit_gives_way_to_the_score():
    image, box = np.full((40, 60), 100, np.uint8), np.float32([[0.4, 0.4, 0.6, 0.6]])
    alone = overlay(image, box, np.array([1]), [""], np.array([0.9]))
    named = overlay(image, box, np.array([1]), ["a name of many letters"], np.array([0.9]))
    np.testing.assert_array_equal(named, alone)
    assert (alone != 100).any(-1).sum() > 100


def test_where_room_is_scarce_the_name_stays_and_the_score_goes(monkeypatch):
    """A row of narrow teeth on a panoramic radiograph: each is numbered."""
    from dentalzoo.tasks.detection import drawing

    written = []
    place = drawing._free_place

    def recorded(*arguments):
        label, text = place(*arguments)
        written.append(text)
        return label, text

    monkeypatch.setattr(drawing, "_free_place", recorded)
    boxes = np.array([(0.3, x / 17, 0.6, (x + 1.1) / 17) for x in range(16)])
    image, scores = np.full((577, 1280), 100, np.uint8), np.linspace(0.99, 0.3, 16)
    names = [str(n) for n in (*range(18, 10, -1), *range(21, 29))]
    overlay(image, boxes, np.arange(1, 17), names, scores)
    assert [text.split()[0] for text in written] == names
    assert any(" " in text for text in written)


# ---- the command ---------------------------------------------------------------------------------


def test_the_command_has_the_options(data, tmp_path, monkeypatch, capsys):
    import dentalzoo as dz
    from dentalzoo import dispatch

    bundle = StandIn(raw=True)
    monkeypatch.setattr(dz, "load", lambda name: bundle)
    monkeypatch.setattr(dispatch, "load", lambda name: bundle)
    monkeypatch.setattr(dispatch, "Bundle", StandIn)
    out = str(tmp_path / "out")
    arguments = [
        "evaluate",
        "x",
        "--data",
        str(data),
        "--sweep",
        "--score-threshold",
        "0.65",
        "--json",
    ]
    assert main([*arguments, "--out", out]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["score_threshold"] == 0.65 and report["sweep"]["source"] == "raw"
    assert (tmp_path / "out" / "sweep.png").is_file()
    arguments = ["predict", "x", str(data / "images"), "--out", str(tmp_path / "p"), "--vott", "1"]
    assert main([*arguments, "--score-threshold", "0.9", "--max-per-class", "1"]) == 0
    assert [row["score"] for row in rows_of(tmp_path / "p" / "detections.csv")][:2] == [
        "0.95",
        "0.9",
    ]
    assert (tmp_path / "p" / "vott1" / "images.json").is_file()
    capsys.readouterr()
    assert main(["evaluate", "x", "--data", str(data), "--threshold", "0.5"]) == 2
    assert "evaluate for detection has: score_threshold, nms_iou" in capsys.readouterr().err


def test_the_command_compares(data, tmp_path, monkeypatch, capsys):
    from dentalzoo import comparing, dispatch

    class Of(StandIn):
        def __init__(self, task):
            super().__init__()
            self.metadata["task"] = task

    bundles = {"one": StandIn(), "other": StandIn(CLASSES[::-1])}
    bundles |= {"masks": Of("segmentation")}
    for module in (comparing, dispatch):
        monkeypatch.setattr(module, "load", bundles.get)
        monkeypatch.setattr(module, "Bundle", StandIn)
    arguments = ["--data", str(data), "--out", str(tmp_path / "out")]
    assert main(["compare", "one", "other", *arguments, "--score-threshold", "0.65", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [r["score_threshold"] for r in report["reports"]] == [0.65, 0.65]
    assert main(["compare", "one", "other", *arguments]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["stand_in", "(1)", "stand_in", "(2)", "difference"]
    both = [f"{value:.4f}" for value in report["summary_metrics"]["voc_map"]]
    assert ["voc_map", *both] in [line.split()[:3] for line in shown]
    assert shown[-3].startswith("restoration ")
    assert main(["compare", "one", "masks", *arguments]) == 2
    assert (
        "both bundles must be for one task. Received: detection and segm" in capsys.readouterr().err
    )
    assert main(["compare", "one", "other", *arguments, "--threshold", "0.5"]) == 2
    assert "threshold is an option for segmentation" in capsys.readouterr().err


# ---- real radiographs ----------------------------------------------------------------------------


def test_real_radiographs_with_their_own_boxes_are_perfect(shared_data, tmp_path):
    folder = shared_data / "dental_radiography"
    if not folder.is_dir():
        pytest.skip("DENTALZOO_DATA has no dental_radiography")
    dataset = find_boxes(folder, "val")

    class Knows(StandIn):
        """Gives the boxes of the images in the order it is asked for them."""

        def __init__(self):
            super().__init__(dataset.classes)
            self.left = list(dataset.samples)

        def detect(self, image):
            boxes = self.left.pop(0).boxes
            edges = np.float32([(b.top, b.left, b.bottom, b.right) for b in boxes]).reshape(-1, 4)
            classes = np.int32([dataset.classes.index(box.label) + 1 for box in boxes])
            scores = np.linspace(0.9, 0.6, len(boxes)).astype(np.float32)
            return {"boxes": edges, "scores": scores, "classes": classes, "num": len(boxes)}

    report = evaluate(Knows(), folder, split="val")
    assert report["images"] == len(dataset) == 98
    assert report["voc"]["map"] == 1.0
    assert report["operating"]["f1"] == 1.0
    assert report["coco"]["ap50"] == pytest.approx(1.0, abs=1e-6)
    with Image.open(dataset.samples[0].image) as img:
        assert img.size == (640, 640)
