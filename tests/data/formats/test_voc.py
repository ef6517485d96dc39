"""PASCAL VOC as VoTT 1 and 2, labelImg and `DatasetWriter` write it, and what they get wrong."""

import logging

import pytest

from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.formats.label_maps import read_label_map
from dentalzoo.data.formats.voc import parse_xml
from dentalzoo.errors import BadFile, DentalzooError
from tests.data.formats.test_dataset_writer import written
from tests.data.test_images import exif, put, text

HEIGHT, WIDTH = 90, 120
CLASSES = ("root", "implant", "restoration", "endodontic")


def thing(name, xmin, ymin, xmax, ymax, more=""):
    edges = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><name>{name}</name>{more}<bndbox>{edges}</bndbox></object>"


def annotation(filename, *things, size=(WIDTH, HEIGHT), folder="images", path=""):
    size = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    return (
        f'<annotation verified="yes"><folder>{folder}</folder><filename>{filename}</filename>'
        f"<path>{path}</path>{size}<segmented>0</segmented>{''.join(things)}</annotation>"
    )


def one(root, *things, **options):
    """A data set of one image `a.png`."""
    put(root, "images/a.png")
    text(root / "voc" / "a.xml", annotation("a.png", *things, **options))
    return find_boxes(root)


def pixels(box, height=HEIGHT, width=WIDTH):
    edges = (box.left * width, box.top * height, box.right * width, box.bottom * height)
    return tuple(round(edge, 4) for edge in edges)


def vott1(root, names=("1.png", "2.png", "3.png", "4.jpeg"), val=("2.png",)):
    """What VoTT 1.5 exports: stems are names less four characters, every line ends in CRLF."""
    items = [f"item {{\r\n id: {i}\r\n name: '{n}'\r\n}}\r\n" for i, n in enumerate(CLASSES, 1)]
    put(root, *(f"JPEGImages/{name}" for name in names))
    (root / "pascal_label_map.pbtxt").write_bytes("".join(items).encode())
    for number, name in enumerate(names):
        label = CLASSES[number % 4]
        things = [] if number == 2 else [thing(label, 10, 20, 40 + number, 60)]
        path = f"C:\\Users\\x\\{name}"
        xml = annotation(name[:-4], *things, folder="Annotation", path=path)
        text(root / "Annotations" / f"{name[:-4]}.xml", xml)
        for other in CLASSES:
            file = root / "ImageSets" / "Main" / f"{other}_{'val' if name in val else 'train'}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            flag = 1 if other == label and things else -1
            with open(file, "a", newline="") as stream:
                stream.write(f"{name[:-4]} {flag}\r\n")
    return root


# ---- layouts -------------------------------------------------------------------------------------


def test_an_export_of_vott_1_is_read_with_its_label_map_and_sets(tmp_path):
    found = find_boxes(vott1(tmp_path))
    assert found.format == "VOC" and found.classes == CLASSES
    assert [(s.name, s.split, len(s.boxes)) for s in found.samples] == [
        ("1", "train", 1),
        ("2", "val", 1),
        ("3", "train", 0),
        ("4", "train", 1),
    ]
    assert pixels(found.samples[0].boxes[0]) == (10, 20, 40, 60)  # counted from 0
    assert (found.skipped, found.repaired) == ([], [])
    assert [s.name for s in find_boxes(tmp_path, "val").samples] == ["2"]


def test_stems_that_lost_their_first_dot_find_their_image(tmp_path):
    put(tmp_path, "JPEGImages/a.b.c.png")
    text(tmp_path / "Annotations" / "ab.c.xml", annotation("ab.c", thing("root", 1, 2, 30, 40)))
    assert [s.image.name for s in find_boxes(tmp_path).samples] == ["a.b.c.png"]


