"""The Dockerfile, the conda recipe and the workflows: linted, and in agreement with setup.cfg."""

import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

import dentalzoo
from dentalzoo.doctor import PYTHON

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
RECIPE = ROOT / "conda" / "recipe.yaml"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MODELS = [path.parent for path in (ROOT / "dentalzoo" / "models").glob("*/network.py")]
# What conda-forge calls what PyPI calls otherwise: the package matplotlib there brings Qt.
CONDA_NAMES = {"matplotlib": "matplotlib-base"}

CFG = ConfigParser()
CFG.read(ROOT / "setup.cfg", encoding="utf-8")


def program(name):
    """The path of a program that the extra dev installs; the test is skipped without it."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    return found or pytest.skip(f"{name} is not installed (extra dev)")


def run(*words):
    done = subprocess.run(list(map(str, words)), cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def requirements(text):
    """Return {name: bounds} of the lines of a requirement list."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    pairs = [re.fullmatch(r"([\w.-]+)\s*(.*)", line) for line in lines if line]
    return {pair[1]: pair[2] for pair in pairs if pair}


# ---- the images ----------------------------------------------------------------------------------


def test_the_dockerfile_passes_its_linter():
    assert run(program("hadolint"), "Dockerfile") == (0, "")


def test_the_linter_would_say_something(tmp_path):
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM debian\nRUN cd /src\nRUN sudo apt-get install python3\n")
    status, text = run(program("hadolint"), bad)
    assert status == 1 and "DL3006" in text and "DL3004" in text


def test_both_images_run_the_command_as_a_user_without_rights():
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    stages = {re.search(r" AS ([\w-]+)", stage)[1]: stage for stage in stages}
    assert list(stages)[-1] == "runtime"  # what a build without --target makes
    for name in ("runtime", "full"):
        assert re.search(r"^USER [1-9]\d*$", stages[name], re.MULTILINE)
        assert '\nENTRYPOINT ["dentalzoo"]\n' in stages[name]
    assert "\nARG EXTRAS=runtime\n" in stages["builder-runtime"]
    assert "'.[all]'" in stages["builder-full"]


def test_the_full_image_has_the_system_libraries_of_the_setup():
    listed = re.search(r'libraries="([^"]+)"', (ROOT / "tools" / "setup.sh").read_text())[1]
    assert set(listed.split()) <= set(DOCKERFILE.split())


def test_all_that_the_package_is_built_of_is_sent_to_the_builder_and_no_more():
    sent = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    read = CFG["metadata"]["long_description"].removeprefix("file: ")
    needed = {"setup.cfg", "setup.py", "pyproject.toml", "dentalzoo", "pretrained", read}
    assert sent == needed | {CFG["metadata"]["license_files"]}
    assert all((ROOT / name).exists() for name in sent)


def test_ci_builds_and_runs_both_images():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    job = jobs["containers"]
    assert job["strategy"]["matrix"]["target"] == ["runtime", "full"]
    runs = "\n".join(step.get("run", "") for step in job["steps"])
    assert "docker build --target" in runs and "dentalzoo doctor" in runs
    assert "dentalzoo predict" in runs


# ---- conda ---------------------------------------------------------------------------------------


@pytest.fixture
def recipe():
    text = RECIPE.read_text(encoding="utf-8")
    return yaml.safe_load(text)


def test_the_recipe_has_the_version_the_licence_and_the_command(recipe):
    assert recipe["context"]["version"] == dentalzoo.__version__
    assert recipe["about"]["license"] == CFG["metadata"]["license"]
    assert recipe["about"]["summary"] in CFG["metadata"]["description"]
    scripts = CFG["options.entry_points"]["console_scripts"].split("\n")
    assert recipe["build"]["python"]["entry_points"] == [line for line in scripts if line]


