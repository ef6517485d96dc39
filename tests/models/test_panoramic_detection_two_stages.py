"""panoramic_detection's Faster R-CNN: proposals, the regions sampled from them, and its boxes."""

import dataclasses

import keras
import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.models import panoramic_detection as paper
from dentalzoo.models.panoramic_detection import anchors as anchor_ops
from dentalzoo.training.run_state import Run
from tests.zoo_case import serve_alone, with_known_weights

NAME = "panoramic_detection"
TINY = dataclasses.replace(
    paper.VARIANTS["faster_rcnn_mobilenet_v1"],
    input_size=(64, 128),
    levels=(3, 5),
    pyramid_filters=16,
    hidden_units=16,
    num_proposals=20,
    anchor_samples=64,
    region_samples=16,
    max_detections=10,
)


@pytest.fixture(scope="module")
def model():
    return with_known_weights(paper.build_model(TINY))


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory):
    return dz.export(model, tmp_path_factory.mktemp("two_stages") / "bundle", NAME, TINY)


@pytest.fixture
def batch():
    return paper.example_batch(TINY)


def test_the_config_is_that_of_the_paper():
    config = dz.configure(NAME, "faster_rcnn")
    assert (config.num_proposals, config.proposal_iou) == (300, 0.7)
    assert (config.nms_iou, config.max_per_class, config.max_detections) == (0.2, 32, 90)
    assert (config.anchor_samples, config.region_samples, config.box_weight) == (256, 64, 2)
    assert (config.batch_size, config.learning_rate, config.clip_norm) == (1, 2e-4, 10)
    plain = keras.Sequential([keras.layers.Dense(1)])
    paper.compile_model(plain, config)
    assert (plain.optimizer.momentum, plain.optimizer.global_clipnorm) == (0.9, 10)


def test_an_encoder_of_another_network_is_refused():
    for settings in ({"encoder_weights": "imagenet"}, {"network": "ssd"}):
        with pytest.raises(dz.DentalzooError, match="Received: backbone='resnet50'"):
            dz.configure(NAME, "faster_rcnn", **settings)


def test_each_proposal_has_a_box_for_each_class(model, batch):
    result = model(batch["image"])
    assert result["classes"].shape == (2, 20, 1 + len(TINY.classes))
    assert result["boxes"].shape == (2, 20, len(TINY.classes), 4)
    assert np.min(result["boxes"]) >= 0 and np.max(result["boxes"]) <= 1
    first = model(batch["image"], training=True)
    assert set(first) == {"objectness", "codes", "maps"}


def test_proposals_are_the_likeliest_that_overlap_little(model, batch):
    from dentalzoo.ops.boxes import overlaps
    from dentalzoo.tasks.postprocessing import suppress

    first = model.first(batch["image"], training=False)
    proposals = np.asarray(model.second.propose(first["objectness"], first["codes"]))
    boxes = np.asarray(anchor_ops.decode(first["codes"], model.anchors))
    for kept_boxes, all_boxes, scores in zip(proposals, boxes, first["objectness"], strict=True):
        table = overlaps(kept_boxes, kept_boxes) - np.eye(len(kept_boxes))
        assert table.max() <= TINY.proposal_iou
        kept = suppress(all_boxes, np.asarray(scores), TINY.proposal_iou, TINY.num_proposals)
        np.testing.assert_allclose(kept_boxes[:10], all_boxes[kept[:10]], atol=1e-5)


def test_few_proposals_come_again(model):
    """An empty row would be a box of no size, which no suppression takes away."""
    codes = np.zeros((1, len(model.anchors), 4), np.float32)
    sizes = model.anchors[:, 2:] - model.anchors[:, :2]
    codes[0, :, :2] = 10 * (0.5 - (model.anchors[:, :2] + sizes / 2)) / sizes
    codes[0, :, 2:] = 5 * np.log(0.4 / sizes)  # all anchors on one box
    objectness = np.zeros(codes.shape[:2], np.float32)
    proposals = np.asarray(model.second.propose(objectness, codes))
    np.testing.assert_allclose(proposals, np.tile(np.float32([0.3, 0.3, 0.7, 0.7]), (1, 20, 1)),
                               atol=1e-4)  # fmt: skip


def test_anchors_are_sampled_anew_at_each_step(model, batch):
    """A sample that is kept, in a cache say, teaches the first stage nothing."""

    def sample():
        targets, _ = anchor_ops.label(
            model.labeler, model.anchors, batch["boxes"], batch["classes"]
        )
        return np.asarray(targets)

    one, two = sample(), sample()
    assert one.shape == (2, len(model.anchors)) and set(np.unique(one)) == {-1, 0, 1}
    assert ((one >= 0).sum(1) == 64).all() and ((one == 1).sum(1) <= 32).all()
    assert not np.array_equal(one, two)


def test_anchors_are_sampled_in_xla_alike(model, batch, monkeypatch):
    arguments = model.labeler, model.anchors, batch["boxes"], batch["classes"]
    expected = [np.asarray(anchor_ops.label(*arguments)[0]) for _ in range(40)]
    monkeypatch.setattr("dentalzoo.ops.xla.in_xla", lambda: True)
    drawn = [np.asarray(anchor_ops.label(*arguments)[0]) for _ in range(40)]
    for targets in drawn:
        assert ((targets >= 0).sum(1) == 64).all() and targets.max() == 1
    assert not np.array_equal(drawn[0], drawn[1])
    positive = [np.any([targets == 1 for targets in each], axis=0) for each in (expected, drawn)]
    assert np.array_equal(*positive)  # the same anchors are of findings
    counts = [(each[0] == 1).sum(1).tolist() for each in (expected, drawn)]
    assert counts[0] == counts[1]
    nothing = *arguments[:3], np.zeros_like(batch["classes"])
    assert set(np.unique(anchor_ops.label(*nothing)[0])) == {-1, 0}