def test_an_export_of_vott_2_is_read(tmp_path):
    """Names with suffix, floats, an object per tag, LF, no newline at the end of the lists."""
    root = tmp_path / "Radiographs-PascalVOC-export"
    put(
        root, "JPEGImages/my radiograph 1.png", "JPEGImages/my radiograph 2.png", "JPEGImages/b.png"
    )
    items = "".join(f"item {{\n id: {i}\n name: '{n}'\n}}\n" for i, n in enumerate(CLASSES, 1))
    text(root / "pascal_label_map.pbtxt", items)
    box = (10.25, 20.5, 40.75, 60.125)
    for name in ("my radiograph 1", "my radiograph 2", "b"):
        things = thing("implant", *box), thing("restoration", *box)
        xml = annotation(f"{name}.png", *things, folder="Annotation", path="x-export/Annotations/")
        text(root / "Annotations" / f"{name}.xml", xml)
    sets = root / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "implant_val.txt").write_text("my radiograph 1.png 1")
    (sets / "implant_train.txt").write_text("my radiograph 2.png 1\nb.png 1")
    found = find_boxes(tmp_path)
    assert {s.name: s.split for s in found.samples} == {
        "my radiograph 1": "val",
        "my radiograph 2": "train",
        "b": "train",
    }
    assert [(b.label, pixels(b)) for b in found.samples[0].boxes] == [
        ("implant", box),
        ("restoration", box),
    ]
    assert (found.skipped, found.repaired) == ([], [])


def test_plain_lists_and_names_with_numbers(tmp_path):
    put(tmp_path, "JPEGImages/radiograph 1.png", "JPEGImages/radiograph.png")
    for name in ("radiograph 1", "radiograph"):
        text(tmp_path / "Annotations" / f"{name}.xml", annotation(name, thing("root", 2, 2, 9, 9)))
    text(tmp_path / "ImageSets" / "Main" / "train.txt", "radiograph 1")
    text(tmp_path / "ImageSets" / "Main" / "val.txt", "radiograph")
    text(tmp_path / "ImageSets" / "Main" / "trainval.txt", "radiograph 1", "radiograph")
    found = find_boxes(tmp_path)
    assert {s.name: s.split for s in found.samples} == {
        "radiograph 1": "train",
        "radiograph": "val",
    }


def test_several_exports_of_the_same_names_lie_in_one_folder(tmp_path):
    for folder in ("gonesse_output", "google_output"):
        vott1(tmp_path / folder, val=("2.png",) if folder[1] == "o" and folder[2] == "n" else ())
    found = find_boxes(tmp_path)
    assert len(found) == 8 and found.skipped == []
    assert [s.name for s in found.samples if s.split == "val"] == ["gonesse_output/JPEGImages/2"]


def test_what_the_project_writes_is_the_same_in_voc_and_coco(tmp_path):
    written(tmp_path, 4, splits=("train", "val"))
    coco = find_boxes(tmp_path)
    (tmp_path / "annotations.coco.json").unlink()
    voc = find_boxes(tmp_path)
    assert (coco.format, voc.format) == ("COCO", "VOC") and voc.classes == coco.classes
    for one_, other in zip(voc.samples, coco.samples, strict=True):
        assert (one_.name, one_.split) == (other.name, other.split)
        assert [pixels(b, 48, 48) for b in one_.boxes] == [pixels(b, 48, 48) for b in other.boxes]


def test_annotations_beside_their_images(tmp_path):
    put(tmp_path, "train/a.png", "val/a.png")
    for split, right in (("train", 30), ("val", 40)):
        text(tmp_path / split / "a.xml", annotation("a.png", thing("root", 1, 1, right, 50)))
    found = find_boxes(tmp_path)
    assert [(s.name, s.split) for s in found.samples] == [("train/a", "train"), ("val/a", "val")]
    assert [pixels(s.boxes[0])[2] for s in found.samples] == [30, 40]
    assert found.classes == ("root",)


# ---- the known faults ----------------------------------------------------------------------------


def test_an_image_in_train_and_val_is_kept_for_val(tmp_path):
    vott1(tmp_path)
    with open(tmp_path / "ImageSets" / "Main" / "root_train.txt", "a") as stream:
        stream.write("2 1\r\n")
    found = find_boxes(tmp_path)
    assert [s.name for s in found.samples if s.split == "val"] == ["2"]
    assert ("JPEGImages/2.png", "in train and val of ImageSets; val counts") in found.repaired


def test_lines_that_are_there_with_both_flags_are_reported_and_change_nothing(tmp_path):
    """VoTT issue 692."""
    vott1(tmp_path)
    with open(tmp_path / "ImageSets" / "Main" / "root_train.txt", "a") as stream:
        stream.write("1 -1\r\n3 -1\r\n")
    found = find_boxes(tmp_path)
    assert len(found) == 4 and [len(s.boxes) for s in found.samples] == [1, 1, 0, 1]
    (entry,) = found.repaired
    assert entry[0] == "ImageSets/Main/root_train.txt" and "with 1 and with -1" in entry[1]


