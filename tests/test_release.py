"""The scripts of a release, the workflows and the forms for issues."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dentalzoo

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def tool(name):
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def file_name(path):
    return path.name


# ---- lowest versions -----------------------------------------------------------------------------


def test_the_lowest_versions_are_within_the_bounds_and_complete():
    lowest = tool("lowest_versions")
    pins = [Requirement(line) for line in lowest.constraints(ROOT / "setup.cfg")]
    pins = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    declared = [Requirement(line) for line in lowest.requirements(ROOT / "setup.cfg")]
    declared = [one for one in declared if one.name != "dentalzoo"]
    assert {canonicalize_name(one.name) for one in declared} == set(pins)
    for one in declared:
        assert one.specifier.contains(pins[canonicalize_name(one.name)]), one


CFG = """
[metadata]
name = mine
[options]
install_requires =
    # a comment
    Some_Thing [extra] >=1.2,<2
    old ==3.0.1; python_version < "3.12"
[options.extras_require]
{}
"""


def test_what_constraints_look_like(tmp_path, capsys):
    path = tmp_path / "setup.cfg"
    path.write_text(CFG.format("a =\n    some-thing >=1.2\nall =\n    mine[a]\n"))
    assert tool("lowest_versions").main([str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        'old==3.0.1 ; python_version < "3.12"',
        "some-thing==1.2",
    ]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("other", "must have one lower bound, >= or ==. Received: other"),
        ("other <2", "must have one lower bound, >= or ==. Received: other <2"),
        ("other >=1,>=2", "must have one lower bound, >= or ==. Received: other >=1,>=2"),
        ("some.thing >=1.3", "some-thing must have the same lower bound everywhere."),
    ],
)
def test_a_missing_or_contradicting_bound_is_one_line(tmp_path, capsys, extra, message):
    path = tmp_path / "setup.cfg"
    path.write_text(CFG.format(f"a =\n    {extra}\n"))
    assert tool("lowest_versions").main([str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_a_missing_file_is_one_line(tmp_path, capsys):
    assert tool("lowest_versions").main([str(tmp_path / "none.cfg")]) == 2
    assert "the configuration file must exist" in capsys.readouterr().err


# ---- release notes -------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path):
    """A folder with the three files that name the version."""
    (tmp_path / "dentalzoo").mkdir()
    (tmp_path / "dentalzoo" / "__init__.py").write_text('__version__ = "0.3.0"\n')
    (tmp_path / "CITATION.cff").write_text("version: 0.3.0\ndate-released: 2026-01-02\n")
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased]\n\n- later\n\n## [0.3.0] - 2026-01-02\n\n### Added\n\n"
        "- one\n\n## [0.2.0] - 2026-01-01\n\n- two\n"
    )
    return tmp_path


def test_the_notes_are_the_section_of_the_version(checkout):
    notes = tool("release_notes").release_notes("v0.3.0", checkout)
    assert notes == "### Added\n\n- one\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("dentalzoo/__init__.py", "0.3.0", "0.4.0", "__init__.py must have the version of v0.3.0"),
        ("CITATION.cff", "0.3.0", "0.2.0", "CITATION.cff must have the version of v0.3.0"),
        ("CITATION.cff", "01-02", "01-03", "CITATION.cff must have the date 2026-01-02"),
        ("CHANGELOG.md", "[0.3.0]", "[0.2.9]", "CHANGELOG.md must have the version of v0.3.0"),
        ("CHANGELOG.md", "] - 2026", "] 2026", "CHANGELOG.md must have a section"),
    ],
)
def test_files_that_disagree_are_named(checkout, file, old, new, message):
    path = checkout / file
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=re.escape(message)):
        tool("release_notes").release_notes("v0.3.0", checkout)


def test_the_repository_agrees_with_itself(capsys):
    assert tool("release_notes").main([f"v{dentalzoo.__version__}"]) == 0
    assert capsys.readouterr().out.startswith("### ")


@pytest.mark.parametrize("tag", ["0.1.0", "v0.1", "v0.1.0rc1", "v99.0.0"])
def test_a_tag_that_is_not_the_version_is_one_line(tag, capsys):
    assert tool("release_notes").main([tag]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


# ---- the built files -----------------------------------------------------------------------------


def test_the_checkout_is_not_taken_for_an_installation(capsys):
    assert tool("check_installed").main([dentalzoo.__version__]) == 2
    assert "must" in capsys.readouterr().err


@pytest.mark.slow
def test_the_wheel_has_the_type_marker_and_every_bundle(tmp_path):
    # a copy: building leaves folders beside setup.cfg
    names = ["setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"]
    for name in names:
        shutil.copy(ROOT / name, tmp_path / name)
    skipped = shutil.ignore_patterns("__pycache__")
    for name in ("dentalzoo", "pretrained"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skipped)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel('.')"
    done = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 100_000_000  # the limit of the package index
    shutil.unpack_archive(wheel, tmp_path / "unpacked", "zip")
    assert (tmp_path / "unpacked" / "dentalzoo" / "py.typed").is_file()
    (shared,) = (tmp_path / "unpacked").glob("*.data/data/share/dentalzoo/pretrained")
    for bundle in (ROOT / "pretrained").iterdir():
        assert dentalzoo.verify(shared / bundle.name)["files"] > 3


# ---- workflows and forms -------------------------------------------------------------------------


def load(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=file_name)
def test_workflows_may_read_and_no_more_unless_a_job_says_so(path):
    workflow = load(path)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for name, job in workflow["jobs"].items():
        assert "timeout-minutes" in job or "uses" in job, name
        for needed in [job.get("needs", [])]:
            assert set([needed] if isinstance(needed, str) else needed) <= set(workflow["jobs"])
        for step in job.get("steps", []):
            for script in re.findall(r"\btools/\S+", step.get("run", "")):
                assert (ROOT / script).is_file(), script
            # what an outsider can name must reach a shell as a variable, not as its text
            assert not re.search(r"\$\{\{ *(github\.(event|ref|head)|needs)", step.get("run", ""))


def test_only_two_jobs_of_a_release_can_write_and_they_come_last():
    jobs = load(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    writing = {
        name: job["permissions"]
        for name, job in jobs.items()
        if "write" in job.get("permissions", {}).values()
    }
    assert writing == {"index": {"id-token": "write"}, "github": {"contents": "write"}}
    assert set(jobs["index"]["needs"]) == set(jobs) - set(writing)
    assert jobs["github"]["needs"] == "index"
    assert jobs["index"]["environment"] == "pypi"
    assert "ref_type == 'tag'" in jobs["index"]["if"]


def test_ci_installs_the_lowest_versions():
    steps = load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["lowest-versions"]["steps"]
    runs = " ".join(step.get("run", "") for step in steps)
    assert "tools/lowest_versions.py >lowest.txt" in runs and "--constraint lowest.txt" in runs


@pytest.mark.parametrize("path", [p for p in FORMS if p.name != "config.yml"], ids=file_name)
def test_forms_warn_of_patient_data_and_ask_to_confirm(path):
    form = load(path)
    assert form["name"] and form["description"]
    first, *_, last = form["body"]
    assert "Do not attach patient images" in first["attributes"]["value"]
    (option,) = last["attributes"]["options"]
    assert option["required"] and "no patient images" in option["label"]
    for part in form["body"]:
        assert part["type"] in ("markdown", "input", "textarea", "checkboxes")
        assert part["type"] == "markdown" or part["id"]


def test_there_are_forms_and_a_template_that_warn():
    assert {p.name for p in FORMS} >= {"bug_report.yml", "wrong_result.yml", "config.yml"}
    assert load(ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml") == {
        "blank_issues_enabled": False
    }
    template = (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8")
    assert "No patient images" in template
