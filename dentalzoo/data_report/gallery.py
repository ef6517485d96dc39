"""A bounded choice of pictures out of a stream of images."""

import hashlib
import io
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

_QUALITY = 85  # of JPEG; ours: about 30 KB a picture


@dataclass(order=True)
class _Choice:
    rank: float
    name: str
    key: tuple[str, str] = field(compare=False)  # of the picture
    caption: str = field(compare=False)


@dataclass(frozen=True)
class Picture:
    """A picture of a gallery.

    Attributes:
        caption: of it, in which names of files are not yet escaped.
        key: pictures of one key are the same.
        rank: by which it was chosen.
        jpeg: the content of its file.
    """

    caption: str
    key: tuple[str, str]
    rank: float
    jpeg: bytes


class Gallery:
    """Pictures in sections, each with the few that rank lowest; in memory as JPEG.

    Args:
        seed: of the choice of a sample.
    """

    def __init__(self, seed: int = 0):
        self._seed = seed
        self._sections: dict[str, list[_Choice]] = {}
        self._jpegs: dict[tuple[str, str], bytes] = {}

    def random_rank(self, name: str) -> float:
        """Return a number in [0, 1) that depends on the seed and the name alone."""
        text = f"{self._seed}:{name}".encode(errors="surrogateescape")
        return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest()) / 2**48

    def offer(
        self,
        section: str,
        name: str,
        caption: str,
        draw: Callable[[], np.ndarray],
        *,
        most: int,
        rank: float | None = None,
        what: str = "",
    ) -> None:
        """Keep a picture if it ranks among the lowest of its section.

        Args:
            section: the name of the section.
            name: of the image.
            caption: shown below it.
            draw: returns (H, W, 3) uint8; called only for a picture that is kept.
            most: how many pictures the section has.
            rank: None for a random one, which makes the section a sample.
            what: of one image, pictures of equal `what` are drawn once.
        """
        rank = self.random_rank(name) if rank is None else rank
        choices = self._sections.setdefault(section, [])
        choice = _Choice(rank, name, (name, what), caption)
        if len(choices) >= most and choices[-1] <= choice:
            return
        insort(choices, choice)
        gone = choices.pop() if len(choices) > most else None
        if choice.key not in self._jpegs:
            self._jpegs[choice.key] = encode(draw())
        if gone and not any(c.key == gone.key for s in self._sections.values() for c in s):
            self._jpegs.pop(gone.key, None)

    def has(self, section: str) -> bool:
        """Return whether a section has been offered a picture."""
        return section in self._sections

    def count(self, prefix: str) -> int:
        """Return the number of sections whose names begin with `prefix`."""
        return sum(section.startswith(prefix) for section in self._sections)

    def sections(self) -> dict[str, list[Picture]]:
        """Return section -> its pictures, the lowest rank first."""
        return {
            section: [Picture(c.caption, c.key, c.rank, self._jpegs[c.key]) for c in choices]
            for section, choices in self._sections.items()
        }


def encode(image: np.ndarray) -> bytes:
    """Return an image (H, W, 3) uint8 as the content of a JPEG file."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=_QUALITY)
    return content.getvalue()
