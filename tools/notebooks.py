"""Make notebooks, and pages of the documentation, of the guided scripts in examples/.

    python tools/notebooks.py out/notebooks

A script is text in triple quotes and code, in turn. A notebook has a cell for each, and before them
one that installs dentalzoo and one that sets what a script takes from the command line. Notebooks
are not kept in the repository: this makes them, and so does the build of the site.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = {
    "defect_overlay_vae": "tensorflow",
    "jaw_reconstruction": "jaw-reconstruction",
    "panoramic_detection": "panoramic-detection",
    "panoramic_unet": "panoramic-unet",
    "tooth_vae": "tensorflow",
}
_NO_PICTURES: Mapping[str, Sequence[tuple[str, str]]] = MappingProxyType({})
SETTINGS = """\
import os
import sys

os.environ["DENTALZOO_QUICK"] = "1"  # few images and epochs; remove it for a real training
sys.argv = ["{name}.py"]  # add "--data", "DIR" for your own data"""


def cells(script: str) -> list[tuple[str, str]]:
    """Return the cells of a script in order: ("text" or "code", content)."""
    parts = re.split(r'^"""\n(.*?)^"""$', script, flags=re.MULTILINE | re.DOTALL)
    header = dict(line.split(": ", 1) for line in parts[1].splitlines())
    made = [("text", f"# {header['Title']}\n\n{header['Description']}")]
    for i, content in enumerate(parts[2:], start=2):
        if content.strip():
            made.append(("text" if i % 2 else "code", content.strip("\n")))
    return made


def notebook(path: Path) -> nbformat.NotebookNode:
    """Return the notebook of a guided script."""
    title, *others = cells(path.read_text(encoding="utf-8"))
    install = f"%pip install --quiet 'dentalzoo[{EXTRAS[path.stem]}]'"
    before = [title, ("code", install), ("code", SETTINGS.format(name=path.stem))]
    made = [
        (new_markdown_cell if kind == "text" else new_code_cell)(content, id=f"{path.stem}-{i}")
        for i, (kind, content) in enumerate([*before, *others])
    ]
    python = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=made, metadata={"kernelspec": python})


def page(path: Path, pictures: Mapping[str, Sequence[tuple[str, str]]] = _NO_PICTURES) -> str:
    """Return the page of a guided script, in Markdown.

    Args:
        path: the script.
        pictures: section -> (address of an image, what it shows), at the end of the section.
    """
    title, *others = cells(path.read_text(encoding="utf-8"))
    links = f"As a [notebook]({path.stem}.ipynb), as a [script]({path.name})."
    shown, waiting = [title[1], links], []
    if pictures:
        shown.append("The images are those of a run in the quick form: few images and epochs.")
    for kind, content in others:
        if kind == "text" and content.startswith("## "):
            shown += waiting
            heading = content.partition("\n")[0].removeprefix("## ")
            waiting = [f"![{what}]({file})  \n*{what}*" for file, what in pictures.get(heading, ())]
        shown.append(content if kind == "text" else f"```python\n{content}\n```")
    return "\n\n".join(shown + waiting) + "\n"


def main(arguments: list[str]) -> int:
    """Write the notebook of each guided script to a folder."""
    if len(arguments) != 1:
        print("usage: python tools/notebooks.py FOLDER", file=sys.stderr)
        return 2
    out = Path(arguments[0])
    out.mkdir(parents=True, exist_ok=True)
    for name in EXTRAS:
        nbformat.write(notebook(ROOT / "examples" / f"{name}.py"), out / f"{name}.ipynb")
        print(out / f"{name}.ipynb")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
