"""What every test shares: a quiet TensorFlow, the options and four fixtures."""

import logging
import os
import shutil
from pathlib import Path

import pytest

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # or its import asks the network for news
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["MPLBACKEND"] = "Agg"
# As many processes as processors: threads beside them, which wait by spinning, cost a fifth.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# XLA's program is the same; its machine code, which runs once or twice, is made in half the time.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write tests/golden/*.json from what the models compute now",
    )


@pytest.fixture(scope="session")
def update_golden(request) -> bool:
    """True when the golden files are to be written rather than compared."""
    return request.config.getoption("--update-golden")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets that DENTALZOO_DATA names; the test is skipped without it."""
    folder = os.environ.get("DENTALZOO_DATA")
    if not folder:
        pytest.skip("DENTALZOO_DATA names no folder of real data")
    return Path(folder)


@pytest.fixture(autouse=True)
def _log_level():
    """The command line shows more of the log, for its process; the next test begins anew."""
    yield
    logging.getLogger("dentalzoo").setLevel(logging.NOTSET)


@pytest.fixture(scope="session", autouse=True)
def _two_logical_cpus(request):
    """Splits the CPU before the first test: once TensorFlow has started it is too late."""
    if any("mirrored" in getattr(item, "fixturenames", ()) for item in request.session.items):
        import tensorflow as tf

        cpu, half = (
            tf.config.list_physical_devices("CPU")[0],
            tf.config.LogicalDeviceConfiguration(),
        )
        tf.config.set_logical_device_configuration(cpu, [half, half])


@pytest.fixture(scope="session")
def mirrored(_two_logical_cpus):
    """The one MirroredStrategy of the process, over two logical CPUs; a second one would fail."""
    from dentalzoo.training.distribute import strategy

    found = strategy("mirrored")
    assert found.num_replicas_in_sync == 2
    return found


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> Path:
    """A data set of 10 small panoramic phantoms with masks, 7 for training and 3 for validation."""
    from dentalzoo.data.synthetic import write_panoramic_dataset

    folder = tmp_path_factory.mktemp("phantoms") / "radiographs"
    return write_panoramic_dataset(folder, 10, 0, 128, 256, val_fraction=0.3)


@pytest.fixture(scope="session")
def run(request, tmp_path_factory, phantoms) -> Path:
    """The folder of a finished run: `tiny` on the phantoms. Not to be changed.

    Of several processes of pytest-xdist the first that needs it trains; each has a copy.
    """
    import dentalzoo as dz
    from dentalzoo.locks import lock

    folder, base = tmp_path_factory.mktemp("run") / "tiny", tmp_path_factory.getbasetemp()
    shared = (base.parent if hasattr(request.config, "workerinput") else base) / "shared-run"
    with open(f"{shared}.lock", "w") as handle:
        lock(handle)
        if shared.exists():
            return shutil.copytree(shared, folder)
        dz.train("panoramic_unet", phantoms, folder, "tiny")
        shutil.copytree(folder, shared)
    return folder


@pytest.fixture(scope="session")
def bundle(run):
    """The loaded bundle of `run`."""
    import dentalzoo as dz

    return dz.load(run)


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory):
    """An autoencoder's bundle, written anew in seconds: for what no model is special in."""
    import dentalzoo as dz

    folder = tmp_path_factory.mktemp("small") / "bundle"
    return dz.export(dz.build("tooth_vae", "tiny", filters=(32, 64)), folder, "tooth_vae")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """What was logged of file names that are no text can be sent to the process that reports."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report
