"""Lower jaws by their names: those of programs, and of technicians in several languages."""

import pytest

from dentalzoo.data.jaw_names import is_lower, jaw_of

LOWER = """
A1_lower.obj|lower.ply|LOWER.stl|x-lower.stl|LowerJawScan.stl|LowerJaw.stl|01_lowerjaw.stl|lowerjawscan.stl
2024-05-12_00001-001-lowerjaw.stl|LowerArch.ply|lower arch.stl|Lower_Teeth.stl|scan lower 2.obj
LowerModel.stl
mandible.stl|Mandible_Smith.ply|mandibular.obj|x_Mandibular_scan.stl|MandibleArch.stl|mandibula.stl
Unterkiefer.stl|unterkiefer_scan.stl|UK.stl|UK_Scan.stl|ukscan.stl|Müller-Unterkiefer.stl|UK1.stl
mandibule.stl|arcade inférieure.stl|maxillaire_inferieur.stl|Arcade_Inferieure.ply|mandibulaire.stl
mandíbula.stl|arcada inferior.stl|maxilar_inferior.stl|inferior.obj|arco_inferior.stl
mandibola.stl|arcata_inferiore.stl|Arcata Inferiore.obj|mascellare_inferiore.stl
żuchwa.stl|zuchwa_skan.stl|luk_dolny.stl|szczęka dolna.stl|szczeka_dolna.stl|dolni_celist.stl
nizhnyaya_chelust.stl|nizhniy.stl|nizhnyaya.stl|нижняя челюсть.stl|Нижняя.stl|niznyaya.stl
onderkaak.stl|underkäke.stl|underkæbe.stl|underkjeve.stl|alt cene.stl|alt_çene.stl|alaleuka.stl
下颌.stl|下顎_1.stl|하악.stl|12345_shell_occlusion_l.stl|OrthoCAD_lower.stl|Mand.stl
jaw.lower.stl|x.lower.jaw.obj|LowerPreparationScan.stl|lowerprepscan.stl
LowerJaw (1).stl|lower-jaw.stl|arc_inf.stl
donja čeljust.stl|slika_donja.stl|spodnja_celjust.stl|κάτω γνάθος.stl|الفك السفلي.stl|לסת תחתונה.stl
low_jaw.stl|bottom jaw.stl|arcada_inf.stl|niz.stl|низ.stl|xiahe.stl|LowerSubsetup01.stl|lowers.stl
"""
UPPER = """
A1_upper.obj|UpperJawScan.stl|maxilla.stl|maxillary.ply|Oberkiefer.stl|arcade supérieure.stl
arcada superior.stl|arcata_superiore.stl|maxilar superior.stl
12345_shell_occlusion_u.stl|верхняя.stl
gornja vilica.stl|zgornja_celjust.stl|άνω γνάθος.stl|الفك العلوي.stl|לסת עליונה.stl
szczeka_gorna.stl|łuk górny.stl|bovenkaak.stl|上颌.stl|verhnyaya.stl
"""
NEITHER = """
scan.stl|A1.obj|row_0000.obj|flower.stl|Lowery.stl|patient_L.stl|l.stl|jaw_left.stl|ukulele.stl|Duke.stl
upper_and_lower.stl|UpperLower.stl|mandy.stl|slower.stl|left.stl|inf.stl|alt.stl|bas.stl|man.stl|lowpoly.obj
"""


def names(text):
    return [name for line in text.split("\n") for name in line.split("|") if name]


@pytest.mark.parametrize("name", names(LOWER))
def test_names_of_lower_jaws(name):
    assert jaw_of([name]) == "lower" and is_lower(name)


@pytest.mark.parametrize("name", names(UPPER))
def test_names_of_upper_jaws(name):
    assert jaw_of([name]) == "upper"


@pytest.mark.parametrize("name", names(NEITHER))
def test_other_names(name):
    assert jaw_of([name]) == ""


def test_the_nearest_name_decides():
    assert jaw_of(["lower", "A1", "A1.obj"]) == "lower"
    assert jaw_of(["lower", "A1_upper.obj"]) == "upper"
    assert jaw_of(["UK", "upper", "A1.obj"]) == "upper"
    assert jaw_of(["upper", "LowerJawScan.stl"]) == "lower"
    assert jaw_of(["lower", "upper_and_lower.stl"]) == ""


def test_abbreviations_count_beside_their_opposites():
    for lower, upper in (
        ("x_L.stl", "x_U.stl"),
        ("12 md.ply", "12 mx.ply"),
        ("inf.obj", "sup.obj"),
    ):
        assert jaw_of([lower], [lower, upper]) == "lower" and jaw_of([upper], [lower, upper]) == ""
        assert jaw_of([lower], [lower, "y" + upper]) == ""
