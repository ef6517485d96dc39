"""The page on adding a paper, followed word for word in a copy of the repository."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "adding_a_paper.md").read_text()
FILES = re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)^```$", PAGE, re.M | re.S)
ENTRY = re.search(r"^In `ZOO` of `([\w/.]+)`:\n\n```python\n(.*?)^```$", PAGE, re.M | re.S)
COMMANDS = re.search(r"^```sh\n(make golden\n.*?)^```$", PAGE, re.M | re.S)[1].splitlines()


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package and the tests with the page's files in it."""
    root = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("dentalzoo", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    for name, text in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        assert not (root / name).exists(), name
        (root / name).write_text(text)
    registry = root / ENTRY[1]
    text = registry.read_text()
    assert text.count("\nZOO = {\n") == 1
    registry.write_text(text.replace("\nZOO = {\n", f"\nZOO = {{\n{ENTRY[2]}"))
    return root


def run(root, *command):
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def test_the_page_has_all_files_of_a_paper():
    names = {Path(name).name for name, _ in FILES if name.startswith("dentalzoo/")}
    assert names == {
        *("__init__.py", "about.py", "config.py"),
        *("dataset.py", "network.py", "serving.py"),
    }


@pytest.mark.slow
def test_the_page_adds_a_paper(copy):
    test = "tests/models/test_panoramic_pixelwise.py"
    for line in COMMANDS:
        words = shlex.split(line)
        if words == ["make", "golden"]:
            run(copy, "pytest", "-q", test, "--update-golden")
        else:
            assert words[0] == "dentalzoo"
            run(copy, *words)
    assert "passed" in run(copy, "pytest", "-q", test)
    assert (copy / "runs" / "pixelwise" / "bundle" / "metadata.json").is_file()
    assert (copy / "out" / "pixelwise" / "evaluation.png").is_file()
    assert len(list((copy / "out" / "masks").glob("*_overlay.png"))) == 10


@pytest.mark.slow
def test_the_page_passes_the_lint(copy):
    folder = "dentalzoo/models/panoramic_pixelwise"
    run(copy, "ruff", "check", folder)
    run(copy, "ruff", "format", "--check", folder)
