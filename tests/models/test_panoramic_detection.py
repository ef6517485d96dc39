"""panoramic_detection: SSD's anchors, codes and losses, and the networks of the model garden."""

import dataclasses
import io
import json
import shutil

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

import dentalzoo as dz
from dentalzoo.contracts import DataOptions
from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.io.images import read_image, resize, write_png
from dentalzoo.data.synthetic import panoramic, write_panoramic_dataset
from dentalzoo.models import panoramic_detection as paper
from dentalzoo.models.panoramic_detection import anchors as anchor_ops
from dentalzoo.models.panoramic_detection.losses import hard_negatives, huber
from dentalzoo.tasks.detection import evaluate
from dentalzoo.tasks.options import DetectionEvaluateOptions
from tests.zoo_case import ZooCase, serve_alone, with_known_weights

NAME = "panoramic_detection"
TINY = paper.VARIANTS["tiny"]
SSD = dataclasses.replace(paper.VARIANTS["ssd_mobilenet_v1"], backbone_alpha=0.25, bn_momentum=0.9)


@pytest.fixture(scope="module")
def model():
    return with_known_weights(paper.build_model(TINY))


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory):
    return dz.export(model, tmp_path_factory.mktemp("detection") / "bundle", NAME, TINY)


def radiograph(seed=0, size=(128, 256)):
    return panoramic(seed, *size).image[..., None]


class TestPanoramicDetection(ZooCase):
    name = NAME

    def outputs(self, model, inputs):
        result = model(inputs)
        return np.concatenate([np.asarray(result[key]).ravel() for key in ("classes", "boxes")])


# ---- the paper's figures -------------------------------------------------------------------------


def test_the_config_is_that_of_the_paper():
    config = dz.configure(NAME)
    assert config.classes == ("root", "implant", "restoration", "endodontic")
    assert (config.input_size, config.backbone_alpha) == ((300, 300), 1.0)
    assert (config.nms_iou, config.max_per_class, config.max_detections) == (0.5, 64, 100)
    assert (config.negatives, config.match) == (3, (0.5, 0.5))
    assert (config.batch_size, config.learning_rate) == (10, 0.008)
    model = keras.Sequential([keras.layers.Dense(1)])
    paper.compile_model(model, config)
    optimizer = model.optimizer
    assert (optimizer.rho, optimizer.momentum, optimizer.epsilon) == (0.9, 0.9, 1.0)


def test_ssd_has_1917_anchors_of_its_scales():
    anchors = anchor_ops.ssd_anchors((300, 300))
    assert anchors.shape == (1917, 4)
    sides = anchors[:, 2:] - anchors[:, :2]
    first, second = sides[: 3 * 19 * 19], sides[3 * 19 * 19 :][: 6 * 10 * 10]
    assert first[0] == pytest.approx([0.1, 0.1], abs=1e-6)
    assert first[1] == pytest.approx([0.2 / 2**0.5, 0.2 * 2**0.5], abs=1e-6)
    assert second[0] == pytest.approx([0.35, 0.35], abs=1e-6)
    assert second[5] == pytest.approx([(0.35 * 0.5) ** 0.5] * 2, abs=1e-6)
    assert sides[-1] == pytest.approx([(0.95 * 1.0) ** 0.5] * 2, abs=1e-6)
    centres = (anchors[:, 2:] + anchors[:, :2]) / 2
    assert centres[0] == pytest.approx([0.5 / 19, 0.5 / 19], abs=1e-6)
    assert centres[-1] == pytest.approx([0.5, 0.5], abs=1e-6)


def test_every_anchor_has_an_output():
    for config in (TINY, SSD, dataclasses.replace(SSD, input_size=(200, 332))):
        model = paper.build_model(config)
        number = len(anchor_ops.make_anchors(config))
        assert model.output_shape == {
            "classes": (None, number, len(config.classes)),
            "boxes": (None, number, 4),
        } or model.output_shape == [(None, number, len(config.classes)), (None, number, 4)]


