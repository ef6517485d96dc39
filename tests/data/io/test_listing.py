"""Images by content, media of DICOM files, what is left out and how that is logged."""

import logging
import time

import numpy as np
import pytest
from PIL import Image

from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.images import find_images
from dentalzoo.data.io.images import read_image
from dentalzoo.data.io.listing import list_images, what_else
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.base import named_images
from tests.data.io.dicom_files import directory_file

pytest.importorskip("pydicom")

REPORT = "1.2.840.10008.5.1.4.1.1.88.11"
CT = "1.2.840.10008.5.1.4.1.1.2"


def names(folder):
    return [path.relative_to(folder).as_posix() for path in list_images(folder)]


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.WARNING, "dentalzoo")
    return lambda: [r.getMessage() for r in caplog.records]


def test_dicom_of_any_name_is_listed(dicom, tmp_path):
    for name in ("IM000001", "1.2.840.113.5", "film.ima", "x.DCM", "a b.1"):
        dicom(name=name)
    found = names(tmp_path)
    assert sorted(found) == ["1.2.840.113.5", "IM000001", "a b.1", "film.ima", "x.DCM"]
    assert all(read_image(tmp_path / name).ravel().tolist() == [0, 64, 128, 255] for name in found)


def test_images_without_or_with_unknown_suffix_are_listed_by_content(tmp_path, lines):
    for index, kind in enumerate(("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")):
        Image.new("L", (8, 8), 99).save(tmp_path / f"image{index}", format=kind)
    Image.new("L", (8, 8), 99).save(tmp_path / "x.jfif", format="JPEG")
    assert len(list_images(tmp_path)) == 7
    assert not lines()


@pytest.mark.parametrize("name", ["a.txt", "a.json", "a.csv", "a.xml", "x.png.bak", "x.tmp", "x~"])
def test_other_suffixes_are_never_opened(tmp_path, name):
    Image.new("L", (8, 8)).save(tmp_path / name, format="PNG")
    assert what_else(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"BM is a text", b"RIFF....WAVE", b"text", bytes(2000)])
def test_content_that_is_no_image(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    (tmp_path / "x.5").write_bytes(content)
    assert what_else(tmp_path / "x") == "no suffix"
    assert what_else(tmp_path / "x.5") == ".5"


def test_what_is_left_out_is_counted_in_one_line(dicom, tmp_path, lines):
    dicom(name="IM1")
    dicom(name="sr", sop=REPORT)
    dicom(name="ct.dcm", sop=CT)
    for name in ("a.txt", "b.txt", "README", "x.001", "x.002", ".hidden"):
        (tmp_path / name).write_text("text")
    (tmp_path / "more").mkdir()
    assert names(tmp_path) == ["IM1"]
    assert lines() == [
        f"{tmp_path}: not used: 2 x .txt, 1 x CT slice, 1 x folder, 1 x no suffix, "
        "2 x number as suffix, 1 x structured report"
    ]


@pytest.mark.parametrize(
    ("uid", "kind"),
    [
        ("1.2.840.10008.5.1.4.1.1.1.1", ""),
        ("1.2.840.10008.5.1.4.1.1.7", ""),
        (CT, "CT slice"),
        ("1.2.840.10008.5.1.4.1.1.2.1", "CT slice"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "segmentation"),
        ("1.2.840.10008.5.1.4.1.1.88.59", "key object selection"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "presentation state"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "encapsulated PDF"),
        ("1.2.840.10008.5.1.4.1.1.13.1.2", "3D X-ray volume"),
    ],
)
def test_kinds_of_dicom_objects(dicom, uid, kind):
    assert what_else(dicom(name="IM1", sop=uid)) == kind


def test_kind_of_an_object_without_preamble(dicom):
    path = dicom(name="IM1", SOPClassUID=REPORT, StudyDate="20200101")
    content = path.read_bytes()
    path.write_bytes(content[content.index(b"\x08\0\x16\0") :])
    assert what_else(path) == "structured report"


# ---- media ---------------------------------------------------------------------------------------


def test_a_medium_is_listed_as_a_whole(dicom, tmp_path, lines):
    (tmp_path / "DICOMDIR").write_bytes(directory_file())
    dicom(name="DICOM/PAT1/STUDY1/IM10")
    dicom(name="DICOM/PAT1/STUDY1/IM2")
    dicom(name="DICOM/PAT1/STUDY2/1.2.3.4")
    (tmp_path / "VIEWER").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "VIEWER" / "icon.png")
    (tmp_path / "VIEWER" / "start.exe").write_bytes(b"MZ")
    assert names(tmp_path) == [
        "DICOM/PAT1/STUDY1/IM2",
        "DICOM/PAT1/STUDY1/IM10",
        "DICOM/PAT1/STUDY2/1.2.3.4",
    ]
    assert lines() == [f"{tmp_path}: not used: 1 x .exe, 1 x .png, 1 x DICOMDIR"]


