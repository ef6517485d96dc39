"""Which files are images: of a folder of inputs, a CD or study of DICOM files, an archive, a store.

A suffix that images have is believed, one of other files too. Every other file, such as
`IM000001`, `1.2.840.113.5` or `film.ima`, is opened for its first bytes, and is an image if they
are those of one. DICOM files hold more than images: the SOP class in the first bytes says what.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from dentalzoo.data.io.decode import is_image_head
from dentalzoo.data.io.images import IMAGE_SUFFIXES, natural_key
from dentalzoo.data.io.signatures import is_dicom_head, is_media_directory, sop_class
from dentalzoo.data.io.stored import is_address, list_store, members_of_tar
from dentalzoo.errors import DentalzooError

_log = logging.getLogger("dentalzoo")

DICOM_SUFFIXES = frozenset((".dcm", ".dicom"))
# Never opened: texts, tables, documents, archives, models, meshes, programs, copies.
_OTHERS = (
    ".txt .json .jsonl .xml .csv .tsv .yaml .yml .toml .md .rst .htm .html .css .js .ini .inf .cfg "
    ".log .lst .names .data .pbtxt .vott .ndjson .doc .docx .xls .xlsx .ods .odt .ppt .pptx .pdf "
    ".rtf .zip .gz .bz2 .xz .7z .rar .tar .tgz .npy .npz .h5 .hdf5 .mat .keras .pb .tflite .onnx "
    ".pt .pth .pkl .pickle .parquet .tfrecord .tfrecords .record .records .obj .ply .stl .mtl .nii "
    ".nrrd .mha .mhd .py .pyc .ipynb .sh .bat .exe .dll .so .jar .msi .cab .sys .db .sqlite .lnk "
    ".url .cache .bak .old .orig .tmp .temp .part .swp .crdownload .svg .ico .mp4 .avi .mov .mp3 "
    ".wav .ttf .sha256 .md5"
)
OTHER_SUFFIXES = frozenset(_OTHERS.split())
_HEAD_BYTES = 1024
_MAX_FILES = 20_000  # of a CD or study, ours: more are an archive of many patients
_MAX_KINDS = 12  # named in one line
_MAX_DEPTH = 8  # PS3.10 8.5 allows 8 components of a name on a medium

# SOP classes of PS3.4 B.5 whose files are no radiographs, by the beginning of their UID below
# 1.2.840.10008.5.1.4.1.1; the longest one that fits counts.
_ROOT = "1.2.840.10008.5.1.4.1.1."
_OTHER_OBJECTS = {
    "2": "CT slice",
    "4": "MR slice",
    "3": "ultrasound image",
    "6": "ultrasound image",
    "20": "nuclear medicine image",
    "9": "waveform",
    "11": "presentation state",
    "13.1.1": "3D X-ray volume",
    "13.1.2": "3D X-ray volume",
    "13.1.3": "3D X-ray volume",
    "30": "parametric map",
    "66": "raw data, registration or segmentation",
    "66.4": "segmentation",
    "67": "real world value mapping",
    "68": "surface scan",
    "79": "procedure log",
    "88": "structured report",
    "88.59": "key object selection",
    "104": "encapsulated document",
    "104.1": "encapsulated PDF",
    "128": "PET slice",
    "130": "PET slice",
    "481": "radiotherapy object",
}
_DIRECTORY = "DICOMDIR"
_OBJECTS = frozenset((*_OTHER_OBJECTS.values(), _DIRECTORY))


def list_images(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """List images: files as given, folders one level deep in natural order (x2 before x10).

    Also the images in tar files, such as shards of a WebDataset, in their order; a folder may hold
    tar files instead of images. An address such as s3://bucket/folder is an object, a tar file or a
    folder of an object store. See `dentalzoo.data.io.stored`.

    Of a folder, the files that are not hidden and that `what_else` calls images are listed. A
    folder with a DICOMDIR, or without images but with DICOM files below it, is a CD or a study:
    the DICOM images of all its folders are listed, 8 deep. What is left out of a folder is
    logged in one line, counted by suffix or kind.

    Raises:
        DentalzooError: a folder or tar file holds no image; a CD has more than 20,000 files; or a
            tar file or a store cannot be read.
    """
    files: list[Path] = []
    for given in [paths] if isinstance(paths, str | Path) else paths:
        path = Path(given)
        if is_address(given):
            files += _of_store(str(given))
        elif path.is_dir():
            files += _of_folder(path)
        else:
            files += _of_tar(path) if _is_tar(path) and path.is_file() else [path]
    return files


def _is_tar(path: Path) -> bool:
    return path.suffix.lower() == ".tar"


def _of_tar(path: Path | str) -> list[Path]:
    """Return the images in a tar file, given as a path or as an address."""
    others: Counter[str] = Counter()
    images: list[Path] = []
    for member in members_of_tar(path, others):
        if kind := what_else(member):
            others[kind] += 1
        else:
            images.append(member)
    return _used(path, images, others)


def _of_store(address: str) -> list[Path]:
    """Return the object at an address, its images where it is a tar file, those of a folder."""
    found, is_folder = list_store(address)
    if not is_folder:
        return _of_tar(address) if _is_tar(found[0]) else [*found]
    kinds = [what_else(path) for path in found]
    others = Counter(kind for kind in kinds if kind)
    images: list[Path] = [path for path, kind in zip(found, kinds, strict=True) if not kind]
    if not images:
        for path in sorted(filter(_is_tar, found), key=natural_key):
            images += _of_tar(str(path.location[0])) if path.location else []
        return images or _used(address, images, others)
    return _used(address, sorted(images, key=natural_key), others)


def _used(where: Path | str, images: list[Path], others: Counter[str]) -> list[Path]:
    """Return images; log what is left out beside them, and refuse a place without any."""
    if not images:
        raise DentalzooError(
            f"{where}: must hold images: DICOM, or files ending in "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}. Received: {counted(others) or 'none'}"
        )
    if others:
        _log.warning("%s: not used: %s", where, counted(others))
    return images


def _of_folder(folder: Path) -> list[Path]:
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    others: Counter[str] = Counter()
    images, below = [], []
    for entry in entries:
        if kind := what_else(entry):
            others[kind] += 1
            if kind == "folder":
                below.append(entry)
        else:
            images.append(entry)
    if below and (not images or any(is_directory_file(entry) for entry in entries)):
        more, left_out = _of_medium(folder, below)
        if more:
            del others["folder"]
            images, others = images + more, others + left_out
    tars = [entry for entry in entries if _is_tar(entry) and entry.is_file()]
    if not images and tars:
        return [image for tar in sorted(tars, key=natural_key) for image in _of_tar(tar)]
    if not images:
        received = f"{len(entries)} entries ({counted(others) or 'none'})"
        if any(entry.name == "images" for entry in below):
            received += f"; its folder {folder / 'images'} may be meant"
        raise DentalzooError(
            f"{folder}: the folder must hold images: DICOM, or files ending in "
            f"{', '.join(sorted(IMAGE_SUFFIXES))}. Received: {received}"
        )
    if others:
        _log.warning("%s: not used: %s", folder, counted(others))
    return sorted(images, key=natural_key)


def counted(others: Counter[str]) -> str:
    """Return kinds of files with their numbers, "" for none: 2 x .txt, 1 x structured report."""
    grouped: Counter[str] = Counter()
    for kind, count in others.items():
        grouped["number as suffix" if kind[1:].isdigit() else kind] += count
    kinds = grouped.most_common(_MAX_KINDS)
    rest = grouped.total() - sum(count for _, count in kinds)
    listed = [f"{count} x {kind}" for kind, count in sorted(kinds) if count]
    return ", ".join([*listed, f"{rest} others"] if rest else listed)


def _of_medium(folder: Path, below: Iterable[Path]) -> tuple[list[Path], Counter[str]]:
    """Return the DICOM images in folders of a medium, and the number of other files by kind."""
    images: list[Path] = []
    others: Counter[str] = Counter()
    for number, path in enumerate(_walk(below)):
        if number == _MAX_FILES:
            if not images:  # some other large folder
                break
            raise DentalzooError(
                f"{folder}: a folder of DICOM files must hold at most {_MAX_FILES:,} files; give "
                "its folders one by one. Received: more"
            )
        if kind := what_else(path):
            others[kind] += 1
        elif path.suffix.lower() in IMAGE_SUFFIXES - DICOM_SUFFIXES:
            others[path.suffix.lower()] += 1  # icons of the viewer on the CD, previews
        elif is_dicom_head(_head(path)):
            images.append(path)
        else:
            others[path.suffix.lower() or "no suffix"] += 1
    return images, others


def _walk(folders: Iterable[Path]) -> Iterator[Path]:
    """Yield the files in `folders`, and folders that are not entered: links, and too deep ones."""
    for top in folders:
        for path, names, files in os.walk(top, onerror=_report):
            shown = [Path(path, name) for name in sorted(names) if not name.startswith(".")]
            is_deep = len(Path(path).relative_to(top).parts) >= _MAX_DEPTH - 1
            closed = {entry for entry in shown if is_deep or entry.is_symlink()}
            names[:] = [entry.name for entry in shown if entry not in closed]
            yield from sorted(closed)
            yield from (Path(path, name) for name in sorted(files) if not name.startswith("."))


def _report(error: OSError) -> None:
    _log.warning("%s: not used: %s", error.filename, error.strerror)


# ---- one file ------------------------------------------------------------------------------------


def what_else(path: Path) -> str:
    """Return what an entry of a folder is if it is no image, "" for an image.

    A file with a suffix of `IMAGE_SUFFIXES` is one, whatever it holds, except DICOM files of
    other objects, such as structured reports. Of `OTHER_SUFFIXES` no file is one. Only DICOM files
    and files of neither are opened.

    Returns:
        "", "folder", a kind of DICOM object, or the suffix, in lower case, or "no suffix".
    """
    suffix = path.suffix.lower()
    if suffix in DICOM_SUFFIXES:
        head = _head(path)
        return _DIRECTORY if is_media_directory(head) else other_object(head)
    if suffix in IMAGE_SUFFIXES:
        return ""
    if path.is_dir():
        return "folder"
    if is_directory_file(path):
        return _DIRECTORY
    name = suffix or "no suffix"
    if suffix in OTHER_SUFFIXES or path.name.endswith("~"):
        return name
    head = _head(path)
    if is_media_directory(head):
        return _DIRECTORY
    if is_dicom_head(head):
        return other_object(head)
    return "" if is_image_head(head) else name


def report_objects(root: Path, others: Iterable[Path]) -> None:
    """Log the kinds of DICOM files among `others`, files of `root` that are no images."""
    unknown = (path for path in others if path.suffix.lower() not in OTHER_SUFFIXES)
    kinds = Counter(kind for path in unknown if (kind := what_else(path)) in _OBJECTS)
    if kinds:
        _log.warning("%s: DICOM files without a radiograph, not used: %s", root, counted(kinds))


def is_directory_file(path: Path) -> bool:
    """Return whether a file is named as the list of files of a DICOM medium."""
    return path.stem.upper() == _DIRECTORY


def other_object(head: bytes) -> str:
    """Return what a DICOM file holds instead of a radiograph, "" for an image or where unknown.

    Args:
        head: its first 1024 bytes.
    """
    uid = sop_class(head)
    if not uid.startswith(_ROOT):
        return ""
    parts = uid.removeprefix(_ROOT).split(".")
    for end in range(len(parts), 0, -1):
        if kind := _OTHER_OBJECTS.get(".".join(parts[:end])):
            return kind
    return ""


def _head(path: Path) -> bytes:
    """Return the first bytes of a file, none of what is no file or cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb", buffering=0) as stream:
            return stream.read(_HEAD_BYTES) or b""
    except (OSError, DentalzooError):  # reported when the image is opened
        return b""
