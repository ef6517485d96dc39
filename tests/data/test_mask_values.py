"""Which values are classes, which are soft edges, and which masks are suspicious."""

import cv2
import numpy as np
import pytest

from dentalzoo.data.formats import base
from dentalzoo.data.mask_values import (
    FDI_NUMBERS,
    MaskStatistics,
    class_ids,
    facts_of,
    fdi_values,
    inverted_masks,
)
from dentalzoo.errors import BadFile

PERMANENT = tuple(str(n) for n in sorted(FDI_NUMBERS) if n < 50)


@pytest.fixture(autouse=True)
def _notices_anew():
    base.notice_once.cache_clear()


def blobs(values=(255,), side=160, width=12):
    mask = np.zeros((side, side), np.uint8)
    for index, value in enumerate(values):
        mask[20 : 20 + width * 4, 10 + 25 * index : 10 + 25 * index + width] = value
    return mask


def disc():
    return cv2.circle(blobs(), (110, 110), 33, 255, -1)


def as_jpeg(mask, quality):
    return cv2.imdecode(cv2.imencode(".jpg", mask, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)


def small(mask, share):
    """A region of class 127 that covers a part of the image."""
    mask[-2 - int(share * mask.size / 10) : -2, 100:110] = 127
    return mask


@pytest.mark.parametrize(
    ("values", "suffix", "said"),
    [((1,), ".jpg", 1), ((1,), ".png", 0), ((255,), ".jpg", 0), ((), ".jpg", 0)],
)
def test_class_ids_in_jpeg_are_said_to_be_changed(tmp_path, caplog, values, suffix, said):
    for name in "ab":
        class_ids(tmp_path / f"{name}{suffix}", blobs(values), 1)
    assert len(caplog.records) == said
    assert all("store masks as PNG" in record.getMessage() for record in caplog.records)


CLASSES = {
    "127 on 4 %": lambda: small(blobs(), 0.04),
    "127 on 0.5 %": lambda: small(blobs(), 0.005),
    "127 on single pixels": lambda: np.where(np.eye(160) > 0, 127, blobs()).astype(np.uint8),
    "four": lambda: blobs((85, 170, 255)),
    "six": lambda: blobs((50, 100, 150, 200, 250)),
    "light ones": lambda: blobs((200, 225, 255)),
    "16 bits": lambda: blobs((1, 2)).astype(np.uint16) * 32767,
    "JPEG 95": lambda: as_jpeg(blobs((127, 255, 127), width=20), 95),
    "JPEG 75": lambda: as_jpeg(blobs((127, 255), width=20), 75),
}
SOFT = {
    "blurred by 3": lambda: cv2.GaussianBlur(blobs(), (3, 3), 0),
    "blurred by 9": lambda: cv2.GaussianBlur(blobs(), (9, 9), 0),
    "halved": lambda: cv2.resize(
        cv2.circle(blobs(), (110, 110), 33, 255, -1), (80, 80), interpolation=3
    ),
    "third": lambda: cv2.resize(blobs(width=13), (53, 53), interpolation=cv2.INTER_AREA),
    "doubled": lambda: cv2.resize(blobs(), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR),
    "enlarged": lambda: cv2.resize(blobs(), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC),
    "JPEG 95": lambda: as_jpeg(blobs(), 95),
    "JPEG 30": lambda: as_jpeg(blobs(), 30),
    "antialiased": lambda: cv2.circle(blobs(), (110, 110), 30, 255, -1, cv2.LINE_AA),
}


@pytest.mark.parametrize("name", CLASSES)
def test_clean_values_are_classes_and_refused_in_a_binary_mask(tmp_path, name):
    with pytest.raises(BadFile, match="for several classes name them.*Received: the values 0, "):
        class_ids(tmp_path / "a.png", CLASSES[name](), 1)


@pytest.mark.parametrize("name", SOFT)
def test_soft_edges_are_no_classes(tmp_path, name):
    mask = SOFT[name]()
    assert (class_ids(tmp_path / "a.png", mask, 1) == (mask > 127)).all()


# ---- FDI numbers ---------------------------------------------------------------------------------


def numbers_of(*masks, classes=PERMANENT):
    stored = dict(enumerate(np.array(mask, np.uint8)[None] for mask in masks))
    return fdi_values(classes, stored, stored.__getitem__)


def test_fdi_numbers_are_read_by_the_names_of_the_classes(tmp_path):
    numbers = numbers_of([0, 11, 18], [0, 48])
    assert numbers == tuple(map(int, PERMANENT))
    mask = np.array([[0, 11, 18, 21, 48]], np.uint8)
    assert class_ids(tmp_path / "a.png", mask, 33, numbers).tolist() == [[0, 1, 8, 9, 32]]
    with pytest.raises(BadFile, match="FDI numbers of the classes, 11..48.*Received: .*19"):
        class_ids(tmp_path / "a.png", np.array([[0, 19]], np.uint8), 33, numbers)


def test_the_whole_data_set_decides_between_ids_and_fdi_numbers():
    ambiguous = [0, 11, 12, 21]
    assert numbers_of(ambiguous, [0, 1, 32]) == ()
    assert numbers_of(ambiguous, [0, 31, 38]) != ()
    assert numbers_of(ambiguous) != ()
    assert numbers_of([0, 11], [0, 21], classes=("11", "21")) == (11, 21)
    assert numbers_of([0, 11], [0, 21], classes=("11 - Incisor", "tooth 21")) == (11, 21)
    assert numbers_of([0, 1], [0, 2], classes=("11", "21")) == ()
    assert numbers_of([0, 36], classes=("Crown", "36")) == ()


def test_fdi_numbers_without_names_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(BadFile, match=r"name.*classes=\('11', ...\)"):
        class_ids(tmp_path / "a.png", np.array([[0, 11, 48]], np.uint8), 33)
    with pytest.raises(BadFile, match=r"binary.*FDI numbers.*classes=\('11', ...\)"):
        class_ids(tmp_path / "a.png", np.array([[0, 11, 48]], np.uint8), 1)


# ---- suspicious ----------------------------------------------------------------------------------


def problems(masks, classes=("foreground",)):
    statistics = MaskStatistics(classes)
    for mask in masks:
        statistics.add(np.asarray(mask, np.uint8))
    return statistics.problems()


def test_what_all_masks_have_in_common_is_suspicious():
    teeth = [np.roll(blobs((1,)), shift, axis=1) for shift in range(12)]
    assert problems(teeth) == []
    assert problems([mask * 0 for mask in teeth]) == ["no mask holds an object: all 12 are empty"]
    assert (
        "11 of 12 masks are mostly foreground"
        in problems([1 - m for m in teeth[1:]] + [teeth[0]])[0]
    )
    two = [2 - mask for mask in teeth]
    assert "is 0 the background?" in problems(two, ("a", "b"))[0]
    assert problems(teeth, ("a", "b")) == ["none of 12 masks holds the class b"]
    assert problems([teeth[0]] * 12) == ["12 of 12 masks are equal"]
    large = np.ones((20, 20), np.uint8)
    large[[0, -1]] = 0
    large[:, [0, -1]] = 0
    assert problems([large]) == []  # a photograph of one jaw


def test_masks_of_two_polarities_are_suspicious():
    teeth = [np.roll(blobs((1,)), shift, axis=1) for shift in range(12)]
    mixed = [1 - mask if number < 2 else mask for number, mask in enumerate(teeth)]
    assert "2 of 12 masks are mostly foreground" in problems(mixed)[0]


def inverted(masks):
    return inverted_masks({str(i): facts_of(np.asarray(mask)) for i, mask in enumerate(masks)})


def jaws(count=12):
    """Teeth on 20 to 24 % of an image, away from its border."""
    masks = np.zeros((count, 50, 100), np.uint8)
    for number, mask in enumerate(masks):
        mask[15:35, 20 : 70 + number % 3 * 5] = 1
    return masks


def test_a_single_inverted_mask_is_named_among_others():
    masks = jaws()
    assert inverted(masks) == []
    masks[4] = 1 - masks[4]
    reason = (
        "its mask covers 78% of the image and 100% of the border, the median 22% and 0%: is it "
        "black on white?"
    )
    assert inverted(masks) == [["4", reason]]
    masks[4, 0] = 0  # an object at the border: 65 % of it are left
    assert [name for name, _ in inverted(masks)] == ["4"]
    assert inverted(masks[3:5]) == []  # of two masks neither is the usual one


def test_large_and_empty_masks_and_borders_of_all_are_not_inverted():
    masks = jaws()
    masks[3] = 0
    masks[5, 1:-1, 1:-1] = 1  # nearly the whole image, but its border
    masks[6, :, :40] = 1  # 40 % of the image and a part of its border
    assert inverted(masks) == []
    masks[:, :, :70] = 1  # all touch the border
    masks[4] = 1 - masks[4]
    assert inverted(masks) == []
