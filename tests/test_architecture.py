"""The layout of the repository, executed: what may import what, and what belongs to each paper."""

import ast
import re
import resource
import subprocess
import sys
from configparser import ConfigParser
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import dentalzoo
from dentalzoo.exporters import EXPORTERS
from dentalzoo.registry import ZOO
from dentalzoo.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "dentalzoo"
MODULES = sorted(PACKAGE.rglob("*.py"))
LINES = 450
MEGABYTE = 1_000_000

# A paper's package stands on these, and these stand on no paper, task or bundle.
GROUND = (
    "atomic",
    "config",
    "contracts",
    "data",
    "deprecation",
    "environment",
    "errors",
    "limits",
    "locks",
    "nn",
    "ops",
    "output_dirs",
)
# What each room above the ground may import besides the ground and itself.
ROOMS = {
    "plots": (),
    "exporters": (),
    "registry": (),
    "bundle": ("exporters", "registry"),
    "tasks": ("plots", "bundle"),
    "agreement": ("plots", "tasks"),
    "data_report": ("bundle", "plots", "tasks"),
    "dispatch": ("bundle", "tasks"),
    "serving": ("bundle", "plots", "tasks"),
    "archives": ("bundle", "dispatch", "tasks"),
    "comparing": ("bundle", "dispatch"),
    "charting": ("bundle", "data_report", "dispatch", "plots", "tasks"),
    "api": ("archives", "bundle", "comparing", "dispatch", "tasks"),
    "engines": (),
    "beam": ("api", "archives", "bundle", "engines", "tasks"),
    "training": ("api", "bundle", "registry"),
    "checking": ("registry",),
    "completion": ("registry",),
    "doctor": ("bundle",),
    "commands": (
        *("agreement", "api", "charting", "checking", "bundle", "data_report", "doctor"),
        *("engines", "serving"),
        *("registry", "tasks", "training"),
    ),
    "flags": ("tasks",),
    "cli": (
        "bundle",
        "charting",
        "commands",
        "completion",
        "engines",
        "exporters",
        "flags",
        "serving",
        "tasks",
        "training",
    ),
}
SHARED_BY_TASKS = (
    *("base", "options", "autoencoders", "calibration", "detector", "flips", "postprocessing"),
    *("predictor", "comparison", "familiarity", "image_lines", "projects", "scoring"),
    "tooth_order",
)


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


def room_of(name):
    """The first part below `dentalzoo`."""
    return name.split(".")[1] if "." in name else ""


def typing_only(path):
    """The lines of `if TYPE_CHECKING:` blocks, whose imports are not executed."""
    lines = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            lines |= set(range(node.lineno, node.end_lineno + 1))
    return lines


def executed_imports(path, top_level=False):
    """Modules of this package that the file imports when it runs; only at import if `top_level`."""
    skipped, package = typing_only(path), name_of(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    tree = ast.parse(path.read_text())
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom | ast.Import) or node.lineno in skipped:
            continue
        if top_level and id(node) in inside:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] == "dentalzoo":
                yield from [part for part in [name, name.rpartition(".")[0]] if part in BY_NAME][:1]


BY_NAME = {name_of(path): path for path in MODULES}


@pytest.mark.parametrize("path", sorted((PACKAGE / "models").rglob("*.py")), ids=name_of)
def test_a_paper_imports_only_the_ground(path):
    paper = ".".join(name_of(path).split(".")[:3])
    for name in executed_imports(path):
        within = name == paper or name.startswith(paper + ".")
        assert within or room_of(name) in GROUND, f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(name_of(p)) in GROUND], ids=name_of)
def test_the_ground_imports_only_the_ground(path):
    for name in executed_imports(path):
        assert room_of(name) in GROUND, f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(name_of(p)) in ROOMS], ids=name_of)
def test_a_room_imports_only_the_rooms_below_it(path):
    room = room_of(name_of(path))
    for name in executed_imports(path):
        allowed = (*GROUND, room, *ROOMS[room], "")
        assert room_of(name) in allowed, f"{name_of(path)} imports {name}"


def test_every_module_lies_in_a_known_room():
    rooms = {room_of(name) for name in BY_NAME} - {"", "__main__"}
    assert rooms == {*GROUND, *ROOMS, "models"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_registry_knows_the_papers(path):
    if "models" not in path.relative_to(PACKAGE).parts and name_of(path) != "dentalzoo.registry":
        assert not [name for name in own_imports(path) if name.startswith("dentalzoo.models")]


@pytest.mark.parametrize("path", sorted((PACKAGE / "tasks").rglob("*.py")), ids=name_of)
def test_no_task_imports_another(path):
    own = path.relative_to(PACKAGE / "tasks").parts[0]
    for name in own_imports(path):
        parts = name.split(".")
        if parts[1] == "tasks" and len(parts) > 2:
            assert parts[2] in (own, *SHARED_BY_TASKS), f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "data").rglob("*.py")), ids=name_of)
