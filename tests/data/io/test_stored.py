"""Images in tar files and in object stores, read where they lie."""

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from dentalzoo.data.io import stored
from dentalzoo.data.io.decode import is_dicom
from dentalzoo.data.io.images import encode_png, read_image
from dentalzoo.data.io.listing import list_images
from dentalzoo.data.io.stored import StoredImage
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.tasks.base import named_images


def png(level):
    return encode_png(np.arange(level, level + 60, dtype=np.uint8).reshape(6, 10))


def tar_of(path, members, mode="w"):
    """A tar file of name -> content, or a TarInfo -> content."""
    path.parent.mkdir(exist_ok=True, parents=True)
    with tarfile.open(path, mode) as tar:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


SAMPLES = [
    ("b.left.png", png(1)),
    ("b.json", b"{}"),
    ("b.right.png", png(2)),
    ("a/x.png", png(3)),
    ("./a/y.PNG", png(4)),
    (".hidden.png", png(5)),
    ("a/._y.png", b"of a Mac"),
]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_images_of_a_tar_are_read_in_its_order(tmp_path, kind, caplog):
    long = "/".join(["n" * 60] * 3) + ".png" if kind != tarfile.USTAR_FORMAT else "n.png"
    path = tmp_path / "shard.tar"
    with tarfile.open(path, "w", format=kind) as tar:
        for name, content in [*SAMPLES, (long, png(6))]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    images = list_images(path)
    names = [image.relative_to(path).as_posix() for image in images]
    assert names == ["b.left.png", "b.right.png", "a/x.png", "a/y.PNG", long]
    for image, level in zip(images, (1, 2, 3, 4, 6), strict=True):
        assert read_image(image)[0, 0, 0] == level and image.read_bytes() == png(level)
    assert "not used: 1 x .json" in caplog.text
    assert os.listdir(tmp_path) == ["shard.tar"]


def test_samples_of_one_key_stay_separate_in_results(tmp_path):
    tars = [tar_of(tmp_path / f"0{i}.tar", SAMPLES) for i in range(2)]
    names = named_images(tars, tmp_path / "out")
    assert len(set(names.values())) == 8
    assert list(named_images(tars[0], tmp_path / "out").values()) == ["b.left", "b.right", "x", "y"]
    assert [p.name for p in list_images(tmp_path)] == [p.name for p in list_images(tars)]


def test_a_stored_image_can_be_sent_to_another_process(tmp_path):
    image = list_images(tar_of(tmp_path / "a.tar", SAMPLES))[2]
    again = pickle.loads(pickle.dumps(image))
    assert (again, again.location, type(again)) == (image, image.location, StoredImage)
    assert read_image(again)[0, 0, 0] == 3
    assert image.parent.location is None and not image.parent.is_file()
    assert image.stat() == (tmp_path / "a.tar").stat() and image.size == len(png(3))
    with image.open("rb") as stream:
        stream.seek(-4, os.SEEK_END)
        assert stream.read(100) == png(3)[-4:] and stream.tell() == len(png(3))
        stream.seek(3)
        assert stream.read(2) == png(3)[3:5]