def test_a_ymax_that_repeats_xmin_is_refused_by_name(tmp_path):
    """VoTT issue 760: the height of every box is lost."""
    put(tmp_path, "JPEGImages/a.png", "JPEGImages/b.png")
    lost = thing("root", 29.3, 46.9, 72.4, 29.3)
    xml = tmp_path / "Annotations"
    text(xml / "a.xml", annotation("a.png", lost, folder="Annotation"))
    text(xml / "b.xml", annotation("b.png", thing("root", 29.3, 46.9, 72.4, 81), folder="x"))
    found = find_boxes(tmp_path)
    assert [s.name for s in found.samples] == ["b"]
    ((name, reason),) = found.skipped
    assert name == "Annotations/a.xml" and "every ymax repeats xmin" in reason


def test_a_ymax_that_repeats_xmin_is_read_from_the_project_beside_it(tmp_path):
    put(tmp_path, "export/JPEGImages/a.png")
    lost = thing("root", 29.3, 46.9, 72.4, 29.3)
    text(tmp_path / "export" / "Annotations" / "a.xml", annotation("a.png", lost))
    text(
        tmp_path / "0123-asset.json",
        '{"asset": {"id": "0123", "name": "a.png", "state": 2, "size": {"width": 120, '
        '"height": 90}}, "regions": [{"tags": ["root"], "boundingBox": {"left": 29.3, '
        '"top": 46.9, "width": 43.1, "height": 34.1}}]}',
    )
    found = find_boxes(tmp_path)
    assert pixels(found.samples[0].boxes[0]) == (29.3, 46.9, 72.4, 81)
    assert "whose ymax repeats xmin" in found.repaired[0][1] and found.skipped == []


def test_a_wrong_path_is_never_followed(tmp_path):
    """VoTT issue 926, and what any other machine wrote."""
    put(tmp_path, "images/a.png", "other/a.png")
    path = tmp_path / "other" / "a.png"
    text(tmp_path / "voc" / "a.xml", annotation("a.png", thing("x", 2, 2, 30, 30), path=path))
    assert [s.image.parent.name for s in find_boxes(tmp_path).samples] == ["images"]


def test_a_filename_of_another_image_is_reported(tmp_path):
    put(tmp_path, "images/a.png", "images/b.png")
    for name in "ab":
        text(tmp_path / "voc" / f"{name}.xml", annotation("a.png", thing("x", 2, 2, 30, 30)))
    found = find_boxes(tmp_path)
    assert [s.image.name for s in found.samples] == ["a.png", "b.png"]
    assert found.repaired == [("voc/b.xml", "its image is b.png, not filename. Received: 'a.png'")]


@pytest.mark.parametrize(
    ("corners", "expected", "note"),
    [
        ((11, 21, 40, 60), (10, 20, 40, 60), ""),  # from 1, the last pixel included
        ((11, 21, 11, 21), (10, 20, 11, 21), ""),  # one pixel
        ((40, 21, 11, 60), (10, 20, 40, 60), "edges exchanged"),
        ((11, 60, 40, 21), (10, 20, 40, 60), "edges exchanged"),
        ((1, 1, 120, 90), (0, 0, 120, 90), ""),
        ((61, 21, 140, 60), (60, 20, 120, 60), "cut off at the border"),
        ((0, 0, 40, 60), (0, 0, 40, 60), ""),  # from 0: there is no pixel 0 otherwise
        ((10.5, 20, 40.25, 60), (10.5, 20, 40.25, 60), ""),
        ((0, 0, 120.3, 90.4), (0, 0, 120, 90), ""),  # what rounding makes
        ((-5, 20, 40, 60), (0, 20, 40, 60), "cut off at the border"),
    ],
)
def test_corners_that_can_be_used(tmp_path, corners, expected, note):
    found = one(tmp_path, thing("root", *corners))
    assert pixels(found.samples[0].boxes[0]) == expected and found.skipped == []
    assert len(found.repaired) == bool(note)
    for name, what in found.repaired:
        assert name == "voc/a.xml, object 1" and note in what


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (thing("root", 200, 20, 260, 60), "at least half of a box must lie inside"),
        (thing("root", -60, 20, 40, 60), "at least half of a box must lie inside"),
        (thing("root", "nan", 20, 40, 60), "every edge must be a number"),
        (thing("root", 10, "inf", 40, 60), "every edge must be a number"),
        (thing("root", 10, 20.5, 40, 20.5), "a box must have an area"),
        (thing("root", "", 20, 40, 60), "bndbox must have four numbers"),
        (thing("root", "ten", 20, 40, 60), "bndbox must have four numbers"),
        ("<object><name>root</name></object>", "bndbox must have four numbers"),
        (thing("", 10, 20, 40, 60), "unknown class"),
    ],
)
def test_boxes_that_cannot_be_used_are_named_and_the_others_stay(tmp_path, bad, reason):
    found = one(tmp_path, thing("root", 0, 20, 40, 60), bad)
    assert len(found.samples[0].boxes) == 1 and found.classes == ("root",)
    ((name, told),) = found.skipped
    assert name == "voc/a.xml, object 2" and reason in told


