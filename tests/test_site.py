"""The documentation site: it builds, needs no other host, and has every public name."""

import ast
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.md"))
# What loads something when a page is opened; a link that a reader follows does not.
LOADS = {
    ("script", "src"),
    ("link", "href"),
    ("img", "src"),
    ("img", "srcset"),
    ("source", "src"),
    ("iframe", "src"),
    ("object", "data"),
    ("video", "src"),
}


class Tags(HTMLParser):
    """The tags of a page with their attributes, and the names that a link can end in."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids |= {value for key, value in attributes if key in ("id", "name")}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    pytest.importorskip("material", reason="the extra docs is not installed")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", out],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return out


@pytest.fixture(scope="module")
def pages(site):
    """The tags of each built page by its path in the site."""
    paths = sorted(site.rglob("*.html"))
    return {path: Tags(path.read_text(encoding="utf-8")) for path in paths}


def test_no_page_loads_anything_from_another_host(site, pages):
    for path, page in pages.items():
        for tag, attributes in page.tags:
            for key, value in attributes.items():
                if (tag, key) in LOADS:
                    assert not urlsplit(value or "").netloc, f"{path.name}: {tag} {value}"
            assert "mermaid" not in (attributes.get("class") or ""), "its script is of another host"
    for path in site.rglob("*.css"):
        for target in re.findall(r"url\(([^)]*)\)|@import", path.read_text(encoding="utf-8")):
            assert target.strip("'\"").startswith("data:"), f"{path.name}: {target}"


def test_every_link_of_the_built_pages_leads_somewhere(site, pages):
    for path, page in pages.items():
        for tag, attributes in page.tags:
            target = urlsplit(attributes.get("href" if tag in ("a", "link") else "src") or "")
            if target.scheme or target.netloc or path.name == "404.html":
                continue
            file = (path.parent / unquote(target.path)).resolve() if target.path else path
            file = file / "index.html" if file.is_dir() else file
            assert file.is_file(), f"{path.relative_to(site)} links to {target.geturl()}"
            if target.fragment and file.suffix == ".html":
                found = unquote(target.fragment) in pages[file].ids
                assert found, f"{path.relative_to(site)} links to {target.geturl()}"


def test_the_search_needs_no_server(site):
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert index.startswith("var __index = ")
    for word in (
        "hausdorff",
        "MONOCHROME1",
        "New teeth from a variational",
        "write_panoramic_dataset",
        "--score-threshold",
    ):
        assert word.lower() in index.lower(), word


def test_the_help_of_each_command_is_there(site):
    text = (site / "docs" / "reference" / "command_line.html").read_text(encoding="utf-8")
    for name in ("predict", "shape-model", "tfrecord"):
        assert f"usage: dentalzoo {name} " in text


# ---- the reference -------------------------------------------------------------------------------


def shown(page):
    """Return the names that a page of the reference shows."""
    return re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def file_of(module):
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def public_names(module):
    """Yield what a module defines, or re-exports as `name as name`, without underscore."""
    for node in ast.parse(file_of(module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names if alias.asname == alias.name]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


SHOWN = [name for page in REFERENCE for name in shown(page)]
MODULES = [name for name in SHOWN if file_of(name).is_file()]


def test_the_reference_has_every_public_name(site):
    pages = [site / page.relative_to(ROOT).with_suffix(".html") for page in REFERENCE]
    pages = [page.with_name("index.html") if page.stem == "README" else page for page in pages]
    ids = set().union(*(Tags(page.read_text(encoding="utf-8")).ids for page in pages))
    wanted = {f"{module}.{name}" for module in MODULES for name in public_names(module)}
    wanted |= {f"dentalzoo.{name}" for name in public_names("dentalzoo")}
    assert len(wanted) > 200
    assert sorted(wanted - ids) == []


def test_the_reference_shows_nothing_twice():
    assert len(SHOWN) == len(set(SHOWN))


def test_the_modules_that_pages_and_examples_import_are_in_the_reference():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    blocks = [
        block
        for page in pages
        for block in re.findall(r"^ *```python\n(.*?)^ *```$", page.read_text(), re.M | re.S)
    ]
    blocks += [path.read_text() for path in (ROOT / "examples").glob("*.py")]
    pattern = re.compile(r"^\s*from (dentalzoo[\w.]*) import ([\w, ]+)", re.MULTILINE)
    for block in blocks:
        for package, names in pattern.findall(block):
            below = [f"{package}.{name}" for name in re.findall(r"\w+", names)]
            modules = [name for name in below if file_of(name).is_file()] or [package]
            for module in modules:
                if file_of(module).is_file() and module != "dentalzoo":  # else the reader writes it
                    assert module in SHOWN, module


def test_every_page_of_the_reference_is_listed():
    listed = (ROOT / "docs" / "reference" / "README.md").read_text(encoding="utf-8")
    for page in REFERENCE:
        assert page.name == "README.md" or f"]({page.name})" in listed, page.name
