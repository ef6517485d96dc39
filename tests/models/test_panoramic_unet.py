"""panoramic_unet: parameter counts, recipe, serving, and parity with its sources."""

import math
import shutil

import numpy as np
import pytest
from PIL import Image

import dentalzoo as dz
from dentalzoo import registry
from dentalzoo.contracts import DataOptions
from dentalzoo.data.io.images import encode_png, read_image, read_mask, resize, write_png
from dentalzoo.data.synthetic import panoramic
from dentalzoo.errors import DentalzooError
from dentalzoo.models import panoramic_unet as paper
from dentalzoo.models.panoramic_unet.config import SLIM_ENCODERS
from dentalzoo.models.panoramic_unet.dataset import AUGMENTATIONS
from dentalzoo.ops.calibration import scaled
from tests.zoo_case import ZooCase, serve_alone


class TestPanoramicUnet(ZooCase):
    name = "panoramic_unet"


# --------------------------------------------------------------------------------------- networks


def test_paper_is_segmentation_models_vgg16():
    model = dz.build("panoramic_unet")
    assert model.count_params() == 23_752_273  # segmentation-models 1.0.1, Unet("vgg16")
    assert model.input_shape == (None, 256, 256, 3) and model.output_shape == (None, 256, 256, 1)


def test_wide_is_the_reconstruction():
    model = dz.build("panoramic_unet", "wide")
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    assert (model.count_params(), trainable) == (41_076_929, 26_354_305)
    wide = model.get_layer("wide_unet")
    skips = {name: wide.get_layer(name).output.shape[1:] for name in paper_skips}
    assert skips == paper_skips
    encoder = [layer for layer in wide.layers if layer.name.startswith("block")]
    assert sum(layer.count_params() for layer in encoder) == 14_714_688


paper_skips = {
    "block1_conv2": (256, 256, 64),
    "block2_conv2": (128, 128, 128),
    "block3_conv3": (64, 64, 256),
    "block4_conv3": (32, 32, 512),
    "block5_conv3": (16, 16, 512),
}


@pytest.mark.parametrize(
    ("decoder", "encoder", "size"),
    [
        ("unet", "mobilenetv2", (64, 96)),
        ("fpn", "resnet18", (64, 64)),
        ("linknet", "vgg16", (64, 64)),
        pytest.param("linknet", "efficientnetb0", (64, 64), marks=pytest.mark.slow),
        pytest.param("pspnet", "vgg16", (96, 96), marks=pytest.mark.slow),
        pytest.param("unet", "seresnet18", (64, 64), marks=pytest.mark.slow),
    ],
)
def test_the_networks_of_segmentation_models(decoder, encoder, size):
    model = dz.build(
        "panoramic_unet", decoder=decoder, encoder=encoder, input_size=size, num_classes=4
    )
    result = np.asarray(model(np.zeros((1, *size, 3), np.float32)))
    assert result.shape == (1, *size, 4)
    assert result.sum(-1) == pytest.approx(1, abs=1e-5)


def test_the_slim_unet_has_the_wiring_of_segmentation_models():
    """With the same encoder, ours is theirs: equal shapes and, given the weights, outputs."""
    size, filters = (32, 64), (16, 8, 8, 8, 8)
    theirs = dz.build(
        "panoramic_unet", encoder="mobilenet", input_size=size, decoder_filters=filters
    )
    SLIM_ENCODERS["mobilenet_1.0"] = 1.0
    try:
        ours = dz.build(
            "panoramic_unet", encoder="mobilenet_1.0", input_size=size, decoder_filters=filters
        )
    finally:
        del SLIM_ENCODERS["mobilenet_1.0"]
    ours.set_weights(theirs.get_weights())
    image = np.random.default_rng(0).random((2, *size, 3), np.float32)
    assert np.asarray(ours(image)) == pytest.approx(np.asarray(theirs(image)), abs=1e-5)


def test_the_head_is_float32_under_mixed_precision():
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = dz.build("panoramic_unet", "tiny")
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.output.dtype == "float32"
    assert model.get_layer("slim_unet").output.dtype == "bfloat16"


