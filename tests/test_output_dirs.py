"""Output folders are replaced as a whole or unchanged."""

import json
from pathlib import Path

import pytest

from dentalzoo.errors import DentalzooError
from dentalzoo.output_dirs import make_folder, whole_folder


def fill(out, writer="draw", **texts):
    with whole_folder(out, writer) as folder:
        for name, text in texts.items():
            (folder / name).mkdir()
            (folder / name / "text.txt").write_text(text)


def content(folder):
    files = (path for path in folder.rglob("[!.]*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_the_same_writer_replaces_what_it_wrote(tmp_path):
    out = tmp_path / "deep" / "out"
    fill(out, one="1", two="2")
    assert content(out) == {"one/text.txt": "1", "two/text.txt": "2"}
    fill(out, two="2b", three="3")
    assert content(out) == {"two/text.txt": "2b", "three/text.txt": "3"}
    assert sorted(path.name for path in out.iterdir()) == [".dentalzoo.json", "three", "two"]


def test_another_writer_and_other_files_are_refused(tmp_path):
    fill(tmp_path, one="1")
    with pytest.raises(DentalzooError, match="something else: one/text.txt"):
        fill(tmp_path, "overlay", one="2")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DentalzooError, match="something else: mine.txt"):
        fill(tmp_path, one="2")
    assert content(tmp_path) == {"one/text.txt": "1", "mine.txt": "mine"}


def test_an_address_of_an_object_store_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for make in (lambda out: make_folder(out, []), fill):
        with pytest.raises(DentalzooError, match="must be on a disk or a mounted bucket"):
            make(Path("gs://bucket/out"))
    assert not list(tmp_path.iterdir())


def test_a_file_that_was_deleted_by_hand_is_no_error(tmp_path):
    fill(tmp_path, one="1", two="2")
    (tmp_path / "one" / "text.txt").unlink()
    fill(tmp_path, three="3")
    assert content(tmp_path) == {"three/text.txt": "3"}


def test_after_an_error_the_folder_is_unchanged(tmp_path):
    def fail(out):
        with whole_folder(out, "draw") as folder:
            (folder / "half.txt").write_text("half")
            raise DentalzooError("no. Received: half")

    fill(tmp_path / "old", one="1")
    for out in (tmp_path / "old", tmp_path / "new" / "deep"):
        with pytest.raises(DentalzooError, match="Received: half"):
            fail(out)
    assert content(tmp_path) == {"old/one/text.txt": "1"}
    assert not (tmp_path / "new").exists()


def test_what_a_kill_leaves_is_replaced(tmp_path):
    fill(tmp_path, one="1")
    about = json.loads((tmp_path / ".dentalzoo.json").read_text())
    about["files"] += ["two/text.txt", "three/text.txt"]  # of the run that was killed at its end
    (tmp_path / ".dentalzoo.json").write_text(json.dumps(about))
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "text.txt").write_text("2")
    (tmp_path / ".77.tmp" / "three").mkdir(parents=True)
    fill(tmp_path, four="4")
    assert content(tmp_path) == {"four/text.txt": "4"}
    assert not (tmp_path / ".77.tmp").exists()


def test_an_unusable_folder_is_reported_in_one_line(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(DentalzooError, match="something else: .*file"):
        fill(tmp_path / "file", one="1")
    with pytest.raises(DentalzooError, match="cannot be created. Received: Not a directory"):
        fill(tmp_path / "file" / "out", one="1")
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for name in ("metadata.json", "SHA256SUMS"):
        (bundle / name).write_text("{}")
    with pytest.raises(DentalzooError, match="must be outside of bundles"):
        fill(bundle / "more", one="1")