def test_folders_of_a_medium_that_are_not_entered_are_counted(dicom, tmp_path, lines):
    dicom(name="/".join([*"12345678", "IM1"]))
    dicom(name="/".join([*"123456789", "IM2"]))
    (tmp_path / "1" / "link").symlink_to(tmp_path / "1" / "2")
    assert names(tmp_path) == ["1/2/3/4/5/6/7/8/IM1"]
    assert lines() == [f"{tmp_path}: not used: 2 x folder"]


def test_a_study_without_a_directory_is_listed_as_a_whole(dicom, tmp_path):
    dicom(name="series1/x.dcm")
    dicom(name="series2/IM1")
    assert names(tmp_path) == ["series1/x.dcm", "series2/IM1"]


def test_folders_beside_images_are_left_out_and_named(dicom, tmp_path, lines):
    dicom(name="x.dcm")
    dicom(name="older/IM1")
    assert names(tmp_path) == ["x.dcm"]
    assert lines() == [f"{tmp_path}: not used: 1 x folder"]


def test_folders_of_other_images_are_no_medium(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "images" / "x.png")
    with pytest.raises(DentalzooError, match=r"1 x folder\); its folder .*images may be meant"):
        list_images(tmp_path)


def test_a_medium_has_a_limit(dicom, tmp_path, monkeypatch):
    monkeypatch.setattr("dentalzoo.data.io.listing._MAX_FILES", 2)
    for name in ("s/a", "s/b", "s/c"):
        dicom(name=name)
    with pytest.raises(DentalzooError, match="at most 2 files"):
        list_images(tmp_path)


def test_results_of_uids_keep_their_last_number(dicom, tmp_path):
    paths = [dicom(name=f"in/1.2.840.{i}") for i in (5, 6)] + [dicom(name="in/x.dcm")]
    assert list(named_images(paths, tmp_path / "out").values()) == ["1.2.840.5", "1.2.840.6", "x"]


# ---- data sets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("names_", [["IM0", "IM1", "IM2"], ["1.2.3.5", "1.2.3.6", "a.ima"]])
def test_data_sets_read_what_predict_reads(dicom, tmp_path, names_, lines):
    pixels = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16
    (tmp_path / "labels").mkdir()
    for name in names_:
        dicom(pixels, name=f"images/{name}")
        stem = name.removesuffix(".ima")
        (tmp_path / "labels" / f"{stem}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "images" / "DICOMDIR").write_bytes(directory_file())
    assert len(find_boxes(tmp_path).samples) == 3
    assert len(find_images(tmp_path).samples) == 3
    assert any("not used: 1 x DICOMDIR" in line for line in lines())


def test_masks_of_images_without_suffix(dicom, tmp_path):
    from dentalzoo.data.masks import find_masks

    (tmp_path / "masks").mkdir()
    pixels = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16
    for name in ("IM0", "1.2.3.5"):
        dicom(pixels, name=f"images/{name}")
        mask = Image.fromarray(np.uint8([[0, 255]]).repeat(16, 0).repeat(8, 1))
        mask.save(tmp_path / "masks" / f"{name}.png")
    assert len(find_masks(tmp_path).samples) == 2


def test_only_unknown_files_are_opened(tmp_path, monkeypatch):
    for index in range(2000):
        (tmp_path / f"{index}.png").touch()
        (tmp_path / f"{index}.txt").touch()
    monkeypatch.setattr("dentalzoo.data.io.listing._head", lambda path: pytest.fail("opened"))
    start = time.process_time()
    assert len(list_images(tmp_path)) == 2000
    assert time.process_time() - start < 5