@pytest.mark.parametrize(
    "setting",
    [
        {"match": (0.5,)},
        {"match": (0.7, 0.3)},
        {"match": (2, 3)},
        {"input_range": (1,)},
        {"aspect_ratios": ()},
        {"aspect_ratios": (-1.0,)},
        {"levels": (6, 6)},
        {"negatives": 0.2},
        {"clip_norm": -1.0},
        {"classes": (" ",)},
        {"num_proposals": 0},
    ],
    ids=str,
)
def test_a_setting_that_makes_no_network_is_refused(setting):
    with pytest.raises(dz.DentalzooError, match=f"{next(iter(setting))}.*Received"):
        dz.configure(NAME, "tiny", **setting)


def test_a_pyramid_wants_sizes_that_its_last_level_divides():
    assert dz.configure(NAME, "tiny", input_size=(96, 160)).input_size == (96, 160)
    with pytest.raises(dz.DentalzooError, match="input_size.*Received"):
        dz.configure(NAME, "tiny", input_size=(80, 160))
    assert dz.configure(NAME, input_size=(301, 299)).input_size == (301, 299)


# ---- anchors and losses --------------------------------------------------------------------------


def test_a_decoded_code_is_the_box_it_was_made_of():
    anchors = anchor_ops.ssd_anchors((96, 160))
    boxes = np.zeros((2, 5, 4), np.float32)
    boxes[0, :2] = (0.1, 0.2, 0.35, 0.3), (0.5, 0.4, 0.9, 0.95)
    classes = np.int32([[2, 1, 0, 0, 0], [0] * 5])
    targets, codes = anchor_ops.label(anchor_ops.labeler((0.5, 0.5)), anchors, boxes, classes)
    targets, decoded = np.asarray(targets), np.asarray(anchor_ops.decode(codes, anchors))
    assert set(targets[0]) == {0, 1, 2} and not targets[1].any()
    for number, box in ((2, boxes[0, 0]), (1, boxes[0, 1])):
        rows = decoded[0, targets[0] == number]
        assert rows == pytest.approx(np.tile(box, (len(rows), 1)), abs=1e-5)


def test_a_code_is_divided_by_10_10_5_5():
    anchor = np.float32([[0.4, 0.4, 0.6, 0.6]])
    code = np.float32([[[10 * 0.02 / 0.2, 10 * -0.01 / 0.2, 5 * np.log(1.5), 0]]])
    box = np.asarray(anchor_ops.decode(code, anchor))[0, 0]
    assert box == pytest.approx([0.37, 0.39, 0.67, 0.59], abs=1e-6)


def test_the_best_anchor_of_a_finding_is_the_findings_however_small_it_is():
    anchors = anchor_ops.ssd_anchors((96, 96))
    boxes = np.float32([[[0.5, 0.5, 0.51, 0.51]]])
    targets, _ = anchor_ops.label(anchor_ops.labeler((0.5, 0.5)), anchors, boxes, np.int32([[3]]))
    assert (np.asarray(targets) == 3).sum() == 1


def test_between_the_thresholds_an_anchor_does_not_count():
    anchors = np.float32([[0, 0, 1, 1], [0, 0, 0.45, 1], [0, 0, 0.1, 1]])
    boxes = np.float32([[[0, 0, 1, 1]]])
    targets, _ = anchor_ops.label(anchor_ops.labeler((0.4, 0.5)), anchors, boxes, np.int32([[1]]))
    assert np.asarray(targets).tolist() == [[1, -1, 0]]


def test_in_xla_empty_rows_match_no_anchor_either(monkeypatch):
    """The rows of findings are at any place; the second radiograph has none."""
    anchors, labeler = anchor_ops.ssd_anchors((96, 160)), anchor_ops.labeler((0.3, 0.6))
    boxes = np.zeros((2, 5, 4), np.float32)
    boxes[0, [1, 3]] = (0.1, 0.2, 0.35, 0.3), (0.5, 0.4, 0.9, 0.95)
    classes = np.int32([[0, 2, 0, 1, 0], [0] * 5])
    expected = anchor_ops.label(labeler, anchors, boxes, classes)
    monkeypatch.setattr("dentalzoo.ops.xla.in_xla", lambda: True)
    targets, codes = map(np.asarray, anchor_ops.label(labeler, anchors, boxes, classes))
    assert np.array_equal(targets, expected[0]) and set(targets[0]) == {-1, 0, 1, 2}
    assert np.array_equal(codes[targets > 0], np.asarray(expected[1])[targets > 0])


