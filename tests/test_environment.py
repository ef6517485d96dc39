"""Settings of Keras in the process, its variables and keras.json: overridden, or refused first."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from unittest import mock

import keras
import pytest

import dentalzoo as dz
from dentalzoo.cli import main
from dentalzoo.environment import is_offline, light_start, no_downloads_offline, prepare_keras
from tests.zoo_case import RELEASED

_BUILD = """
import logging
logging.basicConfig(format="%(message)s")
import dentalzoo as dz
from dentalzoo.cli import main
model = dz.build("tooth_vae", "tiny")
import keras
print(keras.backend.backend(), keras.config.floatx(), keras.config.image_data_format(),
      model.weights[0].dtype)
"""
_TRAIN = """
import logging
logging.basicConfig(format="%(message)s")
from dentalzoo.environment import is_offline, no_downloads_offline, prepare_keras
prepare_keras()
import keras
import tensorflow as tf
assert tf.keras.__version__ == keras.__version__
print(keras.backend.backend(), keras.config.floatx(), keras.config.image_data_format(),
      keras.config.epsilon(), keras.config.max_epochs())
"""


def run(code, home, content=None, **variables):
    if content is not None:
        (home / ".keras").mkdir()
        text = content if isinstance(content, str) else json.dumps(content)
        (home / ".keras" / "keras.json").write_text(text)
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3", **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "variables", "said"),
    [
        (None, {"KERAS_BACKEND": "torch"}, "KERAS_BACKEND=torch is not used"),
        (None, {"KERAS_BACKEND": "jax", "KERAS_MAX_EPOCHS": "1"}, "max_epochs of Keras is not"),
        (None, {"TF_USE_LEGACY_KERAS": "1"}, "TF_USE_LEGACY_KERAS is not used"),
        ({"backend": "theano", "image_data_format": "channels_first"}, {}, "channels_first"),
        ({"floatx": "float16", "epsilon": 1e-3}, {}, "floatx of Keras is not used: float16"),
    ],
)
def test_settings_are_overridden_where_the_zoo_imports_keras(tmp_path, content, variables, said):
    done = run(_TRAIN, tmp_path, content, **variables)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["tensorflow", "float32", "channels_last", "1e-07", "None"]
    assert said in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "variables"),
    [("{", {}), ({"backend": "torch"}, {"KERAS_BACKEND": "nonsense"})],
)
def test_what_keeps_keras_from_its_import_is_one_line(tmp_path, content, variables):
    done = run(_BUILD, tmp_path, content, **variables)
    if done.returncode:
        assert "dentalzoo.errors.DentalzooError: Keras must be importable" in done.stderr
    else:
        assert "float32 channels_last float32" in done.stdout


@pytest.mark.slow
def test_a_command_line_says_it_in_one_line_and_goes_on(tmp_path):
    code = "import sys; from dentalzoo.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [
            *(sys.executable, "-c", code, "train", "tooth_vae", "--variant", "tiny"),
            *("--data", str(tmp_path / "absent"), "--out", str(tmp_path / "run")),
        ],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[0].startswith("KERAS_BACKEND=torch is not used")


@pytest.fixture
def restored():
    before = keras.config.floatx(), keras.config.image_data_format()
    yield
    keras.config.set_floatx(before[0])
    keras.config.set_image_data_format(before[1])


@pytest.mark.usefixtures("restored")
def test_settings_of_a_process_that_imported_keras_are_refused(tmp_path):
    keras.config.set_floatx("float16")
    with pytest.raises(dz.DentalzooError, match=r"set_floatx\('float32'\). Received: float16"):
        dz.train("tooth_vae", tmp_path, tmp_path / "run", "tiny")
    assert not (tmp_path / "run").exists()
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_first")
    with pytest.raises(dz.DentalzooError, match="must be channels_last"):
        dz.build("tooth_vae", "tiny")
    keras.config.set_image_data_format("channels_last")
    prepare_keras()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "variables", "said"),
    [
        (None, {"KERAS_BACKEND": "Tensorflow"}, "KERAS_BACKEND=Tensorflow is not used"),
        ({"floatx": "float99"}, {}, "Keras must be importable"),
        ({"backend": "theano"}, {}, "imported"),
    ],
)
def test_tensorflow_is_imported_with_any_settings(tmp_path, content, variables, said):
    code = """
