"""Personal data in file names: recognised, and replaced by hashed names with a key.

Names of radiographs often hold a patient's name or date of birth, and results, figures and
projects are passed on with them.
"""

import csv
import hashlib
import io
import logging
import re
import secrets
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from dentalzoo.atomic import write_atomically
from dentalzoo.errors import BadFile

_log = logging.getLogger("dentalzoo")

_LENGTH = 12  # ours, hexadecimal digits: one clash among a million names in 560 data sets
_HEADER = ("name", "file")
_SALT = "salt"  # the file name of the row that holds it

_DATES = (  # of 1900 to 2099, with a day and a month that exist
    r"(?<!\d)(19|20)\d\d[-_. ]?(0[1-9]|1[0-2])[-_. ]?(0[1-9]|[12]\d|3[01])(?!\d)",
    r"(?<!\d)(0?[1-9]|[12]\d|3[01])[-_. ](0?[1-9]|1[0-2])[-_. ](19|20)\d\d(?!\d)",
    r"(?<!\d)(0[1-9]|[12]\d|3[01])(0[1-9]|1[0-2])(19|20)\d\d(?!\d)",
    r"(?<!\d)(0?[1-9]|1[0-2])[-_. ](0?[1-9]|[12]\d|3[01])[-_. ](19|20)\d\d(?!\d)",
)
_NUMBERS = re.compile(r"[0-9a-f]{16,}|(\d+\.){4,}\d+")  # hashes, and identifiers of DICOM
_WORD = re.compile(r"[^\W\d_]{2,}(?:['’-][^\W\d_]+)*")
# Words of two letters and more that name an image, not a person.
_IMAGING = """
image images img imgs picture photo photos scan scans film films frame view views crop crops
mask masks label labels overlay result results annotation annotations boxes dataset data set
train training val valid validation test testing sample samples case cases patient pat study
series session visit subject subj export exported copy final new old edited original orig raw
panoramic panorama pano opg opt ortho pantomogram radiograph radiographs radiography xray ray
rays bitewing bite wing periapical intraoral extraoral ceph cephalometric cbct ct dx cr io px
dicom dental teeth tooth jaw jaws crown crowns implant implants root roots caries cavity filling
fillings molar premolar incisor canine defect crack arch model mesh lower upper left right front
back side top bottom mandible maxilla occlusal buccal lingual before after pre post follow up
jan feb mar apr may jun jul aug sep oct nov dec rf jpg jpeg png tif tiff bmp dcm zip of and the
with without no id uid num number page part screenshot screen shot whatsapp dsc dcim pxl
"""


def personal_data(name: str) -> str:
    """Say what in a file name may identify a person.

    Recognised are dates of 1900 to 2099 and two or more words side by side that begin with a
    capital (or are all capitals, as `DOE^JANE`) and that name no image, tooth or data set. Words
    alone cannot prove a name: this is a warning, and its silence is no proof.

    Args:
        name: a file name, or a path below a data folder.

    Returns:
        "a date", "what looks like a name", both, or "".
    """
    stem = re.sub(r"\.\w{1,6}$", "", unicodedata.normalize("NFC", name.rpartition("/")[2]))
    stem = _NUMBERS.sub(" ", stem)
    found, imaging = [], set(_IMAGING.split())
    if any(re.search(date, stem) for date in _DATES):
        found.append("a date")
    parts = [(word[0], word.start(), word.end()) for word in _WORD.finditer(stem)]
    named = [
        (word, start, end)
        for word, start, end in parts
        if word[0].isupper() and len(word) > 2 and word.casefold() not in imaging
    ]
    for (first, _, end), (second, start, _) in zip(named, named[1:], strict=False):
        between = stem[end:start]
        alike = first.isupper() == second.isupper() or "^" in between or "," in between
        if alike and 1 <= len(between) <= 3 and not re.search(r"\d", between):
            found.append("what looks like a name")
            break
    return " and ".join(found)


def warning_of_names(names: Iterable[str]) -> str:
    """Return one line for names that may identify a person, with an example; "" for none."""
    names = list(names)
    told = [(name, what) for name in names if (what := personal_data(name))]
    if not told:
        return ""
    name, what = told[0]
    return (
        f"{len(told)} of {len(names)} file names hold {what}, such as {name.rpartition('/')[2]!r}"
    )


def anonymous_names(files: Sequence[Path], key: Path) -> list[str]:
    """Return a hashed name for each file, and write the key.

    The key is a table `name,file`. It must not be passed on with the results. A key that is there
    is extended, so that the same file gets the same name again. A line of the log names it.

    Args:
        files: different paths.
        key: the table.

    Returns:
        12 hexadecimal digits for each file, all different.

    Raises:
        BadFile: `key` is there and is not a key.
        DentalzooError: it cannot be written.
    """
    known = _read_key(key) if key.exists() else {}
    salt = known.setdefault(_SALT, secrets.token_hex(16))
    names = []
    for file in files:
        path = str(file.resolve())
        if path not in known:
            digest = hashlib.sha256(f"{salt}{path}".encode(errors="surrogateescape")).hexdigest()
            known[path] = digest[:_LENGTH]
        names.append(known[path])
    if len(set(names)) < len(names):  # practically never
        raise BadFile(key, "two files would get one name; remove the key. Received: a clash")
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows([_HEADER, *((name, file) for file, name in known.items())])
    write_atomically(key, text.getvalue().encode(errors="surrogateescape"))
    _log.info("%s leads from the hashed names to the files; do not pass it on", key)
    return names


def _read_key(key: Path) -> dict[str, str]:
    try:
        lines = key.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        header, *rows = csv.reader(lines)
        known = {file: name for name, file in rows}
        if tuple(header) != _HEADER or _SALT not in known:
            raise ValueError("another table")
    except (OSError, ValueError, csv.Error) as error:
        raise BadFile(
            key, f"must be a key of file names; move it elsewhere. Received: {error}"
        ) from error
    return known