def test_the_recipe_needs_what_setup_cfg_needs(recipe):
    needed = requirements("\n".join(recipe["requirements"]["run"]))
    assert needed.pop("python") == CFG["options"]["python_requires"]
    declared = requirements(CFG["options"]["install_requires"])
    assert needed == {CONDA_NAMES.get(name, name): bounds for name, bounds in declared.items()}


def test_the_recipe_bounds_the_extras_as_setup_cfg_does(recipe):
    declared = {}
    for text in CFG["options.extras_require"].values():
        declared |= requirements(text)
    bounded = requirements("\n".join(recipe["requirements"]["run_constraints"]))
    assert {"tensorflow", "keras", "pydicom"} <= set(bounded)
    assert bounded == {name: declared[name] for name in bounded}


def test_the_recipe_is_built_with_a_python_that_is_supported(recipe):
    (python,) = [line for line in recipe["requirements"]["host"] if line.startswith("python ")]
    version = tuple(map(int, re.search(r"(\d+)\.(\d+)\.\*", python).groups()))
    assert PYTHON[0] <= version <= PYTHON[1]


def test_the_recipe_renders():
    rattler_build = pytest.importorskip("rattler_build", reason="py-rattler-build (extra dev)")
    parsed = rattler_build.Stage0Recipe.from_file(str(RECIPE))
    (rendered,) = parsed.render(rattler_build.VariantConfig())
    package = rendered.recipe.to_dict()
    assert package["package"] == {"name": "dentalzoo", "version": dentalzoo.__version__}
    assert package["build"]["noarch"] == "python"
    assert package["build"]["string"].startswith("py")


# ---- extras --------------------------------------------------------------------------------------


def test_what_a_plain_install_has_is_in_no_extra_but_the_name_for_it():
    plain = requirements(CFG["options"]["install_requires"])
    assert "pycocotools" in plain  # data with polygons are checked and converted without an extra
    for name, text in CFG["options.extras_require"].items():
        if name not in ("runtime", "onnx"):  # names for ONNX Runtime, and what exports to it
            assert not plain.keys() & requirements(text).keys(), name


# ---- the top of the README -----------------------------------------------------------------------


def badge(name):
    return (ROOT / "docs" / "assets" / "badges" / f"{name}.svg").read_text(encoding="utf-8")


def test_the_badges_are_true():
    lines = CFG["metadata"]["classifiers"].splitlines()
    versions = [line.rpartition(" ")[2] for line in lines if "Python :: 3" in line]
    assert f">python: {' | '.join(versions)}</title>" in badge("python")
    assert f">licence: {CFG['metadata']['license']}</title>" in badge("licence")
    top = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n\n## ")[0]
    assert f"Python {', '.join(versions)}]" in top


def test_the_readme_shows_a_small_image_of_each_model():
    top = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n\n## ")[0]
    shown = [Path(file) for file in re.findall(r"!\[[^]]+\]\((\S+\.jpg)\)", top)]
    assert sorted(file.parent.name.split(".")[0] for file in shown) == sorted(
        path.name for path in MODELS
    )
    assert all((ROOT / file).stat().st_size < 300_000 for file in shown)


# ---- workflows -----------------------------------------------------------------------------------


def test_the_site_is_built_strictly_and_deployed_with_the_least_rights():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "docs.yml").read_text())["jobs"]
    runs = [step.get("run", "") for step in jobs["build"]["steps"]]
    assert (
        runs.index("make docs") < runs.index("make page") < runs.index("mv out/page out/site/page")
    )
    assert "mkdocs build --strict" in (ROOT / "Makefile").read_text()
    assert "permissions" not in jobs["build"]  # those of the workflow: to read
    assert jobs["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}
    assert jobs["deploy"]["needs"] == "build" and "refs/heads/main" in jobs["deploy"]["if"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_the_form_of_a_workflow(path):
    check = program("check-jsonschema")
    status, text = run(check, "--builtin-schema", "vendor.github-workflows", path)
    assert status == 0, text