CORNERS = (10, 20, 40, 60)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (thing("root", "80,5", 20, 90, "60,5"), "numbers. Received: xmin='80,5' ymax='60,5'"),
        (
            "<object><name>root</name><robndbox><cx>3</cx></robndbox></object>",
            r"numbers. Received: a rotated box \(robndbox\)",
        ),
        (
            "<object><name>root</name><polygon><x1>3</x1></polygon></object>",
            "a polygon without a bndbox",
        ),
        ("<object><name>root</name></object>", "Received: no bndbox"),
        (thing("", *CORNERS), "unknown class; it must not be empty"),
        (thing(" ", *CORNERS), "unknown class; it must not be empty"),
    ],
)
@pytest.mark.parametrize("classes", [None, ["root"]])
def test_where_no_object_can_be_used_the_first_reason_is_the_message(
    tmp_path, bad, reason, classes
):
    put(tmp_path, "images/a.png")
    text(tmp_path / "voc" / "a.xml", annotation("a.png", bad))
    with pytest.raises(DentalzooError, match=rf"voc/a.xml, object 1: .*{reason}"):
        find_boxes(tmp_path, classes=classes)


def test_a_image_without_any_usable_box_is_no_image_of_nothing(tmp_path):
    put(tmp_path, "images/b.png")
    text(tmp_path / "voc" / "b.xml", annotation("b.png"))
    found = one(tmp_path, thing("root", 200, 20, 260, 60))
    assert [s.name for s in found.samples] == ["b"]
    assert ("voc/a.xml", "none of its 1 boxes can be used") in found.skipped


def test_an_object_that_is_there_twice_counts_once(tmp_path):
    found = one(tmp_path, *[thing("root", 10, 20, 40, 60)] * 3, thing("crown", 10, 20, 40, 60))
    assert [b.label for b in found.samples[0].boxes] == ["root", "crown"]
    assert [name for name, _ in found.repaired] == ["voc/a.xml, object 2", "voc/a.xml, object 3"]


def test_difficult_objects_are_marked(tmp_path):
    found = one(tmp_path, thing("root", 10, 20, 40, 60, "<difficult>1</difficult>"))
    assert found.samples[0].boxes[0].difficult


def test_unknown_classes_are_refused_and_spellings_repaired(tmp_path):
    text(tmp_path / "label_map.pbtxt", 'item { id: 1 name: "Impacted Tooth" }')
    things = (thing("impacted tooth", 9, 9, 40, 60), thing("molar", 9, 9, 40, 60))
    found = one(tmp_path, *things)
    assert [b.label for b in found.samples[0].boxes] == ["Impacted Tooth"]
    assert found.repaired == [
        ("voc/a.xml, object 1", "class read as 'Impacted Tooth'. Received: 'impacted tooth'")
    ]
    ((name, reason),) = found.skipped
    assert name == "voc/a.xml, object 2"
    assert reason == "unknown class; it must be one of Impacted Tooth. Received: 'molar'"


# ---- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, (0, 0), ("", ""), ("wide", 90)])
def test_a_missing_size_is_the_images(tmp_path, size):
    found = one(tmp_path, thing("root", 0, 20, 40, 60), size=size)
    assert pixels(found.samples[0].boxes[0]) == (0, 20, 40, 60)
    assert found.repaired == [("voc/a.xml", "no size; the image's is taken")]


def test_boxes_of_a_resized_image_are_scaled(tmp_path):
    found = one(tmp_path, thing("root", 0, 200, 400, 600), size=(1200, 900))
    assert pixels(found.samples[0].boxes[0]) == (0, 20, 40, 60)
    assert "scaled to the image" in found.repaired[0][1]