def test_regions_are_sampled_around_findings_and_elsewhere(model, batch):
    proposals = np.random.default_rng(0).uniform(0, 0.4, (2, 20, 4)).astype(np.float32)
    proposals[..., 2:] += 0.5
    near = batch["boxes"][:, :1] + np.float32([0.01, -0.01, 0.02, 0.01])
    proposals = np.concatenate([proposals, near], axis=1)
    regions, classes, codes = model._regions(proposals, batch)
    regions, classes = np.asarray(regions), np.asarray(classes)
    assert regions.shape == (2, 16, 4) and classes.shape == (2, 16)
    for region, label, code, box in zip(regions, classes, codes, batch["boxes"][:, 0], strict=True):
        assert 1 <= (label == 1).sum() <= 4 and (label <= 1).all()  # a quarter at most
        decoded = np.asarray(anchor_ops.decode(code[None], region))[0][label == 1]
        np.testing.assert_allclose(decoded, np.tile(box, (len(decoded), 1)), atol=1e-5)


def test_no_region_lies_outside_of_the_radiograph(model, batch):
    """Where all proposals lie on the finding there are fewer others than are to be sampled."""
    proposals = np.repeat(batch["boxes"][:, :1], 20, axis=1)
    regions, classes, codes = map(np.asarray, model._regions(proposals, batch))
    assert regions.min() >= 0 and regions.max() <= 1 and (classes == 1).all()
    np.testing.assert_allclose(codes, 0, atol=1e-4)


def test_a_radiograph_without_findings_has_a_loss(model, batch):
    empty = {key: np.zeros_like(batch[key]) for key in ("boxes", "classes")}
    first = model(batch["image"], training=True)
    class_loss, box_loss = model.sample_losses(batch["image"], empty, first, True)
    assert np.isfinite(class_loss).all() and (np.asarray(class_loss) > 0).all()
    assert not np.asarray(box_loss).any()


def test_both_stages_learn(batch):
    copy = paper.build_model(TINY)
    before = [np.array(w) for w in copy.trainable_weights]
    second = {id(w) for w in copy.second.trainable_weights}
    paper.compile_model(copy, TINY, steps=2)
    copy.run_eagerly = True  # tracing both stages takes far longer than two steps
    image = batch.pop("image")
    history = copy.fit(image, batch, validation_data=(image, batch), batch_size=2, verbose=0)
    assert np.isfinite([value for values in history.history.values() for value in values]).all()
    moved = {
        id(w) in second: True
        for w, old in zip(copy.trainable_weights, before, strict=True)
        if not np.allclose(old, w)
    }
    assert moved == {True: True, False: True}


@pytest.mark.parametrize("monitor, best", [(None, 2), ("val_loss", 1)])
def test_the_loss_of_two_stages_tells_no_best_epoch(monitor, best, tmp_path):
    """It grows with the regions that the first stage finds: the last epoch is the result."""
    plain = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    plain.compile("sgd", "mse")
    run = Run(tmp_path, dataclasses.replace(TINY, monitor=monitor))
    run.attach(plain, [], validated=True)
    run.callbacks()[-1].on_epoch_begin(0)
    for epoch, loss in ((1, 0.5), (2, 0.9)):
        run.end_epoch(epoch, {"loss": loss, "val_loss": loss})
    assert run.best_epoch == best
    assert dz.configure(NAME, "faster_rcnn").monitor is None


def test_detect_keeps_the_likeliest_of_raw(model, bundle, batch):
    import tensorflow as tf

    from dentalzoo.data.io.graph import to_network

    image = np.uint8(255 * batch["image"][0])
    raw, result = bundle.raw(image), bundle.detect(image)
    assert raw["boxes"].shape == (20, 4, 4) and raw["scores"].shape == (20, 4)
    outputs = model(to_network(tf.constant(image[None]), TINY.input_size, 3))
    scores = np.asarray(tf.nn.softmax(outputs["classes"]))[0, :, 1:]
    np.testing.assert_allclose(raw["scores"], scores, atol=1e-5)
    np.testing.assert_allclose(raw["boxes"], outputs["boxes"][0], atol=1e-5)
    assert result["boxes"].shape == (10, 4) and result["num"] > 0
    assert result["scores"][0] == pytest.approx(scores.max(), abs=1e-6)


@pytest.mark.slow
def test_resnet_50_is_a_backbone_of_both_networks_with_a_pyramid(batch):
    image = batch.pop("image")
    for name in ("faster_rcnn", "fpn"):
        config = dataclasses.replace(TINY, network=name, backbone="resnet50", backbone_alpha=1.0)
        built = paper.build_model(config)
        assert built.count_params() > 23e6
        paper.compile_model(built, config, steps=2)
        built.run_eagerly = True
        losses = built.fit(image, batch, batch_size=2, epochs=2, verbose=0).history["loss"]
        assert np.isfinite(losses).all()


@pytest.mark.slow
def test_tensorflow_alone_finds_the_same(bundle, batch, tmp_path):
    image = np.uint8(255 * batch["image"][0])
    alone = serve_alone(bundle.path, tmp_path, "detect", images=image[None])
    for key, value in bundle.detect(image).items():
        np.testing.assert_allclose(alone[key][0], value, atol=1e-4)