def test_three_negatives_of_the_highest_loss_count_for_each_positive():
    losses = np.float32([[9, 1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7, 8]])
    targets = np.int32([[1, 0, 0, 0, 0, 0, 0, -1], [0, 0, 0, 0, 0, 0, 0, 0]])
    kept = np.asarray(hard_negatives(losses, targets, 3.0))
    assert kept.tolist() == [[9, 0, 0, 0, 4, 5, 6, 0], [0, 0, 0, 0, 0, 6, 7, 8]]


def test_the_losses_have_their_closed_form(model, monkeypatch):
    assert np.asarray(huber(np.float32([0.5, -2.0]), 1.0)).tolist() == [0.125, 1.5]
    assert np.asarray(huber(np.float32([0.1, 1.0]), 0.1)) == pytest.approx([0.005, 0.095])
    config = dataclasses.replace(TINY, weight_decay=0.0)
    monkeypatch.setattr(model, "config", config)
    batch = paper.example_batch(config)
    number = len(model.anchors)
    logits = np.zeros((2, number, len(config.classes)), np.float32)
    y = {key: batch[key] for key in ("boxes", "classes")}
    targets, codes = anchor_ops.label(model.labeler, model.anchors, y["boxes"], y["classes"])
    targets = np.asarray(targets)
    loss = model.compute_loss(y=y, y_pred={"classes": logits, "boxes": codes})
    # Where all is even, an anchor's focal loss is a quarter of log 2 for each class, by its share.
    share = np.where(targets == 0, 0.75 * 4, np.where(targets > 0, 0.75 * 3 + 0.25, 0))
    expected = 0.25 * np.log(2) * share.sum(1).mean() / np.maximum((targets > 0).sum(1), 1).mean()
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["focal", "hard_negatives"])
@pytest.mark.parametrize(
    "count", [0, 1], ids=["no radiograph has a finding", "one radiograph has one"]
)
def test_radiographs_without_findings_have_a_finite_loss(model, monkeypatch, loss, count):
    import tensorflow as tf

    config = dataclasses.replace(TINY, loss=loss)
    monkeypatch.setattr(model, "config", config)
    batch = paper.example_batch(config)
    batch["classes"][count:] = 0
    batch["boxes"][count:] = 0
    with tf.GradientTape() as tape:
        loss = model.compute_loss(y=batch, y_pred=model(batch["image"]))
    kernels = [variable.value for variable in model.trainable_variables]
    gradients = tape.gradient(loss, kernels)
    assert np.isfinite(loss) and loss > 0
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_a_class_is_the_output_below_its_number(model, monkeypatch):
    """0 is no class of ours and the background of the model garden's."""
    config = dataclasses.replace(TINY, weight_decay=0.0)
    monkeypatch.setattr(model, "config", config)
    batch = paper.example_batch(config)
    for number in (1, 4):
        batch["classes"][:, 0] = number
        y = {key: batch[key] for key in ("boxes", "classes")}
        targets, codes = anchor_ops.label(model.labeler, model.anchors, *y.values())
        losses = []
        for output in range(4):
            logits = np.full((*targets.shape, 4), -6, np.float32)
            logits[np.asarray(targets) > 0, output] = 6
            y_pred = {"classes": logits, "boxes": codes}
            losses.append(float(model.compute_loss(y=y, y_pred=y_pred)))
        assert np.argmin(losses) == number - 1


# ---- the model garden in Keras 3 -----------------------------------------------------------------