def test_an_exchanged_size_is_repaired_where_the_boxes_tell(tmp_path):
    found = one(tmp_path, thing("root", 0, 20, 115, 60), size=(HEIGHT, WIDTH))
    assert pixels(found.samples[0].boxes[0]) == (0, 20, 115, 60)
    assert "width and height were exchanged" in found.repaired[0][1]


@pytest.mark.parametrize("size", [(100, 100), (HEIGHT, WIDTH)])
def test_a_size_of_another_shape_is_refused(tmp_path, size):
    with pytest.raises(DentalzooError, match=r"voc/a.xml: must have the size of a.png, 120 x 90"):
        one(tmp_path, thing("root", 0, 20, 40, 60), size=size)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_drawn_on_a_stored_image_are_turned_with_it(tmp_path, orientation):
    """Where the size tells; a mirrored image keeps its size and is taken as upright."""
    put(tmp_path, "images/a.jpg")
    height, width = exif(tmp_path / "images" / "a.jpg", orientation)
    xml = annotation("a.jpg", thing("root", 0, 20, 40, 60), size=(width, height))
    text(tmp_path / "voc" / "a.xml", xml)
    found = find_boxes(tmp_path)
    expected = {
        5: (20, 0, 60, 40),
        6: (WIDTH - 60, 0, WIDTH - 20, 40),
        7: (WIDTH - 60, HEIGHT - 40, WIDTH - 20, HEIGHT),
        8: (20, HEIGHT - 40, 60, HEIGHT),
    }.get(orientation, (0, 20, 40, 60))
    assert pixels(found.samples[0].boxes[0]) == expected
    assert len(found.repaired) == (orientation >= 5)


def test_boxes_drawn_on_the_upright_image_stay(tmp_path):
    put(tmp_path, "images/a.jpg")
    exif(tmp_path / "images" / "a.jpg", 6)
    text(tmp_path / "voc" / "a.xml", annotation("a.jpg", thing("root", 0, 20, 40, 60)))
    assert pixels(find_boxes(tmp_path).samples[0].boxes[0]) == (0, 20, 40, 60)


# ---- XML -----------------------------------------------------------------------------------------

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    "<annotation><filename>&b;</filename></annotation>"
)
FOREIGN = (
    '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    "<annotation><filename>&a;</filename></annotation>"
)


@pytest.mark.parametrize("content", [BOMB, FOREIGN])
def test_declarations_of_entities_are_refused(tmp_path, content):
    put(tmp_path, "images/a.png", "images/b.png")
    text(tmp_path / "voc" / "a.xml", content)
    text(tmp_path / "voc" / "b.xml", annotation("b.png", thing("x", 2, 2, 30, 30)))
    found = find_boxes(tmp_path)
    assert [s.name for s in found.samples] == ["b"]
    assert "a declaration of entities" in dict(found.skipped)["voc/a.xml"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "gb18030"])
def test_texts_in_the_encoding_that_they_tell(tmp_path, encoding):
    path = tmp_path / "a.xml"
    told = encoding.removesuffix("-sig")
    path.write_bytes(f'<?xml version="1.0" encoding="{told}"?><x>é</x>'.encode(encoding))
    root, notes = parse_xml(path)
    assert (root.text, notes) == ("é", [])


def test_a_text_that_is_not_utf_8_and_does_not_say_so(tmp_path):
    put(tmp_path, "images/dévitalisée.png")
    path = tmp_path / "voc" / "dévitalisée.xml"
    path.parent.mkdir()
    path.write_bytes(annotation("dévitalisée", thing("é & è", 2, 2, 9, 9)).encode("cp1252"))
    found = find_boxes(tmp_path)
    assert found.classes == ("é & è",)
    assert [what for _, what in found.repaired] == [
        "the text is not UTF-8; read as Windows-1252",
        "a bare & is read as one",
    ]


@pytest.mark.parametrize("content", [b"", b"<annotation>", b"\x00\x81\xff", b"<a>&nbsp;</a>"])
def test_no_xml_is_named(tmp_path, content):
    path = tmp_path / "a.xml"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=r"must be a VOC annotation in XML\. Received: "):
        parse_xml(path)


def test_names_in_another_unicode_form_find_their_image(tmp_path):
    put(tmp_path, "images/e\u0301te\u0301.png")
    xml = annotation("\u00e9t\u00e9.png", thing("x", 2, 2, 9, 9))
    text(tmp_path / "voc" / "\u00e9t\u00e9.xml", xml)
    assert len(find_boxes(tmp_path)) == 1