import logging
logging.basicConfig(format="%(message)s")
from dentalzoo.environment import prepare_tensorflow
from dentalzoo.errors import DentalzooError
try:
    prepare_tensorflow()
    import tensorflow
    print("imported")
except DentalzooError as error:
    print(error)
"""
    result = run(code, tmp_path, content, **variables)
    assert result.returncode == 0, result.stderr[-800:]
    assert said in result.stdout + result.stderr


# ---- offline -------------------------------------------------------------------------------------


def test_offline_nothing_is_downloaded(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("content")
    before = urllib.request.build_opener()
    urllib.request.install_opener(before)
    try:
        for value, refuses in (("1", True), ("0", False), ("", False)):
            monkeypatch.setenv("DENTALZOO_OFFLINE", value)
            with no_downloads_offline():
                assert (urllib.request._opener is not before) == refuses
                if refuses:
                    with pytest.raises(urllib.error.URLError, match="DENTALZOO_OFFLINE forbids"):
                        urllib.request.urlretrieve("https://localhost/x", tmp_path / "x")
            assert urllib.request._opener is before
    finally:
        urllib.request.install_opener(None)


@pytest.mark.parametrize("before", [None, "0", "1"])
def test_the_flag_is_the_variable_while_the_command_runs(monkeypatch, before):
    monkeypatch.delenv("DENTALZOO_OFFLINE", raising=False)
    if before is not None:
        monkeypatch.setenv("DENTALZOO_OFFLINE", before)
    seen = []
    monkeypatch.setattr("dentalzoo.commands.do_list", lambda options: seen.append(is_offline()))
    assert main(["list", "--offline"]) == main(["list"]) == 0
    assert seen == [True, before == "1"] and os.environ.get("DENTALZOO_OFFLINE") == before


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")  # another size than ImageNet's
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("panoramic_unet", {"variant": "light"}),
        pytest.param(
            "panoramic_detection", {"variant": "ssd_mobilenet_v1_fpn"}, marks=pytest.mark.slow
        ),
        ("jaw_reconstruction", {"encoder": "mobilenet_v2", "image_size": 224}),
    ],
)
def test_offline_weights_of_imagenet_are_refused_in_one_line(name, settings, monkeypatch, tmp_path):
    monkeypatch.setenv("DENTALZOO_OFFLINE", "1")
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(dz.DentalzooError, match="DENTALZOO_OFFLINE forbids downloads") as caught:
        dz.build(name, encoder_weights="imagenet", **settings)
    assert "\n" not in str(caught.value) and "--encoder-weights none" in str(caught.value)


@pytest.mark.parametrize(
    ("package", "refused", "given"),
    [
        ("sklearn", "keras.src.wrappers.fixes", "keras.src.layers"),
        ("pandas", "keras.src.trainers.data_adapters.array_slicing", "albumentations"),
        ("jax", "tensorflow.lite.python.util", "keras.src.backend.jax"),
    ],
)
def test_a_light_start_refuses_packages_to_few_modules_alone(
    package, refused, given, tmp_path, monkeypatch
):
    (tmp_path / f"{package}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.meta_path)
    with mock.patch.dict(sys.modules):
        sys.modules.pop(package, None)
        with light_start():
            with pytest.raises(ImportError):
                exec(f"import {package}", {"__name__": refused})
            assert package not in sys.modules
            exec(f"import {package}", {"__name__": given})
            exec(f"import {package}", {"__name__": refused})  # someone has imported it
        del sys.modules[package]
        exec(f"import {package}", {"__name__": refused})
    assert sys.meta_path == before


_COMMAND = """
import sys
from dentalzoo.cli import main
status = main()
assert "keras" in sys.modules
print([name for name in ("jax", "pandas", "sklearn") if name in sys.modules])
try:
    import sklearn.base
    print(sklearn.base.BaseEstimator.__name__)
except ModuleNotFoundError as error:
    print(error.name)
sys.exit(status)
"""


@pytest.mark.slow
def test_predict_imports_neither_scikit_learn_nor_pandas_nor_jax(phantoms, tmp_path):
    path = RELEASED / "panoramic_unet.panoramic_teeth_v2"
    image = next((phantoms / "images").iterdir())
    command = ["predict", str(path), str(image), "--runtime", "tensorflow"]
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, *command, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    written, *modules = done.stdout.splitlines()
    assert written.startswith("1 written") and modules[0] == "[]"
    assert modules[1] in ("BaseEstimator", "sklearn")  # the latter where it is not installed