def test_keras_3_trains_the_variables_of_the_model_garden(model):
    copy = paper.build_model(TINY)
    copy.set_weights(model.get_weights())
    kernel = next(w for w in copy.trainable_weights if w.name == "kernel")
    moving = next(w for w in copy.non_trainable_weights if w.name == "moving_mean")
    before = np.array(kernel), np.array(moving)
    paper.compile_model(copy, TINY, steps=2)
    copy.run_eagerly = True  # what a graph of it does is a slow test, of a whole training
    batch = paper.example_batch(TINY)
    copy.fit(batch.pop("image"), batch, batch_size=2, epochs=2, verbose=0)
    assert not np.allclose(before[0], kernel) and not np.allclose(before[1], moving)


def test_a_stateless_call_computes_with_other_weights_and_leaves_its_own(model):
    image = paper.example_batch(TINY)["image"]
    before = model(image)
    zeros = [[np.zeros(v.shape, np.float32) for v in group] for group in (
        model.trainable_variables, model.non_trainable_variables)]  # fmt: skip
    result, _ = model.stateless_call(*zeros, image, training=False)
    assert not np.asarray(result["boxes"]).any()
    after = model(image)
    for key in before:
        np.testing.assert_array_equal(before[key], after[key])


def test_weights_of_keras_mobilenet_become_the_backbones(tmp_path):
    source = keras.applications.MobileNet((224, 224, 3), 0.25, include_top=False, weights=None)
    source.save_weights(tmp_path / "encoder.weights.h5")
    config = dataclasses.replace(
        TINY, encoder_weights=str(tmp_path / "encoder.weights.h5"), input_size=(64, 64)
    )
    model = paper.build_model(config)
    network = model.get_layer("network")
    first = [w for w in model.weights if w.shape == (3, 3, 3, 8)][0]
    np.testing.assert_array_equal(first, source.get_layer("conv1").get_weights()[0])
    total = sum(np.abs(w).sum() for w in source.get_weights())
    here = sum(np.abs(np.asarray(v)).sum() for v in network.shared[: len(source.weights)])
    assert here == pytest.approx(total, rel=1e-5)


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(dz.DentalzooError, match="cannot be loaded.*Received: encoder_weights="):
        dz.build(NAME, "tiny", encoder_weights="no_such_file.h5")


@pytest.mark.slow
def test_replicas_take_the_step_of_one_device(mirrored):
    import tensorflow as tf

    config = dataclasses.replace(TINY, weight_decay=0.0)
    batch = paper.example_batch(config)
    batch = {key: np.concatenate([value, value]) for key, value in batch.items()}  # a half each
    image = batch.pop("image")

    def step(strategy):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            model = paper.build_model(config)
            model.compile(keras.optimizers.SGD(1e-2), jit_compile=False)
        before = [np.array(w) for w in model.trainable_weights]
        data = tf.data.Dataset.from_tensor_slices((image, batch)).batch(4)
        history = model.fit(data, shuffle=False, verbose=0).history
        moved = [np.array(w) - old for w, old in zip(model.trainable_weights, before, strict=True)]
        return np.concatenate([part.ravel() for part in moved]), history

    one, alone = step(tf.distribute.get_strategy())
    two, shared = step(mirrored)
    assert {k: v[0] for k, v in alone.items()} == pytest.approx(
        {k: v[0] for k, v in shared.items()}, rel=1e-3
    )
    # The deepest batch statistics are of sixteen pixels: rounding is a few per cent there.
    assert np.linalg.norm(one - two) < 0.1 * np.linalg.norm(one)


# ---- in service ----------------------------------------------------------------------------------


def test_detect_keeps_the_likeliest_of_raw(bundle):
    image = radiograph()
    raw, result = bundle.raw(image), bundle.detect(image)
    num = int(result["num"])
    assert result["boxes"].shape == (100, 4) and result["classes"].dtype == np.int32
    assert (np.diff(result["scores"][:num]) <= 0).all()
    assert not result["boxes"][num:].any() and not result["classes"][num:].any()
    assert set(result["classes"][:num]) <= {1, 2, 3, 4}
    assert result["scores"][0] == pytest.approx(raw["scores"].max(), abs=1e-6)
    assert raw["boxes"].min() >= 0 and raw["boxes"].max() <= 1
    grey, colour = bundle.raw(image), bundle.raw(np.repeat(image, 3, -1))
    np.testing.assert_allclose(grey["scores"], colour["scores"], atol=1e-5)


