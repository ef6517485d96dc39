"""Splits and groups: which row names which file, and what is said of the rest."""

import logging
import os

import numpy as np
import pytest
from PIL import Image

from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.formats import base
from dentalzoo.data.formats.splits import read_splits
from dentalzoo.data.formats.tables import RowIndex, read_table
from dentalzoo.data.images import find_images
from dentalzoo.data.masks import find_masks
from dentalzoo.errors import BadFile, DentalzooError


@pytest.fixture(autouse=True)
def _notices_anew():
    base.notice_once.cache_clear()


def pairs(root, *names, split=""):
    """Writes images, masks and YOLO labels."""
    for name in names:
        for folder, suffix in (("images", "png"), ("masks", "png"), ("labels", "txt")):
            path = root / split / folder / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if suffix == "txt":
                path.write_text("0 0.5 0.5 0.5 0.5\n")
                continue
            array = np.zeros((8, 8), np.uint8)
            array[2:5, 2:5] = 255
            Image.fromarray(array).save(path)


def splits(dataset):
    return {sample.name: sample.split for sample in dataset.samples}


FIND = pytest.mark.parametrize("find", [find_masks, find_images, find_boxes])


@FIND
@pytest.mark.parametrize(
    "content",
    [
        b"id,split\n001,train\n002,val\n",
        b"\xef\xbb\xbfID;Split\r\n001.png;Train\r\n002.PNG;VALID\r\n",
        "id\tsplit\r\n001\ttrain\r\n002\tval\r\n".encode("utf-16"),
        b"sep=;\r\nfile;split\r\n001;train\r\n002;val\r\n",
        b'Image, Split, Age\n images\\001.png , train , "4,5"\n images/002.png, val, 5\n',
        b"path,split\n/home/me/opg/001.png,train\nC:\\opg\\002.jpg,val\n",
        b"id,split\n1,train\n2,val\n2,val\n",
        b"id,split\n1.0,train\n2.0,val\n",
        b'id,split\n="001",train\n="002",val\n',
        b"id;split\n1,0;train\n2,0;val\n",
        "id,split,name\n001,train,Müller\n002,val,Weiß\n".encode("cp1252"),
    ],
)
@pytest.mark.parametrize("name", ["split.csv", "Split.CSV"])
def test_a_table_of_splits_is_read_as_spreadsheets_write_it(tmp_path, find, content, name):
    pairs(tmp_path, "001", "002")
    (tmp_path / name).write_bytes(content)
    dataset = find(tmp_path)
    assert splits(dataset) == {"001": "train", "002": "val"} and list(dataset.skipped) == []


def test_stripped_zeros_are_said_and_count_only_where_they_are_unique(tmp_path, caplog):
    files = [tmp_path / n for n in ("007.png", "7a.png", "012.png", "12.png", "0012.png")]
    index = RowIndex(tmp_path / "split.csv", ["7", "00012"], tmp_path, files)
    assert index[files[0]] == "7" and index.unnamed == ["00012"]
    assert "split.csv: ids with other leading zeros: 1, such as '7': 007.png" in caplog.text


def test_a_path_decides_between_files_of_one_name(tmp_path):
    files = [tmp_path / "a" / "1.png", tmp_path / "b" / "1.png"]
    index = RowIndex(tmp_path / "split.csv", ["b/1.png", "a\\1"], tmp_path, files)
    assert [index[file] for file in files] == ["a\\1", "b/1.png"] and not index.unnamed


def test_a_table_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "split.csv").write_bytes(b"PK\x03\x04\0\0\xff\xfe")
    with pytest.raises(BadFile, match="must be a table in UTF-8"):
        read_splits(tmp_path / "split.csv")


def test_lines_of_quoted_cells_are_counted_as_the_file_has_them(tmp_path):
    (tmp_path / "t.csv").write_text('id,note,split\na,"two\nlines",train\nb,,some\n')
    assert read_table(tmp_path / "t.csv").header == ["id", "note", "split"]
    with pytest.raises(BadFile, match="line 4: split must be one of"):
        read_splits(tmp_path / "t.csv")


# ---- groups --------------------------------------------------------------------------------------


@FIND
@pytest.mark.parametrize("table", ["index.csv", "Index.CSV"])
@pytest.mark.parametrize("column", ["patient", "Patient ID", "group", "subject_id"])
def test_patients_in_two_splits_are_refused_whatever_is_annotated(tmp_path, find, table, column):
    pairs(tmp_path, "f1", "f2", split="train")
    pairs(tmp_path, "f3", split="val")
    (tmp_path / table).write_text(f"id,{column}\nf1,p1\nf2,p2\nf3,p1\n")
    with pytest.raises(DentalzooError, match="a group must lie in one split.*p1"):
        find(tmp_path)
    (tmp_path / table).write_text(f"id,{column}\nF1.PNG,p1\nf2,p1\nval/images/f3.png,p2\n")
    groups = {sample.name: sample.group.rpartition(" ")[2] for sample in find(tmp_path).samples}
    assert groups == {"f1": "p1", "f2": "p1", "f3": "p2"}


