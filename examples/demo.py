"""Shows what the zoo does, on pictures it draws itself: no data, no network.

    python examples/demo.py                # or `make demo`; under a minute on two CPU cores
    python examples/demo.py --count 12 --out out/demo

Each paper is one function that works in a folder and returns a `Section`; the page
`out/demo/index.html` is the sections one below the other.
"""

import argparse
import html
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own chatter

import dentalzoo as dz
from dentalzoo.data.images import read_image, write_png
from dentalzoo.data.masks import find_masks, load
from dentalzoo.data.phantoms import write_panoramic_dataset
from dentalzoo.files import write_atomically
from dentalzoo.segmentation import drawing


@dataclass(frozen=True)
class Picture:
    """A picture of the page: where it is and what it shows."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """What one paper shows.

    Attributes:
        title: its heading.
        text: paragraphs, plain text.
        table: rows of words, the first one the heading.
        pictures: for each row its heading and the pictures beside each other.
        files: other results, as links.
    """

    title: str
    text: Sequence[str]
    table: Sequence[Sequence[str]]
    pictures: Sequence[tuple[str, Sequence[Picture]]]
    files: Sequence[Picture] = ()


def panoramic_segmentation(folder: Path, count: int) -> Section:
    """The teeth on panoramic films: `panoramic_unet`."""
    bundle = dz.load("panoramic_unet.panoramic_teeth_v1")
    phantoms = write_panoramic_dataset(folder / "phantoms", count, val_fraction=0)
    films = find_masks(phantoms).samples  # of split.csv: not what an earlier run left there
    out = folder / "panoramic_unet"
    dz.predict(bundle, [film.image for film in films], out, overlay=True)
    report = dz.evaluate(bundle, phantoms, out=out)

    bundle.serve(read_image(films[0].image))  # the first call is not measured: it sets up
    table, pictures = [("film", "Dice", "IoU", "ms")], []
    for film, row in zip(films, report["per_image"], strict=True):
        arrays = load(film)
        start = time.perf_counter()
        mask = bundle.serve(arrays["image"])["mask"]
        seconds = time.perf_counter() - start
        outlines = out / f"{film.name}_outlines.png"
        write_png(outlines, drawing.outlines(arrays["image"], arrays["mask"], mask))
        table.append((film.name, *_scores(row), f"{1000 * seconds:.0f}"))
        pictures.append(
            (
                f"Film {film.name}: Dice {row['dice']:.3f}",
                [
                    Picture(film.image, "the film"),
                    Picture(out / f"{film.name}_overlay.png", "the teeth, as predicted"),
                    Picture(outlines, "outlines: blue the truth, orange the prediction"),
                ],
            )
        )
    table.append(("mean", *_scores(report["mean"]), ""))
    return Section(
        title="Teeth on panoramic films",
        text=[
            f"{bundle.metadata['summary']}, as the bundle {bundle.name}. It was trained on drawn "
            "films, then on real ones. These are new and drawn, so where the teeth are is known.",
            "The scores below say that it works, not how well it does on real films; "
            "docs/models/panoramic_unet.md says that.",
        ],
        table=table,
        pictures=pictures,
        files=[
            Picture(out / "evaluation.png", "best, median and worst film on one sheet"),
            Picture(out / "evaluation.json", "all scores"),
        ],
    )


SECTIONS = (panoramic_segmentation,)


def _scores(row: dict[str, float]) -> tuple[str, str]:
    return f"{row['dice']:.3f}", f"{row['iou']:.3f}"


# ---------------------------------------------------------------------------------------- the page

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>dentalzoo: demo</title>
<style>
:root {{ color-scheme: light dark; --ink: #1d232b; --soft: #59636e; --paper: #fff;
  --card: #f4f6f8; --line: #d5dbe1; --link: #0a5ea8; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e8ecf0; --soft: #a3adb8;
  --paper: #14181d; --card: #1e242b; --line: #38414b; --link: #7cbcf5; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; max-width: 100rem; padding: 1.5rem clamp(1rem, 4vw, 3rem) 3rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }}
h1 {{ margin: 0; font-size: 1.9rem; }}
h2 {{ margin: 2.5rem 0 .5rem; font-size: 1.45rem; }}
h3 {{ margin: 0 0 .6rem; font-size: 1.05rem; }}
p {{ max-width: 46rem; margin: .5rem 0; }}
a {{ color: var(--link); }}
.notice {{ border-left: 4px solid #e69f00; padding-left: .8rem; }}
table {{ border-collapse: collapse; margin: 1.2rem 0; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem 1.1rem; text-align: right; border-bottom: 1px solid var(--line); }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
th {{ color: var(--soft); font-weight: 600; }}
tr:last-child td {{ font-weight: 600; }}
article {{ margin: 1.2rem 0; padding: 1rem; border-radius: .6rem; background: var(--card); }}
.row {{ display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }}
figure {{ margin: 0; }}
img {{ display: block; width: 100%; height: auto; border-radius: .3rem; background: #000; }}
figcaption, footer {{ color: var(--soft); font-size: .92rem; margin-top: .35rem; }}
</style>
<h1>dentalzoo</h1>
<p>What the released models do with pictures that were drawn for this page.</p>
<p class="notice">For research. Not a medical device, not for diagnosis.</p>
{sections}
<footer>dentalzoo {version}. Made by examples/demo.py; nothing on this page comes from elsewhere.
</footer>
</html>
"""