def test_signatures_are_the_keras_model(model, bundle):
    import tensorflow as tf

    from dentalzoo.data.io.graph import to_network

    img = radiograph(1, (200, 300))
    image = to_network(tf.constant(img[None]), TINY.input_size, 3)
    outputs = model(image, training=False)
    raw = bundle.raw(img)
    assert raw["scores"] == pytest.approx(np.asarray(tf.sigmoid(outputs["classes"]))[0], abs=1e-5)
    decoded = anchor_ops.decode(outputs["boxes"], anchor_ops.make_anchors(TINY))
    assert raw["boxes"] == pytest.approx(np.asarray(decoded)[0], abs=1e-5)


def encoded(image, kind="PNG"):
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind)
    return content.getvalue()


def example(content, key="image/encoded"):
    import tensorflow as tf

    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
    features = tf.train.Features(feature={key: feature})
    return tf.train.Example(features=features).SerializeToString()


def same(result, expected):
    assert result.keys() == expected.keys() and len(result["boxes"]) == 100
    for key, value in expected.items():
        np.testing.assert_allclose(result[key], value, atol=1e-5)


def test_outputs_become_classes_from_1_and_rows_that_count():
    """Of a network that finds the last class at one anchor and the first at another."""
    import tensorflow as tf

    number = len(anchor_ops.make_anchors(TINY))
    logits = np.full((1, number, 4), -20, np.float32)
    logits[0, 0, 3], logits[0, number - 1, 0] = 3, 2

    def network(images):
        one = tf.ones([tf.shape(images)[0], 1, 1])
        return {"classes": one * logits, "boxes": one * np.zeros((1, number, 4), np.float32)}

    detect = paper.signatures(network, TINY)["detect"]
    result = detect(tf.zeros((2, 20, 30, 1), tf.uint8))
    assert result["num"].shape == (2,) and result["num"].numpy().tolist() == [2, 2]
    assert result["classes"].numpy()[1, :3].tolist() == [4, 1, 0]
    anchors = np.clip(anchor_ops.make_anchors(TINY), 0, 1)
    np.testing.assert_allclose(result["boxes"][0, :2], anchors[[0, -1]], atol=1e-6)


@pytest.mark.parametrize(  # grey, with alpha, colour, with alpha
    ("kind", "depth"), [("PNG", 1), ("PNG", 2), ("PNG", 3), ("PNG", 4), ("JPEG", 1), ("JPEG", 3)]
)
def test_files_and_examples_give_the_boxes_of_the_image(bundle, tmp_path, kind, depth):
    shades = (1.0, 0.8, 0.9, 0.5)
    image = (radiograph(2, (90, 150)) * shades[:depth]).astype(np.uint8)
    content = encoded(image[..., 0] if depth == 1 else image, kind)
    (tmp_path / "radiograph").write_bytes(content)
    expected = bundle.detect(read_image(tmp_path / "radiograph"))
    assert expected["num"] > 0
    same(bundle.detect_encoded(content), expected)
    same(bundle.detect_example(example(content)), expected)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("depth", [1, 3])
def test_deep_files_are_read_as_images_are(bundle, tmp_path, bits, depth):
    image = np.repeat(np.uint16(radiograph(2, (90, 150))), depth, -1)
    image = image * np.uint32((1 << bits) - 1) // image.max()
    content = cv2.imencode(".png", np.uint16(image))[1].tobytes()
    (tmp_path / "radiograph").write_bytes(content)
    expected = bundle.detect(read_image(tmp_path / "radiograph"))
    assert expected["num"] > 0
    same(bundle.detect_encoded(content), expected)