def test_annotations_and_images_alone_are_named(tmp_path):
    put(tmp_path, "images/a.png", "images/b.png", "images/c.jpg", "images/c.png")
    for name in ("a", "c", "lost"):
        text(tmp_path / "voc" / f"{name}.xml", annotation(name, thing("x", 2, 2, 9, 9)))
    text(tmp_path / "more" / "a.xml", annotation("a", thing("x", 2, 2, 9, 9)))
    found = find_boxes(tmp_path)
    assert [s.name for s in found.samples] == ["a"]
    assert sorted(found.skipped) == [
        ("images/b.png", "image without boxes"),
        ("voc/a.xml", "image in several annotation files"),
        ("voc/c.xml", "annotation of 2 images of one name"),
        ("voc/lost.xml", "annotation without image"),
    ]


def test_rows_of_lists_without_image_are_named_once(tmp_path):
    vott1(tmp_path)
    for name in ("root_train.txt", "implant_train.txt"):
        with open(tmp_path / "ImageSets" / "Main" / name, "a") as stream:
            stream.write("lost -1\r\n")
    assert find_boxes(tmp_path).skipped == [
        ("ImageSets/Main/implant_train.txt: lost", "row of ImageSets without image")
    ]


def test_how_pixels_are_counted_is_said(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "dentalzoo"):
        one(tmp_path, thing("root", 11, 21, 40, 60))
    assert "voc/: pixels are counted from 1, the last one included" in caplog.messages


# ---- label maps ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("item {\r\n id: 1\r\n name: 'root'\r\n}\r\nitem {\r\n id: 2\r\n name: 'x'\r\n}\r\n", 0),
        ('item { name: "x", id: 2 },\nitem {\n  id: 1\n  name: "root" # of a tooth\n}', 0),
        (
            "item { id: 0 name: 'background' } item { id: 3 name: 'root' } item { id: 9 name: 'x'}",
            0,
        ),
        ('item { id: 1 name: "root" display_name: "} {" } item: { id: 2 name: "x" }', 0),
        ('item { id: 1 name: "d\\303\\251vitalis\\u00e9e" } ', ["dévitalisée"]),
        ("item { id: 1 name: 'dent dévitalisée' }", ["dent dévitalisée"]),
    ],
)
def test_label_maps(tmp_path, content, names):
    path = tmp_path / "map.pbtxt"
    path.write_bytes(content.encode())
    assert read_label_map(path) == (names or ["root", "x"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"item { id: 1 }",
        b"item { name: 'x' }",
        b"item { id: one name: 'x' }",
        b"item { id: -1 name: 'x' }",
        b"item { id: 1 name: '' }",
        b"item { id: 1 name: 'x' } item { id: 1 name: 'y' }",
        b"item { id: 1 name: 'x' } item { id: 2 name: 'x' }",
        b"item { id: 1 name: 'l'os' }",
        b"item { id: 1 name: 'x'",
        b"\xff\xfe",
    ],
)
def test_broken_label_maps_are_refused(tmp_path, content):
    path = tmp_path / "map.pbtxt"
    path.write_bytes(content)
    with pytest.raises(BadFile, match="map.pbtxt: .*Received: "):
        read_label_map(path)


def test_labels_without_a_list_that_differ_in_case_alone_are_one_class(tmp_path):
    names = ("Caries", "caries", " caries", "CARIES")
    found = one(tmp_path, *(thing(n, 10 + i, 20, 30 + i, 40) for i, n in enumerate(names)))
    assert found.classes == ("caries",)
    assert [box.label for box in found.samples[0].boxes] == ["caries"] * 4
    assert sum("class read as 'caries'" in what for _, what in found.repaired) == 2


def test_boxes_of_x_y_width_height_are_refused(tmp_path):
    with pytest.raises(BadFile, match="all of them fit as x, y, width, height. Received: 5 of 6"):
        one(tmp_path, thing("a", 5, 5, 40, 30), *(thing("a", 60 + i, 40, 30, 20) for i in range(5)))


def test_boxes_drawn_backward_are_exchanged(tmp_path):
    things = (thing("a", 90 + i, 70, 40, 30) for i in range(6))  # too large for width and height
    assert pixels(one(tmp_path, *things).samples[0].boxes[0]) == (39, 29, 90, 70)