@FIND
def test_a_table_of_groups_that_names_no_image_is_refused(tmp_path, find):
    pairs(tmp_path, "f1", "f2")
    (tmp_path / "index.csv").write_text("id,patient\nscan-1,p1\nscan-2,p1\n")
    with pytest.raises(BadFile, match="index.csv: an id must be the name of an image.*'scan-1'"):
        find(tmp_path)


def test_rows_and_images_that_miss_each_other_are_said(tmp_path, caplog):
    pairs(tmp_path, "f1", "f2")
    (tmp_path / "index.csv").write_text("id,patient\nf1,p1\nf9,p1\n")
    find_masks(tmp_path)
    assert "index.csv: 1 of 2 ids name no image, such as 'f9'" in caplog.text
    assert "index.csv: no group for 1 images, such as images/f2.png" in caplog.text
    find_masks(tmp_path, "train")
    assert caplog.text.count("ids name no image") == caplog.text.count("no group for") == 1


def test_a_table_without_the_columns_of_groups_is_said(tmp_path, caplog):
    pairs(tmp_path, "f1", "f2")
    (tmp_path / "index.csv").write_text("id,age\nf1,44\nf2,45\n")
    find_masks(tmp_path)
    assert "index.csv is not used, without the columns id and" in caplog.text


# ---- data without a split ------------------------------------------------------------------------


@FIND
def test_data_without_a_split_is_held_out_by_group_and_it_is_said_once(tmp_path, find, caplog):
    caplog.set_level(logging.INFO, "dentalzoo")
    pairs(tmp_path, *(f"{n:02d}" for n in range(20)))
    rows = [f"{n:02d},p{n // 2}" for n in range(20)]
    (tmp_path / "index.csv").write_text("\n".join(["id,patient", *rows]))
    parts = {split: find(tmp_path, split).samples for split in ("train", "val")}
    assert [len(part) for part in parts.values()] == [18, 2]
    assert not {s.group for s in parts["train"]} & {s.group for s in parts["val"]}
    said = [line for line in caplog.messages if "no split in the data" in line]
    assert len(said) == 1 and "2 of 20 images (1 of 10 groups) are held out" in said[0]


@FIND
def test_names_of_files_that_all_name_splits_are_splits(tmp_path, find, caplog):
    caplog.set_level(logging.INFO, "dentalzoo")
    pairs(tmp_path, "train_1", "train-2", "val3", "test_4")
    assert [s.split for s in find(tmp_path).samples] == ["test", "train", "train", "val"]
    assert "splits are read from the files' names" in caplog.text


def test_files_that_are_named_after_the_test_split_are_said(tmp_path, caplog):
    pairs(tmp_path, "test_1", "tested_2", "other", "attest")
    find_masks(tmp_path)
    assert "1 images are named after the test split" in caplog.text


@FIND
def test_names_in_windows_1252_match_a_table_in_it(tmp_path, find):
    pairs(tmp_path, "one", "two")
    for folder in ("images", "masks", "labels"):
        for old, new in (("one", b"M\xfcller"), ("two", "Weiß".encode())):
            (path,) = (tmp_path / folder).glob(f"{old}.*")
            path.rename(path.with_name(os.fsdecode(new) + path.suffix))
    (tmp_path / "split.csv").write_bytes("id,split\nMüller,train\nWeiß.png,val\n".encode("cp1252"))
    assert [s.split for s in find(tmp_path).samples] == ["train", "val"]


@FIND
def test_beside_a_test_split_the_rest_is_held_out(tmp_path, find):
    pairs(tmp_path, *(f"{number:02d}" for number in range(20)))
    pairs(tmp_path, "a", "b", split="test")
    assert [len(find(tmp_path, split)) for split in ("train", "val", "test")] == [18, 2, 2]


def test_a_table_of_splits_that_names_no_image_is_refused(tmp_path):
    pairs(tmp_path, "one", "two")
    (tmp_path / "split.csv").write_text("id,split\nx,train\n")
    for find in (find_masks, find_images, find_boxes):
        with pytest.raises(DentalzooError):
            find(tmp_path)


