"""Find the images of PASCAL VOC annotations, and read their splits from ImageSets."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dentalzoo.data.formats.base import ParsedAnnotations, nearest_images
from dentalzoo.data.formats.tree import SPLITS, Skip, Tree, normal, split_word

_MEMBER = re.compile(r"(.*\S)\s+(-?[01])")


class VocImages:
    """Finds the image of an annotation file, also by the names that VoTT makes of it."""

    _KEYS: tuple[Callable[[str], str], ...] = (
        lambda name: name,
        lambda name: name.rpartition(".")[0],
        lambda name: name[:-4],  # VoTT 1: of x.jpeg remains "x."
        lambda name: name[:-4].replace(".", "", 1),  # VoTT 1.7
    )

    def __init__(self, images: Iterable[Path]):
        self._tables: list[dict[str, list[Path]]] = [defaultdict(list) for _ in self._KEYS]
        for image in images:
            for table, key in zip(self._tables, self._KEYS, strict=True):
                table[key(normal(image.name))].append(image)

    def of(self, source: Path, listed: str) -> tuple[list[Path], list[str]]:
        """Return the images of an annotation file, and what was corrected.

        Args:
            source: the file.
            listed: its element `filename`; `path` may name another machine or folder.
        """
        listed = listed.replace("\\", "/").rsplit("/", 1)[-1]
        own = self.named(source.stem, source)
        by_element = self.named(listed, source) if listed else []
        if len(own) > 1 and len(by_element) == 1 and by_element[0] in own:
            return by_element, []
        if len(own) == 1 and by_element and own[0] not in by_element:
            return own, [f"its image is {own[0].name}, not filename. Received: {listed!r}"]
        return own or by_element, []

    def named(self, name: str, source: Path) -> list[Path]:
        """Return the images that a name may mean, those that lie nearest to `source`."""
        for table in self._tables:
            if images := table.get(normal(name)):
                return nearest_images(images, source)
        return []


# ---- ImageSets -----------------------------------------------------------------------------------


def read_sets(
    tree: Tree,
    parsed: ParsedAnnotations,
    images: Sequence[Path],
    roots: Iterable[Path],
    kind: str = "Main",
) -> None:
    """Read the splits of `ImageSets/Main/*_train.txt` and the like, beside the annotations.

    The boxes decide what an image shows: the flags 1 and -1 of a line do not count, nor does a
    repeated line. An image in several sets goes to the one with the strictest use: test, then val,
    then train.
    """
    for root in sorted(set(roots)):
        sets = root / "ImageSets"
        folders = [f for f in (sets / kind, sets / "Main", sets) if f.is_dir()]
        lists = {
            path: split
            for path in (sorted(folders[0].glob("*.txt")) if folders else ())
            if (split := split_word(path.stem.rpartition("_")[2]))
        }
        if not lists:
            continue
        parsed.split_source = "ImageSets"
        imgs = VocImages(image for image in images if image.is_relative_to(root))
        members: dict[Path, dict[str, Path]] = defaultdict(dict)
        lost: set[str] = set()
        for path, split in lists.items():
            _read_set(tree, parsed, path, split, imgs, members, lost)
        for image, splits in members.items():
            split = next(s for s in reversed(SPLITS) if s in splits)
            parsed.splits[image] = split
            if len(splits) > 1:
                both = " and ".join(sorted(splits))
                parsed.repaired.append(
                    (tree.name(image), f"in {both} of ImageSets; {split} counts")
                )


def _read_set(
    tree: Tree,
    parsed: ParsedAnnotations,
    path: Path,
    split: str,
    imgs: VocImages,
    members: dict[Path, dict[str, Path]],
    lost: set[str],
) -> None:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = f"must be a list of images. Received: {error}"
        parsed.skips.append(Skip(tree.name(path), reason, split))
        return
    flags: dict[Path, Counter[str]] = defaultdict(Counter)
    for line in filter(None, map(str.strip, lines)):
        match = _MEMBER.fullmatch(line)
        names = [(line, "")] + ([match.groups()] if match else [])  # "radiograph 1" may be a name
        images, flag = next(
            ((i, f) for name, f in names if (i := imgs.named(name, path))), ([], "")
        )
        if len(images) != 1:
            if names[-1][0] not in lost:
                what = f"row of {len(images)} images of one name" if images else ""
                name = f"{tree.name(path)}: {names[-1][0]}"
                parsed.skips.append(Skip(name, what or "row of ImageSets without image", split))
            lost.add(names[-1][0])
            continue
        members[images[0]].setdefault(split, path)
        flags[images[0]][flag] += 1
    several = [image for image, counts in flags.items() if len(counts) > 1]
    if several:
        parsed.repaired.append(
            (
                tree.name(path),
                "images listed with 1 and with -1; their boxes decide. "
                f"Received: {several[0].name} and {len(several) - 1} more",
            )
        )
