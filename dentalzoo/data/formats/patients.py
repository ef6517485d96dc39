"""Patients in the names of folders and files, for splits that are chosen here.

- A word and a number, in any folder or in the file's name, name a patient: `patient12_left.png`,
  `sub-01/a.png`.
- Else the topmost folders that are numbered are patients (`P0/a.png`, `0017/visit1/a.png`), and so
  are ten or more folders without numbers that hold few images each (`Smith/a.png`). Folders of
  roles and splits (`images`, `train`) do not count, nor do things that are numbered otherwise
  (`class_1`, `grade 2`, `2023-05-01`, `512x512`), folders all named by tooth numbers, or up to ten
  folders of digits with many images each: those are classes.

Folders that hold one image each are not needed, and one single folder tells nothing. Patients of
one name in two folders are taken for one, which separates nothing that belongs together.
"""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dentalzoo.data.formats.base import notice_once
from dentalzoo.data.formats.names import is_drawn, normal, role_of, split_word
from dentalzoo.data.teeth import tooth_numbers

# patient12_left, sub-01, PID 0007; not "partial 3"
PATIENT = re.compile(
    r"(?:^|[^a-z])(patients?|pat|pid|subjects?|subj|sub|persons?|cases?)[ _.-]{0,2}0*(\d+)(?!\d)"
)
_FROM_TABLE = re.compile(r"(^|/)index\.csv: ", re.IGNORECASE)
_OTHER_WORDS = re.compile(  # numbered, but no patients; ours
    r"(?:class(?:es)?|cls|labels?|cat(?:egory)?|kind|types?|grades?|stages?|scores?|levels?|icdas|"
    r"tooth|teeth|fdi|quadrants?|folds?|cv|batch(?:es)?|parts?|chunks?|sets?|subsets?|groups?|"
    r"data(?:sets?)?|sites?|cent(?:er|re)s?|hospitals?|clinics?|devices?|sensors?|visits?|"
    r"sessions?|days?|weeks?|months?|years?|pages?|sizes?|res|v|ver|versions?|runs?|exp|rounds?|"
    r"folders?|dirs?|tasks?|level|zoom|views?|angles?)[ _.-]*\d+",
    re.IGNORECASE,
)
_SIZE_OR_DATE = re.compile(
    r"\d+ ?x ?\d*|\d+ ?(?:px|dpi|kv|mm|bits?|k)|(?:19|20)\d\d([ _.-]?\d\d){0,2}", re.IGNORECASE
)
_NUMBERED = 0.8  # ours: the share of numbered names; a folder "other" may be among them
_MANY_FOLDERS, _FEW_IMAGES = 10, 20  # ours, of folders without numbers
_CLASSES, _MANY_IMAGES = 10, 50  # ours, of folders named by a digit


def join_patients(root: Path, groups: Mapping[Path, str]) -> dict[Path, str]:
    """Return the groups with those of one patient joined, and log one line if there are any.

    Groups of index.csv and those of patients with one image stay as they are.

    Args:
        root: the data folder; folders above it are not looked at.
        groups: file -> group.
    """
    grouped, joined = _joined(root, groups)
    if joined:
        notice_once(
            f"files of one patient stay in one split: {len(joined)} patients by the names of "
            f"folders or files, such as {min(joined)!r}; groups in index.csv (id,patient) count "
            "before them",
            root,
            logging.INFO,
        )
    return grouped


def grouped_by_patient(root: Path, groups: Mapping[Path, str]) -> dict[Path, str]:
    """Return what `join_patients` returns, in silence: for intervals, not for splits."""
    return _joined(root, groups)[0]


def _joined(root: Path, groups: Mapping[Path, str]) -> tuple[dict[Path, str], set[str]]:
    """Return the groups with those of one patient joined, and these patients."""
    own = {image: group for image, group in groups.items() if not _FROM_TABLE.search(group)}
    folders = {image: _folders(root, image) for image in own}
    depth = _depth_of_patients(list(folders.values()))
    patient_of: dict[str, str] = {}  # group -> patient
    for image, group in own.items():
        patient = _named(folders[image], image)
        if not patient and depth is not None and depth < len(folders[image]):
            patient = folders[image][depth]
        if patient:
            patient_of.setdefault(group, patient)
    members: dict[str, set[str]] = defaultdict(set)
    for group, patient in patient_of.items():
        members[patient].add(group)
    joined = {patient for patient, inside in members.items() if len(inside) > 1}
    if not joined or len(set(patient_of.values())) < 2:  # one patient of all files: no patient
        return dict(groups), set()
    named = {group: patient_group(p) for group, p in patient_of.items() if p in joined}
    return {file: named.get(group, group) for file, group in groups.items()}, joined


def patient_group(name: str) -> str:
    """Return the name of the group of a patient whose folder has a name."""
    return f"patient {normal(name).casefold()}"


def _folders(root: Path, image: Path) -> list[str]:
    """Return the names of the folders of an image, without those of roles and splits."""
    parts = image.relative_to(root).parts[:-1] if image.is_relative_to(root) else ()
    return [
        normal(part).casefold()
        for part in parts
        if not role_of((part,))[0] and not split_word(part) and not is_drawn((part,))
    ]


def _named(folders: Sequence[str], image: Path) -> str:
    """Return the patient that a word and a number name, else ""."""
    for part in (*folders, normal(image.stem).casefold()):
        if match := PATIENT.search(part):
            return " ".join(match.groups())
    return ""


def _depth_of_patients(paths: Sequence[Sequence[str]]) -> int | None:
    return next((d for d, names in enumerate(_levels(paths)) if _are_patients(names)), None)


def _levels(paths: Sequence[Sequence[str]]) -> Iterator[Counter[str]]:
    """Yield the names of folders at each depth, with the number of images below them."""
    for depth in range(max(map(len, paths), default=0)):
        yield Counter(path[depth] for path in paths if len(path) > depth)


def _are_patients(names: Counter[str]) -> bool:
    if len(names) < 2 or max(names.values()) < 2:
        return False
    mean = names.total() / len(names)
    numbered = [name for name in names if re.search(r"\d", name)]
    if len(numbered) < _NUMBERED * len(names):
        return len(names) >= _MANY_FOLDERS and mean <= _FEW_IMAGES
    others = [n for n in numbered if _OTHER_WORDS.match(n) or _SIZE_OR_DATE.fullmatch(n)]
    if 2 * len(others) >= len(numbered):
        return False
    return tooth_numbers(list(names)) is None and not (
        len(names) <= _CLASSES
        and mean > _MANY_IMAGES
        and all(name.isdecimal() and int(name) <= _CLASSES for name in names)
    )