@FIND
@pytest.mark.parametrize(("one", "other"), [("7", "007"), ("7", "7.0"), ("P1", "p1 ")])
def test_patients_whose_ids_a_spreadsheet_changed_are_one(tmp_path, find, one, other, caplog):
    pairs(tmp_path, "a", "b", "c", "d")
    (tmp_path / "index.csv").write_text(f"id,patient\na,{one}\nb,{other}\nc,8\nd,9\n")
    groups = {sample.name: sample.group for sample in find(tmp_path).samples}
    assert groups["a"] == groups["b"] != groups["c"]
    assert "groups of two spellings are one" in caplog.text
    (tmp_path / "split.csv").write_text("id,split\na,train\nb,val\nc,train\nd,val\n")
    with pytest.raises(DentalzooError, match="a group must lie in one split"):
        find(tmp_path)


def test_words_for_no_patient_are_no_group(tmp_path, caplog):
    pairs(tmp_path, "a", "b", "c")
    (tmp_path / "index.csv").write_text("id,patient\na,NA\nb,unknown\nc,NA\n")
    assert len({sample.group for sample in find_masks(tmp_path).samples}) == 3
    assert "no group for 3 images" in caplog.text


def test_files_of_one_name_are_said(tmp_path, caplog):
    pairs(tmp_path, "a")
    (tmp_path / "images" / "a.png").rename(tmp_path / "a.png")
    Image.new("L", (8, 8)).save(tmp_path / "a.jpg")
    find_images(tmp_path)
    assert "1 names belong to several files that are all used, such as a.jpg and a.png" in (
        caplog.text
    )


@FIND
def test_copies_of_a_roboflow_source_in_two_splits_are_said(tmp_path, find, caplog):
    pairs(tmp_path, "x_jpg.rf.a1", "y_jpg.rf.c3", "y_jpg.rf.d4", split="train")
    pairs(tmp_path, "x_jpg.rf.b2", split="valid")
    find(tmp_path)
    assert "1 Roboflow sources have copies in several splits, such as x_jpg" in caplog.text


@pytest.mark.parametrize("copy", ["a_aug1", "a-hflip", "a_rot90", "a_Augmented_02", "a - Copy"])
def test_augmented_copies_are_of_the_group_of_their_image(tmp_path, copy):
    pairs(tmp_path, "a", copy, "b", "b2", "c_flip")
    groups = {sample.name: sample.group for sample in find_masks(tmp_path).samples}
    assert groups["a"] == groups[copy] and len(set(groups.values())) == 4
    (tmp_path / "index.csv").write_text("id,patient\na,7\nb,7\n")
    groups = {sample.name: sample.group for sample in find_masks(tmp_path).samples}
    assert groups["a"] == groups[copy] == groups["b"] == "index.csv: 7"


@FIND
def test_copies_of_folds_in_several_splits_are_said(tmp_path, find, caplog):
    pairs(tmp_path, "a", "b", split="fold_0/train")
    pairs(tmp_path, "c", split="fold_0/val")
    pairs(tmp_path, "a", "c", split="fold_1/train")
    pairs(tmp_path, "b", split="fold_1/val")
    find(tmp_path)
    said = [line for line in caplog.messages if "as copies" in line]
    assert len(said) == 1 and "2 files lie in several splits as copies" in said[0]
    assert "choose one of several folds" in said[0]


@FIND
def test_other_images_of_one_name_are_no_copies(tmp_path, find, caplog):
    pairs(tmp_path, "a", split="train")
    pairs(tmp_path, "a", split="val")
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / "val" / "images" / "a.png")
    find(tmp_path)
    assert "as copies" not in caplog.text


@FIND
@pytest.mark.parametrize("twice", ["a.png", "./a", "images/a.png", "images\\a"])
def test_rows_that_name_one_image_must_agree(tmp_path, find, twice):
    pairs(tmp_path, "a", "b", "c")
    rows = "id,{}\na,{}\n{},{}\nb,{}\nc,{}\n"
    (tmp_path / "split.csv").write_text(rows.format("split", "train", twice, "val", "val", "test"))
    with pytest.raises(BadFile, match="an image must be in one split. Received: .*are one image"):
        find(tmp_path)
    (tmp_path / "split.csv").write_text(
        rows.format("split", "train", twice, "train", "val", "test")
    )
    found = find(tmp_path)
    assert splits(found) == {"a": "train", "b": "val", "c": "test"} and not found.skipped
    (tmp_path / "index.csv").write_text(rows.format("patient", 1, twice, 2, 3, 4))
    with pytest.raises(BadFile, match="an image must be in one group"):
        find(tmp_path)


def test_a_row_that_names_another_file_too_may_differ(tmp_path):
    pairs(tmp_path, "a", split="left")
    pairs(tmp_path, "a", split="right")
    (tmp_path / "split.csv").write_text("id,split\na,train\nright/images/a,val\n")
    assert {*splits(find_images(tmp_path)).values()} == {"train", "val"}
