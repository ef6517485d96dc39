"""The layout of the repository, executed: what may import what, and what belongs to each paper."""

import ast
import re
import resource
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import dentalzoo
from dentalzoo.registry import ZOO

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "dentalzoo"
MODULES = sorted(PACKAGE.rglob("*.py"))
LINES = 450
MEGABYTE = 1_000_000

# A paper's file stands on these, and these stand on no paper.
GROUND = (
    "data",
    "ops",
    "layers",
    "losses",
    "metrics",
    "vae",
    "hub",
    "archives",
    "errors",
    "config",
    "files",
    "folders",
)
FOR_PAPERS = tuple(name for name in GROUND if name != "archives")


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Every module that the file imports, at the top or inside a function."""
    package = name_of(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            if base in ("dentalzoo", "dentalzoo.models"):
                yield from (f"{base}.{alias.name}" for alias in node.names)
            else:
                yield base


def own_imports(path):
    return [name for name in imports(path) if name.split(".")[0] == "dentalzoo"]


def repository():
    """The files of the repository, those included that the next commit would add."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for path in map(ROOT.joinpath, listed.stdout.split("\0")) if path.is_file()]


def setup_cfg():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config


# ---- dependencies --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((PACKAGE / "models").rglob("*.py")), ids=name_of)
def test_a_paper_imports_only_the_ground(path):
    paper = ".".join(name_of(path).split(".")[:3])
    for name in own_imports(path):
        within = name == paper or name.startswith(paper + ".")
        assert within or name.split(".")[1] in FOR_PAPERS, f"{name_of(path)} imports {name}"


@pytest.mark.parametrize(
    "path",
    [p for p in MODULES if p.relative_to(PACKAGE).parts[0].split(".")[0] in GROUND],
    ids=name_of,
)
def test_the_ground_imports_only_the_ground(path):
    for name in own_imports(path):
        assert name.split(".")[1] in GROUND, f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_registry_knows_the_papers(path):
    if "models" not in path.relative_to(PACKAGE).parts:
        assert not [name for name in own_imports(path) if name.startswith("dentalzoo.models")]


def test_what_is_imported_is_declared():
    options = setup_cfg()
    extras = dict(options["options.extras_require"])
    declared = [options["options"]["install_requires"], *extras.values()]
    lines = [line for text in declared for line in text.splitlines() if not line.startswith("#")]
    declared = {re.split(r"[^\w.-]", line)[0].lower() for line in lines}
    known = packages_distributions()
    for path in MODULES:
        for top in {name.split(".")[0] for name in imports(path)}:
            if top not in sys.stdlib_module_names and top != "dentalzoo":
                owners = {owner.lower() for owner in known.get(top, [top])}
                assert owners & declared, f"{name_of(path)} imports {top}; setup.cfg lacks it"


def test_the_extras_that_errors_name_exist():
    extras = set(setup_cfg()["options.extras_require"])
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
                assert ast.literal_eval(node.args[1]) in extras, f"{name_of(path)}:{node.lineno}"


# ---- the papers ----------------------------------------------------------------------------------


def test_the_registry_is_the_folder():
    found = {p.stem for p in (PACKAGE / "models").iterdir() if p.stem[0].isalpha()}
    assert found == set(ZOO)
    assert {name: entry.module for name, entry in ZOO.items()} == {
        name: f"dentalzoo.models.{name}" for name in ZOO
    }


@pytest.mark.parametrize(
    "form",
    [
        "tests/models/test_{}.py",
        "tests/golden/{}.json",
        "docs/models/{}.md",
    ],
)
def test_every_paper_has_its_files_and_no_other_has(form):
    folder, pattern = (ROOT / form).parent, (ROOT / form).name
    assert {p.name for p in folder.glob(pattern.format("*"))} == {pattern.format(n) for n in ZOO}


@pytest.mark.parametrize("name", ZOO)
def test_every_paper_has_its_example(name):
    assert (ROOT / "examples" / f"{name}.py").is_file()


# ---- size and style ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_are_short_and_named_after_what_they_hold(path):
    assert len(path.read_text().splitlines()) <= LINES
    assert path.stem not in ("utils", "util", "common", "helpers", "misc")


def test_nothing_is_left_to_do():
    word = re.compile("TO" + "DO|FIX" + "ME|XX" + "X")
    for path in repository():
        if path.suffix in (".py", ".md", ".cfg", ".toml", ".yml", ".yaml", ".sh", ".cff"):
            assert not word.search(path.read_text()), path


def test_large_files_are_released_bundles():
    for path in repository():
        if path.stat().st_size > MEGABYTE:
            folders = path.relative_to(ROOT).parts
            assert folders[0] == "pretrained", path
            assert path.name in (ROOT / folders[0] / folders[1] / "SHA256SUMS").read_text(), path


def test_one_version():
    version = dentalzoo.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    newest = re.search(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == version


# ---- nothing heavy until it is needed ------------------------------------------------------------

LIGHT = {
    "import dentalzoo": "import dentalzoo",
    "dentalzoo list": "import dentalzoo.cli, sys; dentalzoo.cli.main(['list'])",
    "dentalzoo --help": "import dentalzoo.cli, sys; dentalzoo.cli.main(['--help'])",
}


@pytest.mark.parametrize("case", LIGHT)
def test_light(case):
    heavy = ("tensorflow", "keras", "numpy", "cv2", "PIL", "matplotlib")
    code = f"""
import sys
try:
    {LIGHT[case]}
except SystemExit as stop:
    assert not stop.code
print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert (done.returncode, done.stderr) == (0, "[]\n")
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.3


def test_no_public_name_hides_behind_a_module():
    """Importing `dentalzoo.x` would replace the function `dz.x`."""
    public = {name for name in vars(dentalzoo) if not name.startswith("_")}
    functions = {name for name in public if not isinstance(getattr(dentalzoo, name), type(sys))}
    assert not functions & {path.stem for path in PACKAGE.iterdir()}
