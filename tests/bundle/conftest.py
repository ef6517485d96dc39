"""Shared by the tests of bundles: a copy of one that a test may damage."""

import shutil

import pytest


@pytest.fixture
def copy(bundle, tmp_path):
    """The folder of a copy of the bundle."""
    return shutil.copytree(bundle.path, tmp_path / "copy")
