"""The wheel carries all that an installation needs, its types among it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dentalzoo import registry

ROOT = Path(__file__).resolve().parents[1]

USE = """
import dentalzoo as dz

reveal_type(dz.load("panoramic_unet"))
reveal_type(dz.list_models())
dz.predict("panoramic_unet", "images", "out", threshold=0.4, overlay=True)
dz.predict("panoramic_unet", "images", "out", treshold=0.4)
dz.predict("panoramic_unet", "images", "out", threshold="high")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the repository's files by setuptools as it is here."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.split("\0"):
        source = ROOT / name
        if name and source.is_file() and name.split("/")[0] not in ("tests", "docs", "benchmarks"):
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "source" / name).write_bytes(source.read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*command, "-w", folder, folder / "source"], check=True, timeout=300)
    (made,) = folder.glob("dentalzoo-*.whl")
    return made


@pytest.mark.slow
def test_the_wheel_is_complete(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "dentalzoo/py.typed" in names
    assert "dentalzoo/tasks/reconstruction/viewer.html" in names
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "dentalzoo").rglob("*.py")}
    assert modules <= set(names)
    for name in registry.ZOO:
        for tag in registry.module_of(name).PRETRAINED:
            folder = f"share/dentalzoo/pretrained/{name}.{tag}"
            assert any(f"{folder}/saved_model/saved_model.pb" in entry for entry in names)


@pytest.mark.slow
def test_types_are_seen_from_outside(wheel, tmp_path):
    """mypy, in a project of its own, reads the types of an installed wheel and finds a mistake."""
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "-q", "--target", target]
    subprocess.run([*command, wheel], check=True, timeout=300)
    (tmp_path / "use.py").write_text(USE)
    (tmp_path / "mypy.ini").write_text("[mypy]\nignore_missing_imports = True\n")
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "use.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(target), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=600,
    )
    lines = [line for line in found.stdout.splitlines() if line.startswith("use.py")]
    assert 'Revealed type is "dentalzoo.bundle' in lines[0], found.stdout + found.stderr
    assert 'Revealed type is "list[str]"' in lines[1] or "builtins.list" in lines[1]
    errors = [line for line in lines if ": error:" in line]
    assert sorted({int(line.split(":")[1]) for line in errors}) == [7, 8], errors
    assert any('did you mean "threshold"' in line for line in errors), errors
