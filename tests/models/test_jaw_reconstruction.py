import dataclasses
import json

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.bundle.weights import store
from dentalzoo.cli import main
from dentalzoo.contracts import DataOptions
from dentalzoo.data import morphable
from dentalzoo.data.io.images import encode_png
from dentalzoo.data.io.mesh_files import write_obj
from dentalzoo.data.synthetic import upper_jaw, write_jaw_dataset
from dentalzoo.models import jaw_reconstruction
from dentalzoo.models.jaw_reconstruction.losses import stage_weights
from tests.zoo_case import ZooCase, serve_alone, with_known_weights

TINY = jaw_reconstruction.VARIANTS["tiny"]
TRAIN = DataOptions("train", training=True)
MLP = dataclasses.replace(TINY, decoder="mlp", hidden=(8,), faces=(), modulator_scale=0.1)
MOBILE = dataclasses.replace(MLP, encoder="mobilenet_v2", alpha=0.35, pooling="mean", channels=3)


@pytest.fixture(scope="module")
def jaws(tmp_path_factory):
    """Eight synthetic jaws to train with, two to validate with, and a file that is no mesh."""
    folder = write_jaw_dataset(tmp_path_factory.mktemp("jaws") / "synthetic", 10)
    (folder / "upper" / "0000" / "broken_upper.obj").write_text("v 0 0\n")
    return folder


@pytest.fixture(scope="module")
def shapes(jaws, tmp_path_factory):
    """A morphable model of the eight, and the settings that fit it."""
    out = tmp_path_factory.mktemp("shapes") / "synthetic.npz"
    report = morphable.fit(jaws, out, components=4)
    return out, report["settings"]


@pytest.fixture(scope="module")
def model():
    return with_known_weights(jaw_reconstruction.build_model(TINY))


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory):
    return dz.export(model, tmp_path_factory.mktemp("jaw") / "bundle", "jaw_reconstruction", TINY)


def views_of(seed, side=32, channels=1, count=2):
    size = (count, 10, side, side, channels)
    return np.random.RandomState(seed).randint(1, 256, size, dtype=np.uint8)


class TestJawReconstruction(ZooCase):
    name = "jaw_reconstruction"


# ---- the network ---------------------------------------------------------------------------------


def test_the_paper_is_mobilenet_v2_per_view_and_50000_points():
    model = dz.build("jaw_reconstruction")
    assert model.input_shape == (None, 10, 224, 224, 3)
    assert model.output_shape == (None, 50_000, 3)
    encoder = model.get_layer("encoder")
    mobilenet = next(part for part in encoder.layers if part.name.startswith("mobilenet"))
    assert mobilenet.count_params() == 2_257_984  # once, for all ten views
    assert mobilenet.output_shape == (None, 7, 7, 1280)
    assert encoder.output_shape == (None, 256)
    coordinates = model.get_layer("decoder").get_layer("coordinates")
    assert coordinates.count_params() == 257 * 150_000


@pytest.mark.parametrize("config", [TINY, MLP, MOBILE], ids=["tiny", "mlp", "mobile"])
def test_the_place_of_a_view_counts(config):
    import keras

    keras.utils.set_random_seed(0)
    model = jaw_reconstruction.build_model(config)
    for weight in model.weights:
        if weight.path.endswith("code/kernel"):  # which starts at zero
            weight.assign(np.random.RandomState(0).standard_normal(weight.shape))
    views = views_of(0, channels=config.channels) / np.float32(255)
    # As in training, for an untrained MobileNetV2 fades out without the moments of its batches.
    points = np.asarray(model(views, training=True))
    swapped = np.asarray(model(views[:, [1, 0, *range(2, 10)]], training=True))
    assert points.shape == (2, 300, 3)
    assert np.abs(points - swapped).max() > 1e-4


