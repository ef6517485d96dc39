"""Charts of a drawn radiograph whose teeth are known, their rules, pages and comparisons."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

import dentalzoo as dz
from dentalzoo.bundle.schema import Mismatch
from dentalzoo.charting import comparison, predictor, schema
from dentalzoo.charting.kinds import KINDS, kind_of
from dentalzoo.charting.mouth import (
    neighbours,
    number_in_gap,
    rows_of,
    tooth_name,
    tooth_under,
)
from dentalzoo.charting.odontogram import odontogram, symbol
from dentalzoo.cli import main
from dentalzoo.data import synthetic
from dentalzoo.data.dicom_out.codes import tooth_concept
from dentalzoo.data.io.images import write_png
from dentalzoo.errors import DentalzooError
from tests.data.dicom_out.conftest import radiograph as dicom  # noqa: F401, a fixture
from tests.data.dicom_out.test_validation import validate
from tests.tasks.test_instances import NUMBERS, Segmenter, boxes_of

FINDINGS = ("Cavity", "Fillings", "Impacted Tooth", "Implant")


@pytest.fixture(scope="module")
def radiograph():
    return synthetic.panoramic(3, 128, 256)


class Boxes:
    """Has the same boxes (class, score, box) for every image."""

    def __init__(self, name, classes, rows, verdict=0.5):
        self.name, self.rows = name, rows
        config = {"classes": list(classes), "operating_threshold": 0.3}
        self.metadata = {"task": "detection", "config": config, "signatures": {"detect": {}}}
        self.metadata["signatures"]["familiarity"] = {}
        self.score = verdict

    def detect(self, image):
        if image.shape[0] == 7:
            raise DentalzooError("too small")
        classes, scores, boxes = zip(*self.rows, strict=True) if self.rows else ((), (), ())
        return {
            "boxes": np.array(boxes, np.float32).reshape(-1, 4),
            "scores": np.array(scores, np.float32),
            "classes": np.array(classes, np.int32),
            "num": len(classes),
        }

    def function(self, name):
        return getattr(self, name)

    def familiarity(self, image):
        return {"score": np.float32(self.score), "colour": np.float32(self.score)}


class Mouth:
    """The stand-ins of the three bundles, and what `chart` writes with them."""

    def __init__(self, radiograph, folder, monkeypatch):
        self.folder = folder
        self.numbers, self.boxes = boxes_of(radiograph.teeth)
        self.mask = radiograph.tooth_mask.astype(np.uint8)[..., None]
        self.teeth = [
            (1 + NUMBERS.index(str(n)), 0.9, box)
            for n, box in zip(self.numbers, self.boxes, strict=True)
        ]
        self.found, self.score = [], 0.5
        (folder / "in").mkdir()
        write_png(folder / "in" / "a.png", radiograph.image)
        monkeypatch.setattr(predictor, "load", self.load)
        monkeypatch.setattr("dentalzoo.bundle.load", self.load)

    def load(self, reference):
        if reference == dz.charting.ChartOptions.outlines:
            segmenter = Segmenter(self.mask * np.uint8(255))
            segmenter.metadata = {**segmenter.metadata, "task": "segmentation"}
            return segmenter
        if reference == dz.charting.ChartOptions.numbers:
            return Boxes("numbers", NUMBERS, self.teeth)
        if reference == dz.charting.ChartOptions.findings:
            return Boxes("finder", FINDINGS, self.found, self.score)
        raise DentalzooError(f"no such bundle. Received: {reference}")

    def box(self, number):
        return self.boxes[self.numbers.index(number)]

    def without(self, number):
        """Take a tooth out of the mouth."""
        top, left, bottom, right = self.box(number) * [128, 256, 128, 256]
        self.mask[int(top) : int(bottom) + 1, int(left) : int(right) + 1] = 0
        self.teeth = [row for row in self.teeth if NUMBERS[row[0] - 1] != str(number)]

    def chart(self, name="out", **options):
        report = dz.chart(self.folder / "in", self.folder / name, **options)
        assert (report.written, report.failed) == (1, [])
        return schema.read_chart(self.folder / name / "a_chart.json")


@pytest.fixture
def mouth(radiograph, tmp_path, monkeypatch):
    return Mouth(radiograph, tmp_path, monkeypatch)


def teeth_of(chart, state):
    return [tooth["number"] for tooth in chart["teeth"] if tooth["state"] == state]


def kinds_of(chart):
    return [(entry["kind"], entry["teeth"]) for entry in chart["contradictions"]]


def test_a_chart_has_the_teeth_with_their_areas_and_crops(mouth, radiograph):
    chart = mouth.chart()
    assert teeth_of(chart, "present") == mouth.numbers
    assert chart["contradictions"] == [] and chart["findings"] == []
    for tooth in chart["teeth"]:
        if tooth["state"] == "present":
            area = np.count_nonzero(radiograph.teeth == tooth["number"])
            assert abs(tooth["area"] - area) < 0.25 * area
            with Image.open(mouth.folder / "out" / tooth["crop"]) as crop:
                left, _, right, _ = tooth["box"]
                assert crop.width >= right - left
            assert tooth["outline"] and len(tooth["outline"][0]) >= 6
        else:
            assert (tooth["box"], tooth["crop"], tooth["area"]) == (None, None, 0)
    assert [e["verdict"] for e in chart["familiarity"]] == [None, "familiar", "familiar"]


def test_images_that_a_bundle_does_not_know_are_logged(mouth, caplog):
    mouth.chart("familiar")
    assert not caplog.messages
    mouth.score = 3.0
    mouth.chart()
    (line,) = caplog.messages
    image = mouth.folder / "in" / "a.png"
    assert line.startswith(f"{image}: findings: not the kind of image that this bundle is for")
    assert line.endswith("a colour image (familiarity score 3.00, bound 1)")


def test_findings_lie_on_their_teeth_and_contradictions_are_said(mouth):
    mouth.found = [
        (2, 0.9, mouth.box(36)),
        (1, 0.8, mouth.box(36)),
        (4, 0.7, mouth.box(11)),
        (2, 0.6, (0.0, 0.0, 0.05, 0.05)),
        (2, 0.2, mouth.box(21)),  # below the threshold
    ]
    chart = mouth.chart()
    on = {f["id"]: (f["kind"], f["tooth"]) for f in chart["findings"]}
    assert on == {
        1: ("restoration", 36),
        2: ("caries", 36),
        3: ("implant", 11),
        4: ("restoration", None),
    }
    assert kinds_of(chart) == [("implant_on_tooth", [11]), ("off_tooth", [])]
    assert 11 in teeth_of(chart, "present")
    assert chart["findings"][3]["crop"] == "crops/a_finding_4.jpg"


def test_an_implant_in_a_gap_has_the_number_of_the_gap(mouth):
    box = mouth.box(45)
    mouth.without(45)
    mouth.found = [(4, 0.8, box)]
    chart = mouth.chart()
    assert teeth_of(chart, "implant") == [45]
    assert chart["findings"][0]["tooth"] == 45 and kinds_of(chart) == []


def test_outlines_as_large_as_teeth_without_a_number_are_said_and_drawn(mouth):
    mouth.teeth = [row for row in mouth.teeth if NUMBERS[row[0] - 1] != "36"]
    mouth.found = [(4, 0.8, mouth.box(36))]
    chart = mouth.chart()
    kinds = kinds_of(chart)
    assert ("no_number", [36]) in kinds and ("implant_on_outline", [36]) in kinds
    assert 36 in teeth_of(chart, "implant")
    drawn = np.zeros((128, 256), np.uint8)
    polygons = [np.int32(polygon).reshape(-1, 1, 2) for polygon in chart["unnumbered"]]
    cv2.fillPoly(drawn, polygons, 1)
    top, left, bottom, right = np.int32(mouth.box(36) * [128, 256, 128, 256])
    here = slice(top, bottom), slice(left, right)
    assert mouth.mask[drawn > 0].mean() > 0.9
    assert drawn[here].sum() > 0.4 * mouth.mask[here].sum()  # neighbours reach into it
    page = (mouth.folder / "out" / "a_chart.html").read_text()
    assert page.count('class="unnumbered"') == len(polygons)
    assert "has no number" in page and "<b>1</b> implant in a gap" in page


def test_a_missing_tooth_that_a_candidate_explains_is_said_once(mouth):
    """The second box of a number lies on a tooth, which has no number then."""
    again = mouth.box(24)
    mouth.teeth = [row for row in mouth.teeth if not np.array_equal(row[2], again)]
    mouth.teeth += [(1 + NUMBERS.index("22"), 0.7, again)]
    chart = mouth.chart()
    assert kinds_of(chart) == [("same_number", [22])] and chart["unnumbered"]


def test_what_the_bundles_do_not_agree_on_is_said(mouth):
    lost, again = mouth.box(45), mouth.box(24)
    mouth.without(45)
    mouth.teeth += [(1 + NUMBERS.index("45"), 0.9, lost)]  # a box without a tooth
    mouth.teeth = [
        (1 + NUMBERS.index("34") if NUMBERS[label - 1] == "24" else label, score - 0.1, box)
        if box is again
        else (label, score, box)
        for label, score, box in mouth.teeth
    ]
    mouth.teeth = [row for row in mouth.teeth if not np.array_equal(row[2], again)]
    mouth.teeth += [(1 + NUMBERS.index("22"), 0.7, again)]  # a second 22, where 24 is
    chart = mouth.chart()
    assert kinds_of(chart) == [("no_outline", [45]), ("same_number", [22])]
    assert {45, 24} <= set(teeth_of(chart, "absent"))


def test_no_tooth_at_all_is_said(mouth):
    mouth.teeth = []
    chart = mouth.chart()
    assert {kind for kind, _ in kinds_of(chart)} == {"no_number", "no_teeth"}
    assert teeth_of(chart, "present") == []


def test_the_page_stands_alone_and_says_what_must_be_said(mouth):
    mouth.found, mouth.score = [(2, 0.9, mouth.box(36)), (3, 0.9, mouth.box(48))], 3.0
    write_png(mouth.folder / "in" / "<b>&.png", np.zeros((64, 128, 1), np.uint8))
    report = dz.chart(mouth.folder / "in", mouth.folder / "out")
    assert report.written == 2
    page = (mouth.folder / "out" / "a_chart.html").read_text()
    assert "Research only, not for diagnosis." in page
    assert "Do not rely on the findings." in page
    assert page.index("Do not rely") < page.index("<svg")
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert not re.search(r"https?://|<script|src=\"(?!data:)", page)
    assert "<b>&.png" not in (mouth.folder / "out" / "<b>&_chart.html").read_text()
    assert "@page { size: A4 landscape" in page


def test_a_bad_image_fails_in_one_line_and_the_rest_goes_on(mouth, capsys):
    (mouth.folder / "in" / "b.png").write_bytes(b"no image")
    write_png(mouth.folder / "in" / "c.png", np.zeros((7, 9, 1), np.uint8))
    out = mouth.folder / "out"
    assert main(["chart", str(mouth.folder / "in"), "--out", str(out), "--findings", "none"]) == 1
    printed = capsys.readouterr()
    assert printed.out == f"1 charts written to {out}, 2 failed\n"
    assert len([line for line in printed.err.splitlines() if "in/b.png" in line]) == 1
    assert "Traceback" not in printed.err
    assert "findings" not in json.loads((out / "a_chart.json").read_text())["made"]["bundles"]


def test_anonymous_charts_have_no_name_of_a_file(mouth):
    (mouth.folder / "in" / "a.png").rename(mouth.folder / "in" / "Doe_Jane_1970-01-02.png")
    out = mouth.folder / "out"
    dz.chart(mouth.folder / "in", out, anonymize=True)
    for path in out.rglob("*"):
        assert "Jane" not in path.name
        assert path.is_dir() or b"Jane" not in path.read_bytes()


def test_a_report_has_the_findings_with_the_teeth_they_lie_on(mouth, dicom, radiograph):  # noqa: F811
    pydicom = pytest.importorskip("pydicom")
    (mouth.folder / "in" / "a.png").rename(mouth.folder / "b.png")
    path = dicom("a.dcm", pixels=np.squeeze(radiograph.image), BitsStored=8, HighBit=7)
    path.rename(mouth.folder / "in" / "a.dcm")
    mouth.found = [(2, 0.9, mouth.box(36)), (4, 0.8, (0, 0, 0.05, 0.05))]
    chart = mouth.chart(dicom=["sr"])
    report = mouth.folder / "out" / "a_sr.dcm"
    assert not shutil.which("dciodvfy") or validate(report) == []
    content = pydicom.dcmread(report)
    groups = highdicom_groups(content)
    assert len(groups) == len(teeth_of(chart, "present")) + 2
    sites = [site for label, site in groups if label == "Fillings"]
    assert sites == [tooth_concept(36).value]
    assert [site for label, site in groups if label == "Implant"] == [None]
    assert comments_of(content) == []
    text = path.name + (mouth.folder / "out" / "a_chart.json").read_text()
    assert str(content.PatientName) and str(content.PatientName) not in text


def test_a_report_warns_of_each_bundle_that_does_not_know_the_image(mouth, dicom, radiograph):  # noqa: F811
    pydicom = pytest.importorskip("pydicom")
    (mouth.folder / "in" / "a.png").rename(mouth.folder / "b.png")
    path = dicom("a.dcm", pixels=np.squeeze(radiograph.image), BitsStored=8, HighBit=7)
    path.rename(mouth.folder / "in" / "a.dcm")
    mouth.score = 6.74
    mouth.chart(dicom=["sr"])
    report = mouth.folder / "out" / "a_sr.dcm"
    assert not shutil.which("dciodvfy") or validate(report) == []
    (comment,) = comments_of(pydicom.dcmread(report))
    assert comment.startswith(
        "findings: not the kind of image that this bundle is for, do not rely"
    )
    assert comment.endswith("(familiarity score 6.74, bound 1)")


def comments_of(content):
    """The comments in the group of the whole image."""
    highdicom = pytest.importorskip("highdicom")
    report = highdicom.sr.ComprehensiveSR.from_dataset(content)
    (group,) = report.content.get_image_measurement_groups()
    items = group[0].ContentSequence
    return [item.value for item in items if item.name.meaning == "Comment"]


def highdicom_groups(content):
    """Finding and code of its site, for each group of measurements that has a region."""
    highdicom = pytest.importorskip("highdicom")
    report = highdicom.sr.ComprehensiveSR.from_dataset(content)
    return [
        (
            group.finding_type.meaning,
            group.finding_sites[0].value.value if group.finding_sites else None,
        )
        for group in report.content.get_planar_roi_measurement_groups()
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outlines": dz.charting.ChartOptions.numbers}, "outlines must be a bundle for segment"),
        (
            {"findings": dz.charting.ChartOptions.outlines},
            "findings must be a bundle for detection",
        ),
        ({"numbers": dz.charting.ChartOptions.findings}, "whose classes are FDI numbers"),
        ({"findings": "other"}, "no such bundle"),
        ({"dicom": ("seg",)}, "dicom must be"),
    ],
)
def test_bundles_for_something_else_are_refused(mouth, options, message):
    with pytest.raises(DentalzooError, match=message) as caught:
        mouth.chart(**options)
    assert "\n" not in str(caught.value)


def compare(before, after):
    """The comparison of a chart in the folder `before` with one in `after`."""
    return comparison.compare(before, after, "before/a_chart.json", "after/a_chart.json")


def test_two_charts_are_compared(mouth, capsys):
    mouth.found = [(1, 0.8, mouth.box(11)), (2, 0.7, mouth.box(46))]
    before = mouth.chart("before")
    lost, implant = 17, mouth.box(45)
    mouth.without(lost)
    mouth.without(45)
    mouth.found = [(2, 0.9, mouth.box(36)), (4, 0.8, implant), (2, 0.7, mouth.box(46))]
    after = mouth.chart("after")
    changes = {(c["kind"], c["tooth"]) for c in compare(before, after)["changes"]}
    assert changes == {
        ("lost_tooth", lost),
        ("new_implant", 45),
        ("new_finding", 36),
        ("lost_finding", 11),
    }
    assert compare(before, before)["changes"] == []
    back = {(c["kind"], c["tooth"]) for c in compare(after, before)["changes"]}
    assert ("new_tooth", lost) in back and ("lost_finding", 36) in back
    texts = {c["text"] for c in compare(after, before)["changes"]}
    assert "36 (lower left first molar): restoration no longer seen" in texts
    files = [str(mouth.folder / name / "a_chart.json") for name in ("before", "after")]
    out = mouth.folder / "changes"
    assert main(["chart", "--compare", *files, "--out", str(out)]) == 0
    assert "36 (lower left first molar): new restoration" in capsys.readouterr().out
    stored = json.loads((out / "comparison.json").read_text())
    assert stored == compare(before, after)
    page = (out / "comparison.html").read_text()
    assert page.count('class="odontogram"') == 2 and "Research only" in page
    assert "Older: before/a_chart.json" in page and "Newer: after/a_chart.json" in page
    assert not re.search(r"https?://|<script", page)


def test_doubts_and_other_models_are_said_in_a_comparison(mouth):
    before = mouth.chart()
    mouth.found, mouth.score = [(4, 0.9, mouth.box(11))], 3.0
    after = mouth.chart()
    after["made"]["bundles"]["numbers"]["threshold"] = 0.1
    result = compare(before, after)
    assert any("different models" in line for line in result["warnings"])
    assert any("do not rely" in line for line in result["warnings"])
    (change,) = [c for c in result["changes"] if c["tooth"] == 11]
    assert change["doubts"][0].startswith("Newer chart: Implant")


def test_numbers_beside_a_double_one_and_unsure_teeth_are_in_doubt(mouth):
    """As where a molar was removed: the one behind it may get its number."""
    before = mouth.chart()
    mouth.without(17)
    mouth.without(45)
    after = mouth.chart()
    text = "A tooth that looks like 16 was found beside another one of that number."
    after["contradictions"] = [{"kind": "same_number", "text": text, "teeth": [16], "findings": []}]
    (unsure,) = [tooth for tooth in before["teeth"] if tooth["number"] == 45]
    unsure["score"] = 0.31
    doubts = {c["tooth"]: c["doubts"] for c in compare(before, after)["changes"]}
    assert doubts[17] == [f"Newer chart: {text}"]
    assert doubts[45] == ["Older chart: the tooth was found with 31 % only."]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(18, [17]), (11, [12, 21]), (36, [35, 37]), (55, [54]), (71, [81, 72]), (38, [37])],
)
def test_the_teeth_beside_a_tooth(number, expected):
    assert sorted(neighbours(number)) == sorted(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(version=2), "version must be 1"),
        (lambda c: c.pop("teeth"), "must have 'teeth'"),
        (lambda c: c["teeth"][0].update(state="gone"), r"teeth\[0\].state must be one of"),
        (lambda c: c["teeth"][0].update(number=99), r"teeth\[0\].number must be one of"),
        (lambda c: c["teeth"].append(c["teeth"][0]), "numbers of teeth must differ"),
        (lambda c: c["teeth"][0].update(findings=[7]), "must be ids of findings"),
        (lambda c: c["teeth"][0].update(score=2), "a number from 0 to 1"),
    ],
)
def test_what_is_no_chart_is_refused(mouth, change, message):
    chart = mouth.chart()
    schema.check(chart)
    change(chart)
    with pytest.raises(Mismatch, match=message):
        schema.check(chart)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"a": NaN}'])
def test_files_that_are_no_charts_fail_in_one_line(tmp_path, content, capsys):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    for pair in ([path, path], [tmp_path / "absent.json", path], [tmp_path, path]):
        words = ["chart", "--compare", *map(str, pair), "--out", str(tmp_path / "out")]
        assert main(words) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_chart_needs_radiographs_or_two_charts(tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert main(["chart", *out]) == 2
    assert main(["chart", "a.png", "--compare", "a", "b", *out]) == 2
    assert main(["chart", "--compare", "a", "b", "--anonymize", *out]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and lines[2].endswith("Received: --anonymize")


# ---- the mouth -----------------------------------------------------------------------------------


def test_names_and_rows_of_teeth():
    assert tooth_name(16) == "upper right first molar"
    assert tooth_name(75) == "lower left deciduous second molar"
    upper, lower = rows_of([])
    assert upper == [*range(18, 10, -1), *range(21, 29)]
    assert lower == [*range(48, 40, -1), *range(31, 39)]
    assert [row[0] for row in rows_of([55, 11])] == [18, 55, 48]


def test_a_finding_lies_on_the_tooth_whose_middle_is_nearest():
    teeth = np.array([[0, 0, 1, 0.3], [0, 0.2, 1, 0.5]])
    assert tooth_under(np.array([0.4, 0.1, 0.6, 0.2]), teeth) == 0
    assert tooth_under(np.array([0.4, 0.22, 0.6, 0.3]), teeth) == 1
    assert tooth_under(np.array([0.0, 0.45, 1.0, 0.9]), teeth) is None
    assert tooth_under(np.array([0, 0, 1, 1]), np.zeros((0, 4))) is None


def test_the_number_of_a_gap_is_known_between_neighbours_only():
    numbers = [17, 14, 13, 47, 46]
    teeth = np.array(
        [[0, x, 0.4, x + 0.1] for x in (0, 0.3, 0.4)] + [[0.6, x, 1.0, x + 0.1] for x in (0, 0.1)]
    )
    assert number_in_gap(np.array([0.1, 0.1, 0.4, 0.2]), teeth, numbers) == 16
    assert number_in_gap(np.array([0.1, 0.2, 0.4, 0.3]), teeth, numbers) == 15
    assert number_in_gap(np.array([0.1, 0.6, 0.4, 0.7]), teeth, numbers) is None
    assert number_in_gap(np.array([0.7, 0.09, 0.9, 0.11]), teeth, numbers) is None
    assert number_in_gap(np.array([0, 0, 1, 1]), teeth[:0], []) is None


def test_every_kind_of_finding_has_a_sign_and_known_classes_a_kind():
    signs = {symbol(kind) for kind in (*KINDS, "absent", "present")}
    assert len(signs) == len(KINDS) + 2
    assert [kind_of(name).key for name in FINDINGS] == [
        *("caries", "restoration", "impacted", "implant")
    ]
    assert kind_of("Deep_Caries").key == "caries" and kind_of("wart").key == "other"


def test_deciduous_teeth_have_rows_of_their_own():
    tooth = {"number": 55, "state": "present", "findings": [], "score": 0.5}
    drawn = odontogram([tooth], [])
    assert drawn.count('class="tooth') == 32 + 10
    assert "55, upper right deciduous second molar: found (50 %)" in drawn
