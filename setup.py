"""Adds the released bundles to setup.cfg: pretrained/ -> <prefix>/share/dentalzoo/pretrained/."""

from collections import defaultdict
from pathlib import Path

from setuptools import setup

bundles = defaultdict(list)
for file in sorted(path for path in Path("pretrained").rglob("*") if path.is_file()):
    bundles[f"share/dentalzoo/{file.parent.as_posix()}"].append(file.as_posix())

setup(data_files=list(bundles.items()))
