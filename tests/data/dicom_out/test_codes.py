import pytest

from dentalzoo.data.dicom_out.codes import PRIVATE, class_codes, text, tooth_concept

FDI = [
    *(10 * quadrant + tooth for quadrant in range(1, 5) for tooth in range(1, 9)),
    *(10 * quadrant + tooth for quadrant in range(5, 9) for tooth in range(1, 6)),
]


def test_teeth_have_the_codes_of_cid_4018_and_4019():
    codedict = pytest.importorskip("pydicom.sr.codedict")
    listed = {}
    for context in (codedict.codes.cid4018, codedict.codes.cid4019):
        codes = [getattr(context, keyword) for keyword in context.dir()]
        listed |= {code.meaning: code.value for code in codes}
    assert {c.meaning: c.value for c in map(tooth_concept, FDI)} == listed
    assert len(listed) == 52


@pytest.mark.parametrize(
    ("number", "meaning"),
    [
        (18, "Permanent maxillary right third molar tooth"),
        (21, "Permanent maxillary left central incisor tooth"),
        (36, "Mandibular left first molar tooth"),
        (44, "Mandibular right first premolar tooth"),
        (55, "Deciduous maxillary right second molar tooth"),
        (73, "Deciduous mandibular left canine tooth"),
    ],
)
def test_tooth_numbers_are_those_of_iso_3950(number, meaning):
    assert tooth_concept(number).meaning == meaning


@pytest.mark.parametrize("name", ["36", "tooth 36", "FDI_36"])
def test_a_class_that_is_a_tooth_number_is_that_tooth(name):
    codes = class_codes(name)
    assert codes.is_tooth and codes.kind.value == "866006002" and codes.kind.scheme == "SCT"


@pytest.mark.parametrize("name", ["49", "19", "91", "3", "360", "tooth", "class_1", "Cavity"])
def test_other_names_are_no_tooth_number(name):
    assert not class_codes(name).is_tooth


def test_known_names_have_codes_of_snomed():
    assert class_codes("Tooth").kind.value == "38199008"
    assert class_codes("Cavity").kind.value == class_codes("caries").kind.value == "80967001"
    assert class_codes("lower_jaw").kind.meaning == "Mandible"


def test_a_private_code_is_the_name_or_a_hash_of_a_long_one():
    assert class_codes("Fillings").kind == ("Fillings", PRIVATE, "Fillings")
    first, second = (class_codes(f"a very long class name {i}").kind for i in (1, 2))
    assert len(first.value) == 16 and first.value != second.value
    assert first.meaning == "a very long class name 1"


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a\\b\n c", "a b c"), ("x" * 70, "x" * 64), ("", "unnamed"), (" Füllung ", "Füllung")],
)
def test_text_is_what_dicom_allows(name, shown):
    assert text(name) == shown
