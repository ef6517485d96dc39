"""Notebooks of the guided scripts: valid, the code of the scripts, and one is executed."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the extra docs is not installed")

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [path for path in sorted((ROOT / "examples").glob("*.py")) if path.stem != "demo"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with the notebooks, and the module that wrote them."""
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "tools" / "notebooks.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    out = tmp_path_factory.mktemp("notebooks")
    assert tool.main([str(out)]) == 0
    return out, tool


def code_of(book):
    return [cell.source for cell in book.cells if cell.cell_type == "code"]


def test_every_guided_script_has_a_notebook_and_its_extra_exists(written):
    out, tool = written
    assert sorted(path.stem for path in out.iterdir()) == [path.stem for path in SCRIPTS]
    extras = (ROOT / "setup.cfg").read_text().partition("[options.extras_require]")[2]
    assert all(f"\n{extra} =\n" in extras for extra in tool.EXTRAS.values())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_has_the_code_of_its_script(written, path):
    book = nbformat.read(written[0] / f"{path.stem}.ipynb", as_version=4)
    nbformat.validate(book)
    install, settings, *code = code_of(book)
    assert install.startswith("%pip install --quiet 'dentalzoo[")
    compile(settings, path.name, "exec")
    script = ast.parse(path.read_text())
    texts = [one for one in script.body if isinstance(one, ast.Expr)]
    texts = [one for one in texts if isinstance(one.value, ast.Constant)]
    script.body = [one for one in script.body if one not in texts]
    # a line that names a linter's rule stands before the text, and is no code
    assert ast.dump(ast.parse("\n".join(code))) == ast.dump(script)
    shown = [cell.source for cell in book.cells if cell.cell_type == "markdown"]
    assert len(shown) == len(texts) and shown[0].startswith("# ")
    assert [one.value.value.strip("\n") for one in texts[1:]] == shown[1:]


def test_images_stand_at_the_end_of_their_section(written):
    path = next(path for path in SCRIPTS if path.stem == "panoramic_unet")
    plain = written[1].page(path)
    shown = written[1].page(
        path, {"Curves": [("a.png", "curves")], "The bundle": [("b.png", "it")]}
    )
    assert "![" not in plain
    assert shown.index("## Curves") < shown.index("![curves](a.png)") < shown.index("## Metrics")
    assert shown.rstrip().endswith("![it](b.png)  \n*it*")


def test_an_unknown_use_is_one_line(written, capsys):
    assert written[1].main([]) == 2
    assert capsys.readouterr().err == "usage: python tools/notebooks.py FOLDER\n"


@pytest.mark.slow
def test_a_notebook_runs(written, tmp_path):
    """The cells but the installation, one after the other, in an empty folder."""
    book = nbformat.read(written[0] / "tooth_vae.ipynb", as_version=4)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code_of(book)[1:])],
        cwd=tmp_path,
        env={**os.environ, "DENTALZOO_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "tooth_vae" / "teeth" / "samples.png").is_file()
