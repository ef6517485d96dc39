"""Hooks of MkDocs (mkdocs.yml): the site has the tree of the repository, so links hold in both.

Pages are the Markdown files of the repository; other files that they link to are copied beside
them. `docs/assets/` is what MkDocs takes as its own folder.
"""

import re
import sys
from pathlib import Path

import nbformat
from markdown import Extension, Markdown
from markdown.preprocessors import Preprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from dentalzoo.cli import make_parser, subparsers_of

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import example_pictures  # noqa: E402  # beside this file, which MkDocs imports by its path
import notebooks  # noqa: E402

PAGES = ("*.md", "docs/**/*.md", "benchmarks/README.md", "pretrained/*/README.md")
COMMANDS = "<!-- the help of each command -->"
_ITEM = re.compile(r"[-*] ")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Read lists as GitHub does, and add the card of each released bundle to the navigation."""
    config.markdown_extensions.append(GitHubLists())
    cards = sorted(ROOT.glob("pretrained/*/README.md"))
    section = next(part["Models"] for part in config.nav if "Models" in part)
    section.append(
        {"Released bundles": [{card.parent.name: _uri(card)} for card in cards]},
    )
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository, the files that they link to, and the examples.

    An example has the images of its quick form, where `tools/example_pictures.py` has made them.
    """
    pages = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    scripts = [ROOT / "examples" / f"{name}.py" for name in notebooks.EXTRAS]
    copied = [*pages, *scripts, *(file for page in pages for file in _linked(page))]
    for path in dict.fromkeys(copied):
        files.append(File.generated(config, _uri(path), abs_src_path=str(path)))
    for script in scripts:
        name, book = _uri(script).removesuffix(".py"), notebooks.notebook(script)
        folder, shown = example_pictures.current(script.stem), {}
        if folder is not None:
            shown = {
                section: [(f"{script.stem}/{file}", what) for file, what in pictures]
                for section, pictures in example_pictures.PICTURES[script.stem].items()
            }
            for file in example_pictures.pictures(script.stem):
                uri, path = f"examples/{script.stem}/{file}", str(folder / file)
                files.append(File.generated(config, uri, abs_src_path=path))
        files.append(File.generated(config, f"{name}.md", content=notebooks.page(script, shown)))
        files.append(File.generated(config, f"{name}.ipynb", content=nbformat.writes(book)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in the help of the commands, and give the first page the width of the navigation."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]
    return markdown.replace(COMMANDS, _help_of_commands()) if COMMANDS in markdown else markdown


def _uri(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _linked(page: Path) -> list[Path]:
    """Return the files of the repository, but for pages, that a page links to."""
    targets = re.findall(r"\]\(([^)#\s:]+)\)", page.read_text(encoding="utf-8"))
    paths = [(page.parent / target).resolve() for target in targets]
    return [path for path in paths if path.suffix != ".md" and path.is_file()]


class GitHubLists(Extension):
    """Lists as GitHub reads them, which Python-Markdown does not, in pages and docstrings.

    A list may follow a line of text at once, and the parts of an item may be indented by two or
    three spaces, not only by four.
    """

    def extendMarkdown(self, md: Markdown) -> None:
        # after the normalisation of line ends (30), before fenced code is read (25)
        md.preprocessors.register(_GitHubLists(md), "github_lists", 28)


class _GitHubLists(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        done: list[str] = []
        fence, shift = None, 0
        for line in lines:
            indent = len(line) - len(line.lstrip())
            mark = re.match(r" *(```+|~~~+)", line)
            if fence is None:
                shift = 4 - indent if indent in (2, 3) else 0
                fence = mark[1] if mark else None
                before = done[-1] if done else ""
                if _ITEM.match(line) and re.match(r"\S", before) and not _ITEM.match(before):
                    done.append("")
            elif mark and line.strip() == fence:
                fence = None
            done.append(" " * shift + line if line.strip() else line)
        return done


def _help_of_commands() -> str:
    """Return a section with the `--help` of each sub-command."""
    return "\n".join(
        f"## dentalzoo {name}\n\n```text\n{parser.format_help()}```\n"
        for name, parser in subparsers_of(make_parser()).items()
    )
