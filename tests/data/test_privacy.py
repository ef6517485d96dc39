"""Personal data of images, and patients in several splits."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentalzoo.data.io.metadata_privacy import personal_metadata
from dentalzoo.data.io.stored import StoredImage
from dentalzoo.data.privacy import check_privacy

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)


@dataclass(frozen=True)
class Sample:
    name: str
    image: Path
    split: str = "train"


def save(path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(GREY).save(path, **options)
    return path


def exif(**tags):
    made = Image.Exif()
    for number, value in tags.items():
        made[int(number[1:], 16)] = value
    return made


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_tags_with_names_and_dates_are_named_without_values(tmp_path, suffix):
    tags = exif(x013B="Jane Doe", x010E="left molar of Jane", x0132="2024:01:02 03:04:05")
    expected = {"Exif Artist", "Exif ImageDescription", "Exif DateTime"}
    if suffix != "tif":  # where Pillow does not write these
        tags.get_ifd(0x8769)[0xA431] = "SN123"
        tags.get_ifd(0x8825)[1] = "N"
        expected |= {"Exif BodySerialNumber", "Exif GPSInfo"}
    named = personal_metadata(save(tmp_path / f"a.{suffix}", exif=tags)).personal
    assert {*named} == expected
    assert "Jane" not in str(named) and "SN123" not in str(named)


def test_what_programs_write_is_not_personal(tmp_path):
    tags = exif(x010E='{"shape": [8, 8]}', x0131="GIMP", x013B="  ", x0112=6)
    assert personal_metadata(save(tmp_path / "a.tif", exif=tags)).personal == ()
    assert personal_metadata(save(tmp_path / "a.jpg", exif=exif(x0132="0000:00:00"))).personal == ()
    assert personal_metadata(save(tmp_path / "b.png")).personal == ()
    assert personal_metadata(tmp_path / "missing.png").personal == ()


def test_texts_of_png_and_xmp_are_named(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Author", "Jane Doe")
    info.add_text("Software", "GIMP")
    info.add_text("Comment", "x" * 500, zip=True)
    info.add_itxt("XML:com.adobe.xmp", "<x:a xmlns:dc='u'><dc:creator>J</dc:creator></x:a>")
    named = personal_metadata(save(tmp_path / "a.png", pnginfo=info)).personal
    assert named == ("text author", "text comment", "XMP creator")
    packet = b"<r:D xmp:CreateDate='2020' dc:format='image/jpeg'><dc:title/></r:D>"
    assert personal_metadata(save(tmp_path / "a.jpg", xmp=packet)).personal == ("XMP CreateDate",)


def test_damaged_headers_give_nothing(tmp_path):
    content = save(tmp_path / "a.jpg", exif=exif(x013B="Jane Doe")).read_bytes()
    chance = np.random.default_rng(0)
    for _ in range(50):
        broken = bytearray(content[: chance.integers(4, len(content))])
        broken[chance.integers(4, len(broken) + 4) % len(broken)] = 255
        (tmp_path / "b.jpg").write_bytes(broken)
        personal_metadata(tmp_path / "b.jpg")
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xff\xff\xfftEXtAuthor\0a")
    assert personal_metadata(tmp_path / "c.png").personal == ("text author",)


def test_images_inside_of_record_files_are_read_there(tmp_path):
    content = save(tmp_path / "a.jpg", exif=exif(x013B="Jane Doe")).read_bytes()
    (tmp_path / "a.tfrecord").write_bytes(b"x" * 12 + content)
    place = tmp_path / "inside.jpg", tmp_path / "a.tfrecord", 12, len(content)
    assert personal_metadata(StoredImage.at(*place)).personal == ("Exif Artist",)


def dicom(path, **elements):
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = pydicom.Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = meta
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=False)
    content = path.read_bytes()
    if content[128:132] != b"DICM":
        path.write_bytes(bytes(128) + b"DICM" + content)
    return path


def test_elements_of_dicom_are_named_without_values(tmp_path):
    named = {"PatientName": "Doe^Jane", "PatientBirthDate": "19700102", "Modality": "PX"}
    found = personal_metadata(dicom(tmp_path / "a.dcm", **named))
    assert found.personal == ("DICOM PatientName", "DICOM PatientBirthDate")
    assert found.patient and "Jane" not in str(found)
    cleared = {"PatientIdentityRemoved": "YES", "BurnedInAnnotation": "YES"}
    found = personal_metadata(dicom(tmp_path / "b.dcm", **named, **cleared))
    assert found.personal == ("DICOM BurnedInAnnotation",)
    nobody = personal_metadata(dicom(tmp_path / "c.dcm", PatientName="ANON", PatientID=""))
    assert nobody.personal == () and nobody.patient == ""


def test_one_patient_in_two_splits_is_a_leak(tmp_path):
    paths = [
        dicom(tmp_path / f"{i}.dcm", PatientID=one) for i, one in enumerate(("7", "7", "8", "8"))
    ]
    splits = ("train", "val", "train", "train")
    samples = [Sample(p.stem, p, s) for p, s in zip(paths, splits, strict=True)]
    _, patients = check_privacy(samples, tmp_path)
    assert patients == [["0", "1", "one patient, in train and val"]]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("patient12_left", "patient12_right", True),
        ("sub-01/a", "sub-01/b", True),
        ("train/images/patient1", "val/images/patient1_b", True),
        ("siteA/patient1", "siteB/patient1", False),
        ("siteA/train/patient1", "siteA/val/patient1", True),
        ("Subject 3 a", "Subject 03 b", True),
        ("case_1", "case_11", False),
        ("partial 3 a", "partial 3 b", False),
        ("image1", "image1_b", False),
    ],
)
def test_patients_are_known_by_numbers_in_names(tmp_path, one, other, same):
    samples = [
        Sample(name, save(tmp_path / f"{name}.png"), split)
        for name, split in ((one, "train"), (other, "test"))
    ]
    _, patients = check_privacy(samples, tmp_path)
    expected = [[other, one, "one patient, in test and train"]]
    assert patients == (expected if same else [])


def test_names_of_files_and_folders_below_the_data_are_looked_at(tmp_path):
    data = tmp_path / "Doe, Jane" / "data"  # above the data folder: no one's business here
    paths = [data / n for n in ("Smith_Anna/1.png", "images/2020-01-02.png", "images/3.png")]
    personal, _ = check_privacy([Sample(p.stem, save(p)) for p in paths], data)
    assert personal == [
        ["1", "what looks like a name in its path"],
        ["2020-01-02", "a date in its path"],
    ]