def test_files_of_a_batch_differ_in_size_and_kind(bundle):
    images = [radiograph(0), np.repeat(radiograph(1, (70, 300)), 3, -1), radiograph(2, (33, 32))]
    contents = [encoded(np.squeeze(p), kind) for p, kind in zip(images, ("PNG", "BMP", "PNG"),
                                                                strict=True)]  # fmt: skip
    files = bundle.detect_encoded(contents)
    examples = bundle.detect_example([example(content) for content in contents])
    for index, image in enumerate(images):
        for result in (files, examples):
            same({key: value[index] for key, value in result.items()}, bundle.detect(image))


@pytest.mark.parametrize(
    ("signature", "content", "says"),
    [
        ("detect_encoded", b"no image", "refused its input"),
        ("detect_encoded", "radiograph.png", "bytes or a list of bytes.*Received: str"),
        ("detect_encoded", [], "Received: an empty list"),
        ("detect_encoded", [b"", None], "Received: NoneType"),
        ("detect_example", b"no example", "refused its input"),
        ("detect_example", example(b"", "image"), "image/encoded"),
    ],
)
def test_what_is_no_file_is_refused(bundle, signature, content, says):
    with pytest.raises(dz.DentalzooError, match=f"{says}") as caught:
        getattr(bundle, signature)(content)
    assert "\n" not in str(caught.value) and "Received: " in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("signature", ["detect", "detect_encoded", "detect_example"])
def test_tensorflow_alone_finds_the_same(bundle, tmp_path, signature):
    image = radiograph()
    content = encoded(image[..., 0])
    inputs = {
        "detect": {"images": image[None]},
        "detect_encoded": {"encoded": np.array([content])},
        "detect_example": {"examples": np.array([example(content)])},
    }[signature]
    alone = serve_alone(bundle.path, tmp_path, signature, **inputs)
    for key, value in bundle.detect(image).items():
        np.testing.assert_allclose(alone[key][0], value, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("weights_dtype", ["float16", "int8"])
def test_weights_are_stored_small(model, weights_dtype, tmp_path):
    small = dz.export(model, tmp_path / weights_dtype, NAME, TINY, weights_dtype=weights_dtype)
    image = radiograph()
    full = np.asarray(dz.export(model, tmp_path / "full", NAME, TINY).raw(image)["scores"])
    assert np.abs(small.raw(image)["scores"] - full).mean() < 0.05
    size = [sum(f.stat().st_size for f in (tmp_path / name).rglob("variables.data*"))
            for name in (weights_dtype, "full")]  # fmt: skip
    assert size[0] < 0.7 * size[1]


# ---- data ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("radiographs") / "phantoms"
    return write_panoramic_dataset(folder, 6, 3, 128, 256, val_fraction=0.34, restored=0.5)


def found_names(folder):
    return find_boxes(folder).classes


def test_elements_are_radiographs_and_boxes(radiographs):
    config = dataclasses.replace(TINY, classes=found_names(radiographs))
    dataset = paper.make_dataset(radiographs, config, DataOptions("train", training=True, seed=1))
    ids = {name: number for number, name in enumerate(config.classes, 1)}  # of the COCO file
    assert dataset.record == {"category_ids": ids}
    batch = next(iter(dataset))
    assert batch["image"].shape == (2, 64, 128, 3) and batch["image"].dtype == "float32"
    boxes, classes = batch["boxes"].numpy(), batch["classes"].numpy()
    assert boxes.shape == (2, 100, 4) and classes.shape == (2, 100)
    inside = boxes[classes > 0]
    assert len(inside) and (inside[:, 2:] > inside[:, :2]).all()
    assert inside.min() >= 0 and inside.max() <= 1 and not boxes[classes == 0].any()


def test_a_flip_moves_boxes_with_the_image(radiographs):
    config = dataclasses.replace(TINY, classes=found_names(radiographs), augmentation="paper")
    plain = paper.make_dataset(radiographs, config, DataOptions("train"))
    options = DataOptions("train", training=True, epochs=range(8))
    flipped = paper.make_dataset(radiographs, config, options)
    images, boxes = plain.cache.arrays["image"], plain.cache.arrays["boxes"]
    seen = set()
    for batch in flipped:
        for image, box, number in zip(*(batch[k].numpy() for k in ("image", "boxes", "classes")),
                                      strict=True):  # fmt: skip
            box = box[number > 0]
            for index, original in enumerate(images):
                own = boxes[index][plain.cache.arrays["classes"][index] > 0]
                if len(own) != len(box):
                    continue
                for across in (False, True):
                    for down in (False, True):
                        turned = original[:: -1 if down else 1, :: -1 if across else 1] / 255
                        close = np.corrcoef(turned.ravel(), image.ravel())[0, 1]
                        if close < 0.9:
                            continue
                        flipped_box = own.copy()
                        if across:
                            flipped_box[:, [1, 3]] = 1 - own[:, [3, 1]]
                        if down:
                            flipped_box[:, [0, 2]] = 1 - own[:, [2, 0]]
                        np.testing.assert_allclose(box, flipped_box, atol=1e-5)
                        seen.add((across, down))
    # Each flip comes without the other: they are random independently.
    assert seen == {(a, b) for a in (False, True) for b in (False, True)}


def test_tooth_numbers_are_flipped_to_the_other_side(tmp_path):
    """Two teeth of the patient's right: on a flipped radiograph they are on the other side."""
    names = ("11", "16", "21", "26")
    write_png(tmp_path / "images" / "radiograph.png", radiograph())
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "radiograph.txt").write_text(
        "1 0.15 0.35 0.1 0.3\n0 0.40 0.35 0.1 0.3\n"
    )
    (tmp_path / "classes.json").write_text(json.dumps(names))
    config = dataclasses.replace(TINY, classes=names, augmentation="paper", batch_size=1)
    data = paper.make_dataset(tmp_path, config, DataOptions(training=True, epochs=range(12)))
    seen = set()
    for batch in data:
        (first, second), numbers = batch["boxes"].numpy()[0, :2, 1], batch["classes"].numpy()[0, :2]
        across = first > second
        down = batch["boxes"].numpy()[0, 0, 0] > 0.4
        assert numbers.tolist() == ([4, 3] if across != down else [2, 1])
        seen.add((bool(across), bool(down)))
    assert len(seen) == 4