def test_inside_data_nothing_imports_upward(path):
    """Bytes below formats, formats below data sets."""
    below = {"io": ("io", "teeth"), "formats": ("formats", "io", "pipeline", "teeth")}
    own = path.relative_to(PACKAGE / "data").parts[0]
    for name in executed_imports(path) if own in below else ():
        parts = name.split(".")
        if parts[1] == "data" and len(parts) > 2:
            assert parts[2] in below[own], f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_private_names_stay_in_their_package(path):
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dentalzoo"):
            for alias in node.names:
                if alias.name.startswith("_") and not alias.name.startswith("__"):
                    assert node.module.startswith(package), f"{name_of(path)}: {alias.name}"


def test_modules_import_each_other_in_no_circle():
    graph = {
        name: set(executed_imports(path, top_level=True)) - {name} for name, path in BY_NAME.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_what_is_imported_is_declared():
    options = setup_cfg()
    extras = dict(options["options.extras_require"])
    declared = [options["options"]["install_requires"], *extras.values()]
    lines = [line for text in declared for line in text.splitlines() if not line.startswith("#")]
    declared = {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in lines}
    known = packages_distributions()
    for path in MODULES:
        for top in {name.split(".")[0] for name in imports(path)}:
            if top not in sys.stdlib_module_names and top != "dentalzoo":
                owners = {owner.lower().replace("_", "-") for owner in known.get(top, [top])}
                assert owners & declared, f"{name_of(path)} imports {top}; setup.cfg lacks it"


def test_extras_are_found_by_every_pip():
    """Metadata has hyphens, and pip before 23.3 looks for the very name that is typed."""
    assert not [name for name in setup_cfg()["options.extras_require"] if "_" in name]


def test_the_extras_that_errors_name_exist():
    extras = set(setup_cfg()["options.extras_require"])
    for exporter in EXPORTERS.values():
        assert set(exporter.PACKAGES.values()) <= extras, exporter.NAME
    for path in MODULES:
        if path.name == "converting.py":  # requires PACKAGES
            continue
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


@pytest.mark.parametrize("name", ZOO)
def test_every_paper_has_the_same_files(name):
    files = {path.name for path in (PACKAGE / "models" / name).glob("*.py")}
    assert files >= {"__init__.py", "config.py", "dataset.py", "network.py", "serving.py"}


def test_the_tasks_are_the_folder():
    folders = {
        path.name for path in (PACKAGE / "tasks").iterdir() if (path / "__init__.py").exists()
    }
    assert folders == set(TASKS)
    assert all(module == f"dentalzoo.tasks.{name}" for name, module in TASKS.items())
    assert {entry.task for entry in ZOO.values()} == set(TASKS)


def test_tests_mirror_the_package():
    for path in (ROOT / "tests").rglob("__init__.py"):
        folder = path.parent.relative_to(ROOT / "tests")
        assert (PACKAGE / folder).is_dir(), f"tests/{folder} tests no package"


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
    files = {p.name for p in folder.glob(pattern.format("*"))}
    assert files >= {pattern.format(name) for name in ZOO}
    for file in files:  # a further file of a paper begins with its name
        assert file.startswith(tuple(pattern.format(name).partition(".")[0] for name in ZOO)), file


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


def test_nothing_but_the_locks_needs_a_unix():
    unix = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
    found = {path.name for path in PACKAGE.rglob("*.py") if unix & set(imports(path))}
    assert found == {"locks.py"}


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
    assert min(seconds) < 0.6  # twice what it takes beside other programs


@pytest.mark.parametrize("name", ZOO)
def test_a_paper_and_its_task_are_imported_without_what_is_heavy(name):
    heavy = ("tensorflow", "tf_keras", "keras", "albumentations", "open3d", "scipy", "matplotlib")
    code = f"""
import importlib, sys
from dentalzoo import registry, tasks
registry.info({name!r})
importlib.import_module(tasks.TASKS[registry.ZOO[{name!r}].task])
print([name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_no_public_name_hides_behind_a_module():
    """Importing `dentalzoo.x` would replace the function `dz.x`."""
    public = {name for name in vars(dentalzoo) if not name.startswith("_")}
    functions = {name for name in public if not isinstance(getattr(dentalzoo, name), type(sys))}
    assert not functions & {path.stem for path in PACKAGE.iterdir()}
