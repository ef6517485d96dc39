import pytest
from PIL import Image

from dentalzoo.errors import BadFile

pytest.importorskip("highdicom")
from dentalzoo.data.dicom_out.source import TYPE_2, read_source  # noqa: E402
from tests.data.dicom_out.conftest import UIDS  # noqa: E402


def test_references_identity_and_nothing_private(radiograph):
    source = read_source(radiograph(private=True))
    assert {key: source.image.get(key) for key in UIDS} == UIDS
    assert source.identity.PatientName == "Sørensen^Åse"
    assert source.identity.SpecificCharacterSet == "ISO_IR 192"
    assert source.identity.StudyDate == "20240305" and source.identity.PatientID == "4711"
    assert "Secret^Person" not in f"{source.image}{source.identity}"
    assert "Practice" not in f"{source.image}{source.identity}"
    assert source.emptied == ()


@pytest.mark.parametrize("encoding", ["ISO_IR 100", "ISO_IR 192", ["", "ISO 2022 IR 87"]])
def test_names_of_every_character_set(radiograph, encoding):
    name = "Yamada^Tarou=山田^太郎" if isinstance(encoding, list) else "Müller^Jörg"
    source = read_source(radiograph(SpecificCharacterSet=encoding, PatientName=name))
    assert str(source.identity.PatientName) == name


def test_absent_elements_of_type_2_are_empty_and_named(radiograph):
    source = read_source(radiograph(**dict.fromkeys(TYPE_2)))
    assert all(
        keyword in source.identity and not source.identity.get(keyword) for keyword in TYPE_2
    )
    assert source.emptied == TYPE_2


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, which writes the bad values
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientBirthDate", "1970.01.02"),
        ("PatientBirthDate", "19700231x"),
        ("PatientSex", "X"),
        ("StudyTime", "10:11:12"),
    ],
)
def test_values_that_dicom_does_not_allow_are_empty_and_named(radiograph, keyword, value):
    source = read_source(radiograph(**{keyword: value}))
    assert source.identity.get(keyword) in ("", None)
    assert source.emptied == (keyword,)


@pytest.mark.parametrize("keyword", [*UIDS, "SOPClassUID"])
def test_a_missing_identifier_is_named(radiograph, keyword):
    with pytest.raises(BadFile, match=f"Received: no {keyword}$"):
        read_source(radiograph(**{keyword: None}))


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, which writes the bad value
@pytest.mark.parametrize("uid", ["1." + "2" * 64, "1.2.a"])
def test_a_uid_that_a_result_cannot_hold_is_refused(radiograph, uid):
    with pytest.raises(BadFile, match="Received: another value as StudyInstanceUID$"):
        read_source(radiograph(StudyInstanceUID=uid))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_value_is_quoted_in_the_log(radiograph, caplog):
    path = radiograph(PatientBirthDate="Secret", PatientID="Secret" * 20)
    caplog.clear()
    read_source(path)
    assert not caplog.messages


def test_an_image_of_another_format_is_refused(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    with pytest.raises(BadFile, match="must be a DICOM file"):
        read_source(tmp_path / "x.png")


def test_damage_is_told_without_the_contents(tmp_path, radiograph):
    path = radiograph()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadFile) as raised:
        read_source(path)
    assert "Secret" not in str(raised.value) and "Åse" not in str(raised.value)


@pytest.mark.parametrize(
    ("elements", "spacing", "origin"),
    [
        ({"PixelSpacing": [0.1, 0.2], "ImagerPixelSpacing": [0.3, 0.3]}, (0.1, 0.2), "Pixel"),
        ({"ImagerPixelSpacing": [0.3, 0.4]}, (0.3, 0.4), "Imager"),
        ({"NominalScannedPixelSpacing": [0.3, 0.4]}, (0.3, 0.4), "Nominal"),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.3, 0.4]}, (0.3, 0.4), "Imager"),
        ({"PixelSpacing": []}, None, ""),
        ({}, None, ""),
    ],
)
def test_spacing_comes_from_the_best_element_that_is_usable(radiograph, elements, spacing, origin):
    source = read_source(radiograph(**elements))
    assert source.spacing == spacing
    assert source.spacing_from.startswith(origin) and bool(source.spacing_from) == bool(origin)