def test_crowds_are_not_learnt(radiographs, tmp_path):
    folder = shutil.copytree(radiographs, tmp_path / "radiographs")
    path = folder / "annotations.coco.json"
    coco = json.loads(path.read_text())
    for number, box in enumerate(coco["annotations"]):
        box["iscrowd"] = number % 2
    path.write_text(json.dumps(coco))
    config = dataclasses.replace(TINY, classes=found_names(radiographs))
    classes = paper.make_dataset(folder, config).cache.arrays["classes"]
    assert (classes > 0).sum() == -(-len(coco["annotations"]) // 2) > 0


def test_data_without_the_classes_is_refused(radiographs):
    config = dataclasses.replace(TINY, classes=("nothing", "of it"))
    with pytest.raises(dz.DentalzooError, match="Received"):
        paper.make_dataset(radiographs, config, DataOptions("train"))


# ---- learnt --------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["fpn", "ssd", "faster_rcnn"])
def learnt(request, tmp_path_factory):
    """Four radiographs, and a bundle that was trained on them."""
    folder = tmp_path_factory.mktemp(request.param)
    size = (96, 192) if request.param == "fpn" else (160, 320)
    radiographs = write_panoramic_dataset(
        folder / "radiographs", 4, 3, *size, val_fraction=0, restored=0.4
    )
    settings = {"input_size": size, "classes": ("restoration", "endodontic", "implant")}
    if request.param == "fpn":
        settings |= {"pyramid_filters": 64, "head_convs": 2, "anchor_size": 1.5, "epochs": 120}
    if request.param == "faster_rcnn":
        settings |= {"pyramid_filters": 64, "hidden_units": 128, "anchor_size": 3.0}
        settings |= {"levels": (2, 5), "match": (0.3, 0.7), "box_weight": 2.0, "epochs": 130}
    settings = {
        "epochs": 80,
        **settings,
        "augmentation": None,
        "batch_size": 4,
        "val_fraction": 0.0,
    }
    settings |= {"learning_rate": 4e-3, "bn_momentum": 0.9, "network": request.param}
    return radiographs, dz.train(NAME, radiographs, folder / "run", "tiny", **settings)


@pytest.mark.slow
def test_radiographs_are_learnt_by_heart(learnt):
    radiographs, bundle = learnt
    assert dz.evaluate(bundle, radiographs)["coco"]["ap50"] > 0.9


class Answers:
    """Stands in for a bundle: a signature is a function of an image."""

    def __init__(self, bundle, **signatures):
        self.name, self.metadata = bundle.name, bundle.metadata
        vars(self).update(signatures)


@pytest.mark.slow
def test_tensorflow_alone_has_the_precision_of_the_keras_model(learnt, tmp_path):
    """On one side files and the graph's suppression, on the other the images of training, the
    network as it was trained and our suppression."""
    radiographs, bundle = learnt
    model, config = bundle.to_keras(), dz.configure(NAME, **bundle.metadata["config"])
    anchors = anchor_ops.make_anchors(config)

    def raw(img):
        image = resize(img, config.input_size)[None] / np.float32(255)
        result = model(image, training=False)
        if config.network == "faster_rcnn":
            scores = keras.ops.softmax(result["classes"])[0, :, 1:]
            return {"boxes": result["boxes"][0], "scores": scores}
        boxes = anchor_ops.decode(result["boxes"], anchors)
        return {"boxes": boxes[0], "scores": keras.ops.sigmoid(result["classes"])[0]}

    contents = [sample.image.read_bytes() for sample in find_boxes(radiographs).samples]
    alone = serve_alone(bundle.path, tmp_path, "detect_encoded", encoded=np.array(contents))
    rows = iter(
        {key: value[index] for key, value in alone.items()} for index in range(len(contents))
    )
    served = evaluate(Answers(bundle, detect=lambda img: next(rows)), radiographs)
    options = DetectionEvaluateOptions(nms_iou=config.nms_iou)
    trained = evaluate(Answers(bundle, raw=raw), radiographs, options=options)
    for kind in ("coco", "voc"):
        assert served[kind] == pytest.approx(trained[kind], abs=1e-4)
    assert served["coco"]["ap"] > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["tiny", "ssd_mobilenet_v1", "faster_rcnn_mobilenet_v1"])