def test_missing_views_take_no_part(model):
    """Whatever the encoder makes of a black image, the others' tokens do not see it."""
    views = views_of(0) / np.float32(255)
    views[:, 3:] = 0
    encoder = model.get_layer("encoder")
    before = np.asarray(encoder(views))
    table = encoder.get_layer("positions").table
    kept = np.asarray(table)
    changed = kept.copy()
    changed[3:] += 5
    table.assign(changed)
    after = np.asarray(encoder(views))
    table.assign(kept)
    assert after == pytest.approx(before, abs=1e-5)
    assert np.abs(np.asarray(encoder(np.roll(views, 3, axis=1))) - before).max() > 1e-4


def test_the_modulators_scale_is_fixed():
    import keras

    model = with_known_weights(jaw_reconstruction.build_model(MLP))
    modulator = model.get_layer("encoder").get_layer("modulator")
    x = np.random.RandomState(0).standard_normal((3, 80)).astype(np.float32)
    part = np.abs(np.asarray(modulator(x)) / x - 1)
    assert 0.01 < part.max() <= 0.1 + 1e-6
    assert [w.shape for w in modulator.trainable_weights] == [(80, 80), (80,)]
    assert keras.layers.deserialize(keras.layers.serialize(modulator)).scale == 0.1


@pytest.mark.parametrize("config", [TINY, MLP], ids=["tiny", "mlp"])
def test_mixed_precision_leaves_coordinates_in_float32(config):
    """A step of bfloat16 at 1 is 0.3 mm."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = jaw_reconstruction.build_model(config)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("encoder").get_layer("token").compute_dtype == "bfloat16"
    assert model.get_layer("decoder").outputs[0].dtype == "float32"
    result = np.asarray(model(views_of(0) / np.float32(255)))
    assert result.dtype == np.float32 and np.isfinite(result).all()
    assert (result.view(np.uint32) % 2**16).any()  # not float32 that was bfloat16 on the way


def test_settings_that_cannot_be_are_refused():
    for settings, words in (
        ({"heads": 3}, "multiple of heads.*embedding=256, heads=3"),
        ({"image_size": 16}, "image_size must be an integer >= 32"),
        ({"faces": (3, 0)}, r"faces must be a tuple of integers >= 1.*\(3, 0\)"),
        ({"faces": 5}, "faces must be a tuple.*Received: 5"),
        ({"l1_weights": (0, 1)}, "not both are 0"),
        ({"l1_weights": ("1", 1)}, "l1_weights must be a tuple of 2 numbers >= 0.*'1'"),
        ({"chamfer_weights": (float("nan"), 1)}, "a tuple of 2 numbers >= 0.*nan"),
        ({"channels": 2.0}, "channels must be one of: 1, 3.*2.0"),
        ({"morphable_model": "jaws.npz"}, "goes with decoder=morphable.*'jaws.npz'"),
        (
            {"decoder": "morphable", "morphable_model": 5},
            "morphable_model must be a string, or None. Received: 5",
        ),
        (
            {"decoder": "morphable", "morphable_model": ""},
            "a file written by `dentalzoo shape-model`",
        ),
        ({"encoder_weights": "nowhere.h5"}, "encoder's weights cannot be loaded"),
    ):
        with pytest.raises(dz.DentalzooError, match=words):
            dz.build("jaw_reconstruction", **settings)


# ---- the morphable model -------------------------------------------------------------------------


def test_a_morphable_model_holds_what_it_was_fitted_to(jaws, shapes, tmp_path):
    from dentalzoo.data.meshes import find_meshes, load_mesh

    model = morphable.load(shapes[0])
    assert shapes[1] == {"num_points": 50_000, "components": 4, "faces": [98_952]}
    points = []
    for sample in find_meshes(jaws, "train").samples:
        if "broken" not in sample.name:
            mesh, pose = load_mesh(sample)
            points.append(pose.apply(mesh.vertices))
    points = np.stack(points)
    assert model.means[0] == pytest.approx(points.mean(axis=0), abs=1e-6)
    coefficients = model.coefficients(points)
    assert coefficients.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-4)
    assert coefficients.std(axis=0) == pytest.approx(np.ones(4), abs=1e-3)
    apart = np.linalg.norm(model.points(coefficients) - points, axis=-1).mean()
    assert apart < 0.6 * np.linalg.norm(points - points.mean(axis=0), axis=-1).mean()


def test_two_families_of_one_size(jaws, tmp_path):
    """Synthetic jaws, and the same with their vertices counted from the other end."""
    data = tmp_path / "jaws"
    for family in range(2):
        for seed in range(3):
            jaw = upper_jaw(seed)
            turned = (
                (jaw.vertices[::-1], 49_999 - jaw.faces) if family else (jaw.vertices, jaw.faces)
            )
            (data / "train").mkdir(parents=True, exist_ok=True)
            write_obj(data / "train" / f"{family}_{seed}.obj", *turned)
    out = tmp_path / "two.npz"
    report = morphable.fit(data, out, components=2)
    assert [family["jaws"] for family in report["families"]] == [3, 3]
    config = dataclasses.replace(
        TINY, morphable_model=str(out), num_points=50_000, components=2, faces=(98_952, 98_952)
    )
    model = jaw_reconstruction.build_model(config)
    decoder = model.get_layer("decoder")
    shapes = morphable.load(out)
    code = np.zeros((2, 6), np.float32)
    code[0, 0], code[0, 3], code[1, 1], code[1, 4] = 9, 2, 9, 2  # the second family's first mode
    points, faces = map(np.asarray, decoder(code))
    assert np.array_equal(faces, np.stack(shapes.faces))
    assert points[0] == pytest.approx(shapes.points([[0, 2]], 0)[0], abs=1e-5)
    assert points[1] == pytest.approx(shapes.points([[2, 0]], 1)[0], abs=1e-5)
    assert not any("morphable" in weight.path for weight in model.trainable_weights)
    with pytest.raises(dz.DentalzooError, match='morphable model: --set "num_points=50000"'):
        jaw_reconstruction.build_model(dataclasses.replace(config, components=3))


def test_the_command_prints_what_to_train_with(jaws, tmp_path, capsys):
    assert (
        main(["shape-model", str(jaws), "--out", str(tmp_path / "a.npz"), "--components", "2"]) == 0
    )
    printed = capsys.readouterr().out
    assert "jaws 8, vertices 50000, faces 98952, explained_variance 0." in printed
    assert f'--set "morphable_model={tmp_path / "a.npz"}" "num_points=50000"' in printed
    assert main(["shape-model", str(tmp_path), "--out", str(tmp_path / "b.npz")]) == 2
    assert "no upper jaw" in capsys.readouterr().err and not (tmp_path / "b.npz").exists()


def test_what_is_no_morphable_model_is_refused(jaws, tmp_path):
    with pytest.raises(dz.DentalzooError, match="more than 8 jaws .*Received: 1 topologies"):
        morphable.fit(jaws, tmp_path / "x.npz", components=8)
    with pytest.raises(dz.DentalzooError, match="a file written by `dentalzoo shape-model`"):
        morphable.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no arrays")
    (tmp_path / "empty.npz").touch()
    np.save(tmp_path / "array.npy", np.zeros((3, 3)))
    for file in ("text.npz", "empty.npz", "array.npy"):
        with pytest.raises(dz.BadFile, match=f"{file}: must be a morphable model"):
            morphable.load(tmp_path / file)


@pytest.mark.parametrize(
    "changed",
    [
        {"modes_0": None},
        {"mean_0": np.zeros((5, 2)), "modes_0": np.zeros((5, 2, 4))},
        {"modes_0": np.zeros((5, 3))},
        {"modes_0": np.full((5, 3, 4), np.inf)},
        {"mean_0": np.full((5, 3), "a")},
        {"faces_0": np.full((2, 3), 5)},
        {"faces_0": np.full((2, 3), 0.5)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(changed, tmp_path):
    arrays = {"mean_0": np.zeros((5, 3)), "modes_0": np.zeros((5, 3, 4))}
    arrays |= {"faces_0": np.zeros((2, 3), int)}
    np.savez(tmp_path / "good.npz", **arrays)
    assert morphable.load(tmp_path / "good.npz").modes[0].shape == (5, 3, 4)
    arrays = {key: array for key, array in (arrays | changed).items() if array is not None}
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(dz.BadFile, match="bad.npz: must"):
        morphable.load(tmp_path / "bad.npz")


# ---- training ------------------------------------------------------------------------------------


def test_the_stages():
    config = dataclasses.replace(TINY, epochs=10, first_stage=0.3)
    assert stage_weights(0, config) == (1.0, 0.0)
    assert stage_weights(2, config) == (1.0, 0.0)
    assert stage_weights(3, config) == (0.1, 1.0)
    assert stage_weights(9, config) == (0.1, 1.0)


@pytest.mark.parametrize("pairs", ["nearest", "index"])
def test_the_loss_of_either_stage_is_that_of_scipy(pairs):
    from scipy.spatial import cKDTree

    config = dataclasses.replace(TINY, pairs=pairs, epochs=4)
    model = jaw_reconstruction.build_model(config)
    jaw_reconstruction.compile_model(model, config, steps=40)
    gt, pred = np.random.RandomState(0).standard_normal((2, 1, 300, 3)).astype(np.float32)
    there = cKDTree(gt[0]).query(pred[0])[0]
    back = cKDTree(pred[0]).query(gt[0])[0]
    l1 = (there.mean() + back.mean()) / 2 if pairs == "nearest" else np.abs(gt - pred).mean()
    chamfer = ((there**2).mean() + (back**2).mean()) / 2
    for step, expected in ((0, l1), (19, l1), (20, 0.1 * l1 + chamfer), (39, 0.1 * l1 + chamfer)):
        model.optimizer.iterations.assign(step)
        assert float(model.loss(gt, pred)[0]) == pytest.approx(expected, rel=1e-5), step


def test_elements(jaws, shapes):
    config = dataclasses.replace(TINY, pairs="index", num_points=50_000, missing_views=1.0)
    batch = next(iter(jaw_reconstruction.make_dataset(jaws, config, TRAIN)))
    views, points = batch["views"].numpy(), batch["points"].numpy()
    assert views.shape == (2, 10, 32, 32, 1) and 0.9 < views.max() <= 1
    assert points.shape == (2, 50_000, 3) and 0.7 < np.abs(points).max() < 1.3
    seen = views.max(axis=(2, 3, 4)) > 0
    assert (seen.sum(axis=1) >= 1).all() and (seen.sum(axis=1) <= 9).all()
    every = next(iter(jaw_reconstruction.make_dataset(jaws, config, DataOptions("train"))))[
        "views"
    ].numpy()
    assert (every.max(axis=(2, 3, 4)) > 0).all()
    assert len(every) == 2
    model = morphable.load(shapes[0])
    apart = np.linalg.norm(points - model.means[0], axis=-1).mean()
    assert apart * 40 < 6  # in the order of the mean's vertices: thrown anyhow it is 30 mm


def test_a_jaw_of_other_vertices_has_no_order(tmp_path, caplog):
    config = dataclasses.replace(TINY, pairs="index", num_points=49_999)
    folder = write_jaw_dataset(tmp_path / "jaws", 1, val_fraction=0)
    with pytest.raises(dz.DentalzooError, match="no sample could be read"):
        jaw_reconstruction.make_dataset(folder, config, DataOptions("train"))
    assert (
        "0000_upper.obj: a mesh must have 49999 vertices for method='order'. Received: 50000"
        in caplog.text
    )


def test_the_road(jaws, shapes, tmp_path, caplog):
    """Data, morphable model, training, bundle: jaws it has seen come closer than their mean."""
    settings = {key: value for key, value in shapes[1].items() if key != "faces"}
    made = dz.train(
        "jaw_reconstruction",
        jaws,
        tmp_path / "run",
        "tiny",
        morphable_model=str(shapes[0]),
        faces=tuple(shapes[1]["faces"]),
        pairs="index",
        l1_weights=(1.0, 1.0),
        chamfer_weights=(0.0, 0.0),
        missing_views=0.0,
        epochs=12,
        learning_rate=5e-3,
        cache=tmp_path / "cache",
        **settings,
    )
    assert "broken_upper" in caplog.text
    assert "morphable_model=synthetic.npz" in made.metadata["training"]["command"]
    assert made.metadata["config"]["morphable_model"] is None
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    column = rows[0].split(",").index("error_mm")
    errors = [float(row.split(",")[column]) for row in rows[1:]]
    assert errors[-1] < 0.85 * errors[0]
    evaluation = json.loads((tmp_path / "run" / "evaluation" / "evaluation.json").read_text())
    assert evaluation["split"] == "val"
    result = made.serve(views_of(0, 40)[0])
    assert result["points"].shape == (50_000, 3) and result["faces"].shape == (98_952, 3)
    assert np.array_equal(result["faces"], morphable.load(shapes[0]).faces[0])


@pytest.mark.slow
def test_a_resumed_training_leaves_the_shapes_alone_too(tmp_path):
    """A run that was stopped builds its network anew, and must train the same weights."""
    shapes = {"mean_0": np.random.RandomState(0).standard_normal((300, 3)).astype(np.float32)}
    shapes |= {"modes_0": np.ones((300, 3, 2), np.float32), "faces_0": np.arange(9).reshape(3, 3)}
    np.savez(tmp_path / "shapes.npz", **shapes)
    settings = {"morphable_model": str(tmp_path / "shapes.npz"), "faces": (3,), "components": 2}
    data = write_jaw_dataset(tmp_path / "jaws", 1, val_fraction=0)
    for epochs in (1, 2):
        made = dz.train(
            "jaw_reconstruction",
            data,
            tmp_path / "run",
            "tiny",
            resume=True,
            cache=tmp_path / "cache",
            epochs=epochs,
            **settings,
        )
    assert made.metadata["training"]["epochs"] == 2
    means = made.mean_shapes()["points"][0] / 40
    assert means == pytest.approx(shapes["mean_0"], abs=1e-6)


# ---- in service ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config", [TINY, pytest.param(MLP, marks=pytest.mark.slow)], ids=["tiny", "mlp"]
)
def test_tensorflow_alone_gives_the_keras_models_points(config, tmp_path):
    model = with_known_weights(jaw_reconstruction.build_model(config))
    bundle = dz.export(model, tmp_path / "bundle", "jaw_reconstruction", config)
    views = views_of(1, 32, config.channels)
    expected = 40 * np.asarray(model(views / np.float32(255)))
    alone = serve_alone(bundle.path, tmp_path, views=views)
    assert alone["points"] == pytest.approx(expected, abs=1e-3)
    assert ("faces" in alone) == (config is TINY)
    assert np.array_equal(alone["points"], bundle.serve(views)["points"])


@pytest.mark.parametrize("shape", [(32, 32, 1), (50, 50, 3), (7, 9, 1), (300, 200, 3)])
def test_views_of_any_size(bundle, shape):
    views = np.random.RandomState(0).randint(0, 256, (10, *shape), dtype=np.uint8)
    result = bundle.serve(views)
    assert result["points"].shape == (300, 3) and result["faces"].shape == (8, 3)
    assert np.isfinite(result["points"]).all()


def test_some_views_in_any_order(bundle):
    views = views_of(2)
    result = bundle.serve(views)["points"]
    order = np.int32([3, 1, 9, 0, 2, 8, 5, 4, 7, 6])
    assert bundle.serve_some(views[:, order], order)["points"] == pytest.approx(result, abs=1e-4)
    hidden = views.copy()
    hidden[:, [0, 4, 7]] = 0
    kept = np.int32([9, 8, 6, 5, 3, 2, 1])
    some = bundle.serve_some(views[:, kept], kept)["points"]
    assert some == pytest.approx(bundle.serve(hidden)["points"], abs=1e-4)
    assert np.abs(some - result).max() > 1e-3


def test_files_of_views_are_views(bundle):
    views = views_of(2)[0]
    files = [encode_png(view[..., 0]) for view in views]
    points = bundle.serve(views)["points"]
    assert bundle.serve_encoded(files)["points"] == pytest.approx(points, abs=1e-4)
    assert bundle.serve_encoded([files, files])["points"].shape == (2, 300, 3)
    places = np.int32([9, 0, 4])
    some = bundle.serve_some_encoded([files[place] for place in places], places)["points"]
    assert some == pytest.approx(bundle.serve_some(views[places], places)["points"], abs=1e-4)
    for wrong, words in (
        (files[:9], "must be ten views"),
        (files[0], "Received: bytes"),
        ([files, files[:9]], r"lists of one length.*Received: lists of \[9, 10\]"),
        ([["file.png"]], "Received: str"),
        ([], "must be a list of bytes"),
    ):
        with pytest.raises(dz.DentalzooError, match=words):
            bundle.serve_encoded(wrong)


@pytest.mark.parametrize(
    "cameras, words",
    [([0, 0, 1], "differ"), ([0, 1], "a camera index for each view"), ([0, 1, 10], "0 to 9"),
     ([0, -1, 2], "0 to 9")],
)  # fmt: skip
def test_camera_indices_that_cannot_be_are_refused(bundle, cameras, words):
    with pytest.raises(dz.DentalzooError, match=words):
        bundle.serve_some(views_of(0)[:, :3], np.int32(cameras))


def test_what_is_not_ten_views_is_refused(bundle):
    with pytest.raises(
        dz.DentalzooError, match="must be ten views of a jaw; serve_some takes fewer"
    ):
        bundle.serve(views_of(0)[:, :9])
    with pytest.raises(dz.DentalzooError, match="grey values"):
        bundle.serve(views_of(0).astype(np.float32))


def test_jaws_of_both_families_in_a_batch_are_those_alone(model):
    decoder = model.get_layer("decoder")
    code = np.random.default_rng(0).standard_normal((3, decoder.input_shape[1]), np.float32)
    code[:, :2] = [[0, 1], [1, 0], [0, 1]]
    batch = [np.asarray(part) for part in decoder(code)]
    for number in range(3):
        alone = decoder(code[number : number + 1])
        assert batch[0][number] == pytest.approx(np.asarray(alone[0])[0], abs=1e-5)
        assert np.array_equal(batch[1][number], np.asarray(alone[1])[0])


def test_the_modes_of_a_family_are_decoded_where_a_jaw_is_of_it(model):
    function = jaw_reconstruction.signatures(store(model, "int8"), TINY)["serve"]
    graph = function.get_concrete_function().graph.as_graph_def()
    branches = [
        [node.op for node in function.node_def]
        for function in graph.library.function
        if "morphable" in function.signature.name and "_true_" in function.signature.name
    ]
    assert len(branches) == len(TINY.faces)
    for branch in branches:
        assert branch.count("MatMul") == 1 and "ReadVariableOp" in branch and "Cast" in branch


def test_mean_shapes_are_the_means_of_the_families(model, bundle):
    result = bundle.mean_shapes()
    layer = model.get_layer("decoder").get_layer("morphable")
    means = np.stack([np.asarray(mean).reshape(300, 3) for mean in layer.means])
    assert result["points"] == pytest.approx(40 * means, abs=1e-4)
    assert result["faces"].shape == (2, 8, 3)
    assert (result["faces"][1, 4:] == -1).all() and (result["faces"][1, :4] != -1).any()
