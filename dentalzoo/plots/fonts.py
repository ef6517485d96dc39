"""Fonts of the texts on images."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

TEXT = 18  # pixels, of captions; ours


@cache
def font(size: int = TEXT, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which matplotlib brings: it has more than Latin letters, for file names.

    Args:
        size: in pixels.
    """
    spec = find_spec("matplotlib")
    assert spec is not None and spec.origin is not None  # a requirement of the package
    fonts = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(fonts / f"DejaVuSans{'-Bold' * bold}.ttf", size)


def shortened(text: str, width: int) -> str:
    """Return a text, its middle left out where it is wider than `width` pixels."""
    keep, whole = len(text) // 2, text
    while font().getlength(text) > width:
        keep -= 1
        text = f"{whole[:keep]} … {whole[-keep:]}"
    return text
