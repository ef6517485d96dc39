"""Find the image that an annotation tool means by a path or an address of its own."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

from dentalzoo.data.formats.base import ParsedAnnotations, nearest_images
from dentalzoo.data.formats.tree import Tree, normal

_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")  # Label Studio puts eight hex digits before a name


class ImageReferences:
    """The images of a data set, by the names that files of other machines have for them.

    Args:
        images: of the data set.
    """

    def __init__(self, images: Iterable[Path]):
        self._names: dict[str, list[Path]] = {}
        self._stems: dict[str, list[Path]] = {}
        self._loose: dict[str, list[Path]] = {}
        for image in images:
            name = normal(image.name)
            self._names.setdefault(name, []).append(image)
            self._stems.setdefault(normal(image.stem), []).append(image)
            self._loose.setdefault(_loose(name), []).append(image)

    def find(self, written: str, source: Path, uploaded: bool = False) -> list[Path]:
        """Return the images that a path or an address may mean, by its last part.

        Blanks and brackets that a tool has replaced, upper and lower case and percent encoding do
        not matter where no image has the name as written.

        Args:
            written: such as "..\\x.png", "/data/local-files/?d=a%2Fx.png" or "s3://bucket/x.png".
            source: the file that has it; of several images the nearest one counts.
            uploaded: eight hex digits and "-" before the name may have been put there.

        Returns:
            Of several images of one name, those that share most of the path as written, and of
            these the nearest to `source`; empty where no image has the name.
        """
        for text in _spellings(written):
            parts = [part for part in text.split("/") if part not in ("", ".", "..")]
            names = parts[-1:]
            if uploaded and names and (match := _UPLOADED.fullmatch(names[0])):
                names.append(match[1])
            for name in names:
                images = self._names.get(normal(name)) or self._loose.get(_loose(name), [])
                if images:
                    return nearest_images(_best(images, parts[:-1]), source)
        return []

    def of_stem(self, stem: str, source: Path) -> list[Path]:
        """Return the images of a name without its suffix, those nearest to `source`."""
        return nearest_images(self._stems.get(normal(stem), []), source)


def _spellings(written: str) -> Iterator[str]:
    """Yield what a reference may mean as a path, the most literal first."""
    text = written.strip()
    yield text.replace("\\", "/")
    if "?" in text:
        query = text.partition("?")[2]
        if query.startswith("d="):  # Label Studio's local files
            yield unquote(query[2:])
        text = text.partition("?")[0]
        yield text.replace("\\", "/")
    if "%" in text:
        yield unquote(text).replace("\\", "/")


def _best(images: list[Path], folders: list[str]) -> list[Path]:
    """Return the images whose folders are most of the last ones of `folders`."""
    if len(images) == 1:
        return images

    def shared(image: Path) -> int:
        pairs = zip(reversed(image.parent.parts), reversed(folders), strict=False)
        own = [normal(a) == normal(b) for a, b in pairs]
        return own.index(False) if False in own else len(own)

    most = max(map(shared, images))
    return [image for image in images if shared(image) == most]


def _loose(name: str) -> str:
    return re.sub(r"[^-\w.]", "", normal(name).strip().replace(" ", "_")).casefold()


def refuse_broken_json(
    tree: Tree, parsed: ParsedAnnotations, path: Path, images: Iterable[Path]
) -> None:
    """Skip a file that is not JSON, with the reason; nothing where it is JSON."""
    try:
        tree.json(path)
    except (OSError, ValueError, RecursionError) as error:
        what = " ".join(str(error).split())[:120]
        parsed.refuse(tree.name(path), f"must be JSON. Received: {what}", images)