def test_mixed_precision_computes_layers_in_16_bits_and_losses_in_32(variant):
    """Also the boxes of regions, in pixels: bfloat16 has 8 bits."""
    import keras

    from dentalzoo.training import computing

    # No map of one pixel: in bfloat16 oneDNN's gradient of a convolution there may be NaN.
    side = 300 if variant == "ssd_mobilenet_v1" else 128
    small = {"input_size": (side, side), "pyramid_filters": 16, "hidden_units": 16}
    config = dz.configure(NAME, variant, encoder_weights=None, **small)
    keras.utils.set_random_seed(0)
    plain = paper.build_model(config)
    with computing.precision("bfloat16"):
        mixed = paper.build_model(config)
        paper.compile_model(mixed, config, steps=4)
    mixed.set_weights(plain.get_weights())
    batch = paper.example_batch(config)
    outputs = [model(batch["image"]) for model in (plain, mixed)]
    assert all(np.asarray(value).dtype == np.float32 for value in outputs[1].values())
    one, two = (np.asarray(output["classes"]) for output in outputs)
    assert 0 < np.abs(one - two).max() < 0.1
    y = {key: batch[key] for key in ("boxes", "classes")}
    losses = mixed.train_on_batch(batch["image"], y, return_dict=True)
    assert all(np.isfinite(float(value)) for value in losses.values())
    assert all(np.isfinite(weight).all() for weight in mixed.get_weights())