def test_dicom_in_a_tar(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file

    path = Path(get_testdata_file("CT_small.dcm"))
    dataset = pydicom.dcmread(path)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.save_as(tmp_path / "IM0001")
    (image,) = list_images(
        tar_of(tmp_path / "a.tar", [("x/IM0001", (tmp_path / "IM0001").read_bytes())])
    )
    np.testing.assert_array_equal(read_image(image), read_image(tmp_path / "IM0001"))
    assert is_dicom(image)


def test_hostile_members_are_left_out(tmp_path, caplog):
    members = [
        ("good.png", png(1)),
        (special("link.png", tarfile.SYMTYPE, "/etc/passwd"), b""),
        (special("hard.png", tarfile.LNKTYPE, "good.png"), b""),
        (special("pipe.png", tarfile.FIFOTYPE), b""),
        ("/etc/absolute.png", png(1)),
        ("../../above.png", png(1)),
    ]
    (image,) = list_images(tar_of(tmp_path / "a.tar", members))
    assert image.name == "good.png"
    assert "1 x device or sparse file, 2 x link, 2 x path out of the archive" in caplog.text


def test_a_member_of_any_size_is_refused_when_it_is_read(tmp_path, monkeypatch):
    (image,) = list_images(tar_of(tmp_path / "a.tar", [("a.png", png(1))]))
    monkeypatch.setattr(stored, "MAX_BYTES", 20)
    with pytest.raises(BadFile, match="a.png: must have at most 20 bytes"):
        read_image(image)


def test_a_name_of_any_length_is_refused(tmp_path):
    info = special("x", tarfile.GNUTYPE_LONGNAME)
    info.size = 1 << 40
    with open(tmp_path / "a.tar", "wb") as stream:  # a sparse file
        stream.write(info.tobuf(tarfile.GNU_FORMAT))
        stream.truncate(1 << 41)
    with pytest.raises(BadFile, match="must be a whole tar file.*a header of 1,099,511,627,776"):
        list_images(tmp_path / "a.tar")


def damaged(tmp_path):
    whole = tar_of(tmp_path / "w.tar", SAMPLES).read_bytes()
    yield "without compression", tar_of(tmp_path / "z.tar", SAMPLES, "w:gz").read_bytes()
    yield "without compression", b"no tar file" * 100
    yield "cut off in b.left.png", whole[:520]
    yield "must be a whole tar file", whole[: 512 * 3 + 100]
    yield "'a.png' twice", tar_of(tmp_path / "t.tar", [("a.png", png(1))] * 2).read_bytes()
    yield (
        "must hold images.*Received: 1 x .json",
        tar_of(tmp_path / "n.tar", [("a.json", b"")]).read_bytes(),
    )


def test_damaged_tar_files_are_refused_in_one_line(tmp_path):
    for reason, content in damaged(tmp_path):
        (tmp_path / "bad.tar").write_bytes(content)
        with pytest.raises(DentalzooError, match=reason) as error:
            list_images(tmp_path / "bad.tar")
        assert "\n" not in str(error.value) and "bad.tar" in str(error.value)


# ---- object stores -------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    """Return a function that puts objects into a store in memory."""
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")

    def put(objects):
        for name, content in objects.items():
            system.pipe_file(f"/bucket/{name}", content)

    yield put
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_objects_are_read_in_natural_order(store, tmp_path, caplog):
    store({"in/x10.png": png(1), "in/x2.png": png(2), "in/notes.txt": b"", "in/deep/z.png": png(3)})
    images = list_images("memory://bucket/in")
    assert [image.name for image in images] == ["x2.png", "x10.png"]
    assert [read_image(image)[0, 0, 0] for image in images] == [2, 1]
    assert "not used: 1 x .txt" in caplog.text
    assert list(named_images(["memory://bucket/in"], tmp_path / "out").values()) == ["x2", "x10"]
    (one,) = list_images("memory://bucket/in/x2.png")
    assert (
        read_image(one)[0, 0, 0] == 2 and pickle.loads(pickle.dumps(one)).location == one.location
    )


def test_tar_files_in_a_store(store, tmp_path):
    content = tar_of(tmp_path / "a.tar", SAMPLES).read_bytes()
    store({"shards/00.tar": content, "shards/01.tar": content})
    for address, count in (("memory://bucket/shards/00.tar", 4), ("memory://bucket/shards", 8)):
        images = list_images(address)
        assert [read_image(image)[0, 0, 0] for image in images] == [1, 2, 3, 4] * (count // 4)


def test_a_folder_by_its_address(tmp_path):
    pytest.importorskip("fsspec")
    tar_of(tmp_path / "in" / "a.tar", SAMPLES)
    (tmp_path / "in" / "x.png").write_bytes(png(9))
    (image,) = list_images((tmp_path / "in").as_uri())
    assert read_image(image)[0, 0, 0] == 9
    assert len(list_images((tmp_path / "in" / "a.tar").as_uri())) == 4


def test_what_is_not_there_is_one_line(store, tmp_path):
    store({"in/x.png": png(1), "empty/notes.txt": b""})
    lines = {
        "memory://bucket/none": "must be readable in their store.*none: FileNotFoundError",
        "memory://bucket/empty": "must hold images.*Received: 1 x .txt",
        "nothing://bucket/x": "must be in a store that fsspec can open. Received: ValueError",
    }
    for address, line in lines.items():
        with pytest.raises(DentalzooError, match=line) as error:
            list_images(address)
        assert "\n" not in str(error.value)
    (image,) = list_images("memory://bucket/in/x.png")
    image.location = ("memory://bucket/gone.png", 0, 100)
    with pytest.raises(BadFile, match="must be readable in its store. Received: FileNotFoundError"):
        read_image(image)


def test_the_package_of_a_store_is_named(monkeypatch):
    core = pytest.importorskip("fsspec.core")

    def without(address):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(core, "url_to_fs", without)
    for protocol, package in (("s3", "s3fs"), ("gs", "gcsfs")):
        with pytest.raises(DentalzooError, match=f"pip install {package}. Received: Install"):
            list_images(f"{protocol}://bucket/in")
