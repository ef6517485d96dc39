"""The documentation is correct: links, commands, code, settings, tables."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dentalzoo import registry
from dentalzoo.cli import make_parser, parse, subparsers_of
from dentalzoo.data import formats

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FOLDERS = ("dentalzoo", "docs", "tests", "examples", "benchmarks", "tools", ".ci", ".github")
BUNDLE = "panoramic_unet.panoramic_teeth_v2"


def label(path):
    return path.relative_to(ROOT).as_posix()


def blocks(page, language):
    """Return the fenced blocks of a language, without the indentation of a surrounding list."""
    pattern = rf"^( *)```{language}\n(.*?)^\1```$"
    parts = re.findall(pattern, page.read_text(), re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in parts]


def prose(page):
    """Return a page without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(page):
    """Yield every command line of the shell blocks, without variables before the command."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if words:
                yield words


def created(page):
    """Return the modules that the reader of a page writes: each is named just before its code."""
    return set(re.findall(r"`([\w./]+\.py)`[^`]*\n\n```python", page.read_text()))


COMMANDS = [(page, words) for page in PAGES for words in commands(page)]
PYTHON = [(page, text) for page in PAGES for text in blocks(page, "python")]


# ------------------------------------------------------------------------------------------- links


def anchors(page):
    """Yield the names of a page's headings, as a link spells them."""
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_link_targets_exist(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.is_file(), f"{label(page)} links to {target}"
        assert not anchor or anchor in anchors(path), f"{label(page)} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_named_files_exist(page):
    for name in set(re.findall(r"`([\w./-]+/[\w./-]*)`", prose(page))) - created(page):
        if name.split("/")[0] in FOLDERS and not re.search(r"\b(test_)?N(AME)?\.", name):
            assert (ROOT / name).exists(), f"{label(page)} names {name}"


def test_every_page_can_be_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen:
            seen.add(page)
            targets = re.findall(r"\]\(([^)#\s]+\.md)[)#]", prose(page))
            waiting += [(page.parent / t).resolve() for t in targets if not t.startswith("http")]
    assert seen >= set(PAGES) - {ROOT / "CHANGELOG.md"}


# ---------------------------------------------------------------------------------------- commands


def test_there_are_commands_and_code_to_check():
    used = {words[1] for _, words in COMMANDS if words[0] == "dentalzoo"}
    assert used >= {"train", "evaluate", "predict", "export", "verify", "check", "list"}
    assert len(PYTHON) > 5


@pytest.mark.parametrize(
    ("page", "words"),
    [pytest.param(page, words, id=f"{label(page)}: {' '.join(words)}") for page, words in COMMANDS],
)
def test_command_lines_are_valid(page, words):
    if words[0] == "dentalzoo":
        options = parse(words[1:])
        papers = {Path(file).parent.name for file in created(page)}
        if words[1] == "train" and options.name not in papers:
            given = dict(pair.split("=", 1) for pair in options.set)
            registry.configure(options.name, options.variant, **given)
    elif words[0] == "make":
        known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(known)
    elif words[0] == "docker":
        stages = re.findall(r"^FROM .* AS ([\w-]+)$", (ROOT / "Dockerfile").read_text(), re.M)
        if words[1] == "build":
            assert words[words.index("--target") + 1] in stages
        else:
            image = next(i for i, word in enumerate(words) if re.match(r"dentalzoo(:|$)", word))
            parse(words[image + 1 :])
    else:
        assert words[0] in ("pip", "sha256sum", "git", "rm", "python", "clean/bin/python")
        for script in re.findall(r"\btools/\S+", " ".join(words)):
            assert (ROOT / script).is_file(), script


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_commands_within_sentences_exist(page):
    known = set(subparsers_of(make_parser()))
    assert set(re.findall(r"`dentalzoo ([a-z][a-z-]*)", prose(page))) <= known


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_make_targets_exist(page):
    known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([a-z-]+)`", page.read_text())) <= set(known)


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_environment_variables_and_extras_exist(page):
    text = page.read_text()
    sources = [*(ROOT / "dentalzoo").rglob("*.py"), *(ROOT / "examples").glob("*.py")]
    sources += [ROOT / "tests" / "conftest.py", *(ROOT / "tests" / "peers").glob("*.py")]
    code = "\n".join(path.read_text() for path in sources)
    for name in set(re.findall(r"\bDENTALZOO_[A-Z_]+", text)):
        assert f'"{name}"' in code, name
    extras = (ROOT / "setup.cfg").read_text().partition("[options.extras_require]")[2]
    for names in re.findall(r"(?:dentalzoo|\.)\[([\w,-]+)\]'", text):
        for name in names.split(","):
            assert f"\n{name} =\n" in extras, name


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_tests_that_a_page_names_exist(page):
    for file, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text()):
        assert re.search(rf"^ *def {test}\(", (ROOT / file).read_text(), re.MULTILINE), (file, test)


def test_the_page_on_reliability_names_a_test_for_every_fault():
    rows = re.findall(
        r"^\| (\d+) \|(.*)$", (ROOT / "docs" / "reliability.md").read_text(), re.MULTILINE
    )
    assert [int(number) for number, _ in rows] == list(range(1, 26))
    assert all("::test_" in row for _, row in rows)


# -------------------------------------------------------------------------------------------- code


@pytest.mark.parametrize(
    ("page", "text"),
    [pytest.param(page, text, id=f"{label(page)}-{i}") for i, (page, text) in enumerate(PYTHON)],
)
def test_python_blocks_compile(page, text):
    entry = text.startswith(" ")  # of a table
    compile(f"table = {{\n{text}}}" if entry else text, label(page), "exec")


RUNNER = """
import shlex, sys
from dentalzoo.cli import main
scope = {"__name__": "page"}
for block in sys.stdin.read().split("\\0"):
    language, _, text = block.partition("\\n")
    print(">>>", text.strip(), file=sys.stderr)
    if language == "python":
        exec(text, scope)
    else:
        for line in text.splitlines():
            status = main(shlex.split(line)[1:])
            assert status == 0, (status, line)
"""


def run_blocks(parts, folder):
    """Run (language, text) blocks one after the other in one process, in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input="\0".join(f"{language}\n{text}" for language, text in parts),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_the_quickstart_runs(tmp_path):
    page = ROOT / "docs" / "quickstart.md"
    parts = re.findall(r"^```(sh|python)\n(.*?)^```$", page.read_text(), re.M | re.S)
    assert len(parts) > 8
    output = run_blocks(parts, tmp_path)
    assert "(256, 512, 1) (256, 512, 1) uint8 float32" in output
    assert "10 written to out/masks2, 0 failed" in output
    for name in (
        *("out/masks/0000_overlay.png", "out/evaluation/evaluation.png", "bundles/tiny"),
        *("out/teeth/samples.png", "out/superimposed/superimposed.png"),
    ):
        assert (tmp_path / name).exists(), name
    assert len((tmp_path / "runs" / "tiny" / "history.csv").read_text().splitlines()) == 1 + 4


@pytest.mark.slow
def test_the_readme_runs(tmp_path):
    parts = [("python", text) for text in blocks(ROOT / "README.md", "python")]
    run_blocks(parts, tmp_path)
    assert (tmp_path / "out" / "synthetic" / "0000_overlay.png").is_file()
    assert (tmp_path / "runs" / "tiny" / "bundle" / "metadata.json").is_file()


@pytest.mark.slow
def test_the_five_lines_of_the_readme_and_the_file_in_a_server_run(tmp_path):
    (lines,) = [text for text in blocks(ROOT / "README.md", "sh") if "synthetic --count 3" in text]
    lines = re.sub(r" *#.*", "", lines)
    assert len(lines.splitlines()) == 5
    run_blocks([("sh", lines)], tmp_path)
    assert (tmp_path / "out" / "teeth" / "0002_overlay.png").is_file()
    assert (tmp_path / "out" / "numbers" / "0002_overlay.png").is_file()
    assert list((tmp_path / "out" / "charts").rglob("*.html"))

    # in place of the export, which the tests of exporters do
    shutil.copytree(ROOT / "pretrained" / BUNDLE / "onnx", tmp_path / "unet_onnx")
    (tmp_path / "pretrained").symlink_to(ROOT / "pretrained")
    code = f"import sys; sys.path[0] = {str(tmp_path)!r}\n"
    text = "".join(blocks(ROOT / "docs" / "howto" / "server.md", "python"))
    end = "\nassert not any(name.startswith(('dentalzoo', 'tensorflow')) for name in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code + text + end], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, *teeth = done.stdout.splitlines()
    share = re.fullmatch(r"\(1, 512, 1024, 1\) (0\.\d+)", first)[1]
    assert 0.1 < float(share) < 0.4
    numbers = [re.fullmatch(r"([1-4][1-8]) (0\.\d+|1\.0) \[.*\]", line)[1] for line in teeth]
    assert len(set(numbers)) > 10


# ------------------------------------------------------------------------------------------ tables


def test_the_readme_has_the_current_zoo():
    shown = (ROOT / "README.md").read_text().split("<!-- zoo -->")[1].split("<!-- /zoo -->")[0]
    assert shown.strip() == registry.markdown_table(), "`make table` prints the current table"


def test_the_page_of_data_formats_has_every_format():
    text = (ROOT / "docs" / "data_formats.md").read_text()
    shown = text.split("<!-- formats -->")[1].split("<!-- /formats -->")[0]
    assert shown.strip() == formats.markdown_table(), "`make table` prints the current table"


@pytest.mark.parametrize("name", registry.ZOO)
def test_the_model_card_has_every_variant_and_every_release(name):
    card = (ROOT / "docs" / "models" / f"{name}.md").read_text()
    for variant in registry.info(name)["variants"]:
        assert f"| `{variant}` |" in card
    for bundle in registry.info(name)["pretrained"]:
        assert f"`{bundle}`" in card
        assert "{{" not in card, "the metrics of a release are missing"
    assert "not for diagnosis" in card.lower()


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_only_a_model_card_may_lack_metrics(page):
    if page.parent.name != "models":
        assert "{{" not in page.read_text()


def test_the_dice_values_of_the_questions():
    from dentalzoo.ops.scores import scores_of_counts

    values = scores_of_counts([90, 1, 91], [10, 1, 11], [10, 1, 11], 0)["dice"]
    text = (ROOT / "docs" / "faq.md").read_text()
    for value in (values[0], values[1], values[:2].mean(), values[2]):
        assert f"{value:.3f}" in text