@pytest.mark.parametrize(
    "overrides",
    [
        {"input_size": (100, 256)},
        {"input_size": 256},
        {"input_size": (64, 64), "decoder": "pspnet"},
        {"num_classes": 0},
        {"loss": "hinge"},
        {"decoder": "wide", "encoder": "resnet34"},
        {"encoder": "vgg17"},
        {"batch_size": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(overrides):
    with pytest.raises(dz.DentalzooError, match="Received: ") as caught:
        dz.build("panoramic_unet", **overrides)
    assert "\n" not in str(caught.value)


def test_encoder_weights_from_a_file_and_a_clear_message_without(tmp_path):
    import keras

    encoder = keras.applications.MobileNet((32, 64, 3), alpha=0.25, include_top=False, weights=None)
    file = tmp_path / "mobilenet.weights.h5"
    encoder.save_weights(file)
    model = dz.build("panoramic_unet", "tiny", encoder_weights=str(file))
    name = "conv_pw_11"
    mine = model.get_layer("slim_unet").get_layer(name).get_weights()[0]
    assert np.array_equal(mine, encoder.get_layer(name).get_weights()[0])
    for encoder_name in ("vgg16", "mobilenet_0.5"):
        with pytest.raises(dz.DentalzooError, match="--encoder-weights FILE.*Received: ") as caught:
            dz.build(
                "panoramic_unet",
                encoder=encoder_name,
                input_size=(32, 64),
                encoder_weights=str(tmp_path / "missing.h5"),
            )
        assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------------- recipe


def test_the_recipe_is_the_papers():
    config = registry.configure("panoramic_unet")
    assert (config.batch_size, config.learning_rate, config.epochs) == (8, 1e-4, 8)
    assert math.ceil(4772 / config.batch_size) == 597 and math.ceil(2071 / 8) == 259
    transforms = [(type(t).__name__, t.p) for t in AUGMENTATIONS[config.augmentation]()]
    assert transforms == [
        ("HorizontalFlip", 0.7),
        ("Rotate", 0.7),
        ("RandomBrightnessContrast", 0.3),
        ("Affine", 0.5),
        ("GaussNoise", 0.1),
    ]
    stop, plateau = paper.callbacks(config)
    assert (stop.monitor, stop.patience, stop.mode) == ("val_dice", 2, "max")
    assert (plateau.factor, plateau.patience, plateau.min_lr) == (0.2, 3, 1e-6)
    assert plateau.mode == "max"


def test_the_papers_augmentation_reflects_and_its_noise_is_that_of_1_1_0():
    transforms = AUGMENTATIONS["paper"]()
    noise = transforms[-1]
    white = np.full((128, 128, 3), 128, np.uint8)
    noise.p = 1.0
    spreads = [float((noise(image=white)["image"].astype(float) - 128).std()) for _ in range(40)]
    assert min(spreads) > 2.7 and max(spreads) < 7.4  # variance 10..50
    rotate = transforms[1]
    rotate.p = 1.0
    assert rotate(image=np.full((64, 64, 3), 200, np.uint8))["image"].min() == 200


def test_the_dataset_is_as_documented(phantoms):
    config = registry.configure("panoramic_unet", "tiny")
    batch = next(iter(paper.make_dataset(phantoms, config, DataOptions("train", training=True))))
    image, mask = batch["image"].numpy(), batch["mask"].numpy()
    assert image.shape == (2, 32, 64, 3) and mask.shape == (2, 32, 64, 1)
    assert image.dtype == mask.dtype == np.float32
    assert image.min() >= 0 and 0.3 < image.max() <= 1 and set(np.unique(mask)) == {0.0, 1.0}
    first, second = (
        [b["image"].numpy() for b in paper.make_dataset(phantoms, config, DataOptions("val"))]
        for _ in "12"
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_tooth_numbers_are_not_flipped(phantoms, tmp_path):
    """Left would become right: with 33 classes the radiograph's own side is kept in every epoch."""
    shutil.copytree(phantoms / "images", tmp_path / "images")
    (tmp_path / "masks").mkdir()
    for path in (phantoms / "teeth").iterdir():  # FDI 11..48 -> 1..32
        with Image.open(path) as image:
            fdi = np.asarray(image).astype(int)
        ids = np.where(fdi, (fdi // 10 - 1) * 8 + fdi % 10, 0).astype(np.uint8)
        Image.fromarray(ids).save(tmp_path / "masks" / path.name)
    config = registry.configure("panoramic_unet", "tiny", num_classes=33, batch_size=10)
    dataset = paper.make_dataset(tmp_path, config, DataOptions(training=True, epochs=range(3)))
    for batch in dataset:
        quadrant = (batch["mask"].numpy()[..., 0] - 1) // 8
        for mask in quadrant:
            patients_right = np.nonzero(np.isin(mask, (0, 3)))[1]  # the left of the radiograph
            patients_left = np.nonzero(np.isin(mask, (1, 2)))[1]
            assert patients_right.mean() < patients_left.mean()


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    ("names", "flipped"),
    [
        (("Caries", "Crown"), True),
        (("11", "21"), False),
        (("11 - Central Incisor", "21 - Central Incisor"), False),
        (("left canal", "right canal"), False),
        (("left canal", "tooth"), False),
    ],
)
def test_classes_of_sides_are_not_flipped(phantoms, tmp_path, names, flipped, listed):
    """Of a mask whose class 1 is left of class 2 in every epoch, or is not.

    The names are in the config, or in a list beside the masks.
    """
    shutil.copytree(phantoms / "images", tmp_path / "images")
    (tmp_path / "masks").mkdir()
    if listed:
        (tmp_path / "masks" / "classes.txt").write_text("\n".join(names))
    for path in (tmp_path / "images").iterdir():
        height, width = read_image(path).shape[:2]
        sides = np.repeat(np.uint8([1, 2]), (width // 2, width - width // 2))
        Image.fromarray(np.tile(sides, (height, 1))).save(tmp_path / "masks" / path.name)
    given = {} if listed else {"classes": names}
    config = registry.configure("panoramic_unet", "tiny", num_classes=3, batch_size=10, **given)
    dataset = paper.make_dataset(tmp_path, config, DataOptions(training=True, epochs=range(3)))
    at_left = np.concatenate([batch["mask"].numpy()[:, 16, 8, 0] for batch in dataset])
    assert (at_left == 2).any() == flipped


def test_a_list_beside_the_masks_must_be_of_as_many_classes(phantoms, tmp_path):
    data = shutil.copytree(phantoms, tmp_path / "data")
    (data / "masks" / "classes.txt").write_text("background\nCaries\nCrown\nRoot")
    config = registry.configure("panoramic_unet", "tiny", num_classes=3)
    with pytest.raises(DentalzooError, match="num_classes must be 4 .*Caries, Crown, Root"):
        paper.make_dataset(data, config)


def test_a_corrected_mask_is_read_anew(phantoms, tmp_path):
    data = shutil.copytree(phantoms, tmp_path / "data")
    config = registry.configure("panoramic_unet", "tiny")

    def first():
        dataset = paper.make_dataset(data, config, DataOptions("train", cache=tmp_path / "cache"))
        return next(iter(dataset))["mask"].numpy()

    assert first().any()
    for path in (data / "masks").iterdir():
        write_png(path, np.zeros((128, 256), np.uint8))
    assert not first().any()


# ---------------------------------------------------------------------------------------- serving


def test_tensorflow_alone_serves_what_load_serves(bundle, tmp_path):
    radiograph = panoramic(5, 128, 256).image
    here = bundle.serve(radiograph)
    alone = serve_alone(bundle.path, tmp_path, images=radiograph[None, :, :, None])
    assert np.array_equal(alone["mask"][0], here["mask"])
    assert alone["probabilities"][0] == pytest.approx(here["probabilities"], abs=1e-6)


def test_serve_is_the_model_with_pillows_resizing(bundle, run):
    radiograph = panoramic(6, 300, 500).image
    resized = resize(radiograph[..., None], (32, 64))
    image = np.repeat(resized, 3, -1)[None] / np.float32(255)
    small = np.asarray(bundle.to_keras()(image))
    import tensorflow as tf

    expected = tf.image.resize(small, radiograph.shape, antialias=True)[0]
    expected = np.asarray(scaled(expected, bundle.config.temperature))
    assert bundle.serve(radiograph)["probabilities"] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("shape", [(1, 1), (31, 33), (700, 90), (40, 50, 3), (2, 33, 65, 1)])
def test_images_of_any_size_come_back_at_their_size(bundle, shape):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    result = bundle.serve(images)
    spatial = shape[:3] if len(shape) == 4 else shape[:2]
    assert result["mask"].shape == (*spatial, 1) and result["mask"].dtype == np.uint8
    assert result["probabilities"].shape == (*spatial, 1)
    assert np.array_equal(result["mask"], result["probabilities"] > 0.5)


def test_a_batch_is_its_images_and_grey_is_equal_rgb(bundle):
    radiographs = np.stack([panoramic(seed, 64, 128).image for seed in range(3)])
    batch = bundle.serve(radiographs[..., None])["probabilities"]
    for radiograph, expected in zip(radiographs, batch, strict=True):
        assert bundle.serve(radiograph)["probabilities"] == pytest.approx(expected, abs=1e-5)
        colour = np.repeat(radiograph[..., None], 3, -1)
        assert bundle.serve(colour)["probabilities"] == pytest.approx(expected, abs=1e-5)


def test_encoded_bytes_give_the_mask_of_the_image(bundle):
    radiographs = [panoramic(seed, 96, 160).image for seed in (8, 9)]
    files = [encode_png(radiograph) for radiograph in radiographs]
    encoded = bundle.serve_encoded(files)
    expected = [bundle.serve(radiograph) for radiograph in radiographs]
    for key in "mask", "probabilities":
        assert np.allclose(encoded[key], [one[key] for one in expected], atol=1e-6)
    assert bundle.serve_encoded(files[0])["mask"].shape == (96, 160, 1)


def test_masks_alone_and_as_png_bytes_are_those_of_serve(bundle, tmp_path):
    radiographs = [panoramic(8, 96, 160).image, panoramic(9, 64, 70).image]
    files = [encode_png(radiograph) for radiograph in radiographs]
    masks = [bundle.serve(radiograph)["mask"][..., 0] for radiograph in radiographs]
    for radiograph, content, mask in zip(radiographs, files, masks, strict=True):
        assert np.array_equal(bundle.segment(radiograph)["mask"][..., 0], mask)
        path = tmp_path / "mask.png"
        path.write_bytes(bundle.segment_encoded(content)["mask_bytes"])
        assert np.array_equal(read_mask(path), mask)
    path.write_bytes(bundle.segment_encoded(files)["mask_bytes"][1])
    assert np.array_equal(read_mask(path), masks[1])
    with pytest.raises(dz.DentalzooError, match="must have one size; segment_encoded takes"):
        bundle.serve_encoded(files)


def test_the_default_of_tensorflow_serving_gives_masks_as_png_bytes(bundle):
    import tensorflow as tf

    content = encode_png(panoramic(8, 96, 160).image)
    loaded = tf.saved_model.load(str(bundle.path / "saved_model"))
    [mask] = loaded.signatures["serving_default"](encoded=tf.constant([content]))["mask_bytes"]
    assert mask.numpy() == bundle.segment_encoded(content)["mask_bytes"]
    assert "serving_default" not in bundle.signatures


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_encoded_bytes_of_a_deep_image_are_read_as_files_are(bundle, tmp_path, bits):
    radiograph = panoramic(8, 96, 160).image
    deep = radiograph * np.uint32((1 << bits) - 1) // radiograph.max()
    deep[3, 3] = 65535  # a hot pixel
    path = tmp_path / "x.png"
    Image.fromarray(deep.astype(np.uint16)).save(path)
    encoded, read = bundle.serve_encoded(path.read_bytes()), bundle.serve(read_image(path))
    assert np.array_equal(encoded["probabilities"], read["probabilities"])


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        ((8, 8, 4), np.uint8, "with C = 1 or 3"),
        ((8, 8), np.float32, "images must be uint8"),
        ((0, 8), np.uint8, "must not be empty"),
        ((0, 8, 8, 1), np.uint8, "must not be empty"),
        ((5,), np.uint8, "must have the shape"),
    ],
)
def test_what_is_no_image_is_refused(bundle, shape, dtype, words):
    with pytest.raises(dz.DentalzooError, match=f"{words}.*Received: ") as caught:
        bundle.serve(np.zeros(shape, dtype))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_several_classes_from_coco_all_the_way(phantoms, tmp_path):
    classes = ("restoration", "endodontic", "implant")
    settings = {"num_classes": 4, "classes": classes, "annotations": "coco", "loss": "bce_dice"}
    made = dz.train("panoramic_unet", phantoms, tmp_path / "run", "tiny", epochs=1, **settings)
    report = dz.evaluate(made, phantoms, split="val", out=tmp_path / "evaluation")
    assert set(report["per_class"]) == set(classes)
    dz.predict(made, phantoms / "images", tmp_path / "masks", overlay=True)
    with Image.open(tmp_path / "masks" / "0000.png") as mask:
        assert mask.mode == "P" and np.asarray(mask).max() <= 3
    with pytest.raises(dz.DentalzooError, match="must be given their names"):
        dz.train("panoramic_unet", phantoms, tmp_path / "no", "tiny", **settings | {"classes": ()})