def write_page(path: Path, sections: Sequence[Section]) -> None:
    """Writes the sections as one HTML page; pictures are linked relative to it."""
    body = "\n".join(_section(section, path.parent) for section in sections)
    write_atomically(path, _PAGE.format(sections=body, version=html.escape(dz.__version__)))


def _section(section: Section, folder: Path) -> str:
    def link(picture: Picture) -> str:
        return quote(picture.path.relative_to(folder).as_posix())

    def figure(picture: Picture) -> str:
        words = html.escape(picture.caption)
        return (
            f'<figure><a href="{link(picture)}"><img src="{link(picture)}" alt="{words}"></a>'
            f"<figcaption>{words}</figcaption></figure>"
        )

    def row(words: Sequence[str], cell: str) -> str:
        return f"<tr>{''.join(f'<{cell}>{html.escape(w)}</{cell}>' for w in words)}</tr>"

    paragraphs = "\n".join(f"<p>{html.escape(text)}</p>" for text in section.text)
    table = "\n".join(row(words, "td" if i else "th") for i, words in enumerate(section.table))
    articles = "\n".join(
        f"<article><h3>{html.escape(heading)}</h3>\n"
        f'<div class="row">{"".join(figure(picture) for picture in pictures)}</div></article>'
        for heading, pictures in section.pictures
    )
    files = ", ".join(
        f'<a href="{link(file)}">{html.escape(file.caption)}</a>' for file in section.files
    )
    return (
        f"<section>\n<h2>{html.escape(section.title)}</h2>\n{paragraphs}\n<table>\n{table}\n"
        f"</table>\n{articles}\n{f'<p>More: {files}</p>' if files else ''}\n</section>"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the pictures and the page; returns 2 where that is not possible."""
    parser = argparse.ArgumentParser(description="Shows what the zoo does, on drawn pictures.")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder of the page")
    quick = "DENTALZOO_QUICK" in os.environ
    parser.add_argument("--count", type=int, default=2 if quick else 6, help="how many films")
    options = parser.parse_args(arguments)
    sections = []
    try:
        for make in SECTIONS:
            section = make(options.out, options.count)
            sections.append(section)
            print(f"{section.title}\n")
            for words in section.table:
                print(f"  {words[0]:10}", *(f"{word:>8}" for word in words[1:]))
        page = options.out / "index.html"
        write_page(page, sections)
    except dz.DentalzooError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    print(f"\nThe page: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
