"""Scoring, evaluating and making superimposed images, on stand-ins that need no network."""

import csv
import json
import math
import shutil
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from dentalzoo.data.images import find_images, load_image
from dentalzoo.data.io.images import read_image, read_mask, resize, write_png
from dentalzoo.data.masks import find_masks, load
from dentalzoo.data.synthetic import write_defect_dataset
from dentalzoo.errors import DentalzooError, MissingSplit
from dentalzoo.tasks.options import (
    AugmentOptions,
    GenerationPredictOptions,
    SuperimposeOptions,
)
from dentalzoo.tasks.options import (
    SuperimpositionEvaluateOptions as EvaluateOptions,
)
from dentalzoo.tasks.scoring import Drawing
from dentalzoo.tasks.superimposition import (
    augment_dataset,
    evaluate,
    predict,
    resampling,
    scan,
    summary_metrics,
    superimpose,
)
from dentalzoo.tasks.superimposition.latents import collapse, main_plane, scan_plane, separation
from dentalzoo.tasks.superimposition.methods import extremes, sampled
from dentalzoo.tasks.superimposition.scores import (
    BACKGROUND,
    FAINT,
    HALO,
    VISIBLE,
    Scorer,
    contrast,
    contrast_weights,
    random_sets,
    score,
)

# ---- scores --------------------------------------------------------------------------------------


def rectangle(top, left, bottom, right, size=64):
    mask = np.zeros((size, size), bool)
    mask[top:bottom, left:right] = True
    return mask


def painted(masks, depths, background=0.7):
    """Flat sources (K, H, W) whose defects are darker than the background by `depths`."""
    return np.stack(
        [np.where(m, background - d, background) for m, d in zip(masks, depths, strict=True)]
    ).astype(np.float32)


THREE = np.stack([rectangle(5, 5, 15, 15), rectangle(30, 8, 33, 50), rectangle(45, 45, 55, 58)])


@pytest.mark.parametrize("sign", [1, -1], ids=["dark", "bright"])
def test_a_composite_that_is_right_by_construction_succeeds(sign):
    sources = painted(THREE, [sign * d for d in (0.3, 0.2, 0.1)])
    composite = sources.min(0) if sign > 0 else sources.max(0)
    result = score(composite, sources, THREE)
    assert result.recovered == pytest.approx((1, 1, 1), abs=1e-5)
    assert result.visible == (True, True, True)
    assert result.background_error == pytest.approx(0, abs=1e-6)
    assert result.success


def test_dark_and_bright_defects_are_judged_alike_in_one_image():
    sources = painted(THREE[:2], (0.3, -0.2))
    both = sources.sum(0) - 0.7
    assert score(both, sources, THREE[:2]).recovered == pytest.approx((1, 1), abs=1e-5)
    swapped = score(1.4 - both, sources, THREE[:2])
    assert swapped.recovered == pytest.approx((-1, -1), abs=1e-5)
    assert not any(swapped.visible)


def test_a_missing_defect_is_no_success():
    sources = painted(THREE, (0.3, 0.3, 0.3))
    result = score(sources[:2].min(0), sources, THREE)
    assert result.recovered == pytest.approx((1, 1, 0), abs=1e-5)
    assert (result.visible, result.success) == ((True, True, False), False)


def test_a_ghost_of_30_percent_is_not_visible():
    sources = painted(THREE, (0.3, 0.3, 0.3))
    ghost = 0.7 - 0.3 * (0.7 - sources[2])
    result = score(np.minimum(sources[:2].min(0), ghost), sources, THREE)
    assert result.recovered == pytest.approx((1, 1, 0.3), abs=1e-5)
    assert (result.visible, result.success) == ((True, True, False), False)


@pytest.mark.parametrize("depth", [0.3, 0.6])
def test_a_wide_dark_blob_is_no_success(depth):
    """The contrast does not see it, even where the ring around the defect is half dark too."""
    masks = THREE[1:2]
    sources = painted(masks, (0.2,))
    wide = cv2.dilate(masks[0].astype(np.uint8), np.ones((9, 9))) > 0
    result = score(np.where(wide, 0.7 - depth, 0.7).astype(np.float32), sources, masks)
    assert result.visible == (True,) and result.recovered[0] > depth
    assert result.largest_halo == result.halo[0] > 0.7 and not result.success


def test_edges_that_are_a_pixel_softer_are_no_halo():
    sources = painted(THREE, (0.3, 0.2, 0.1))
    soft = cv2.GaussianBlur(sources.min(0), (5, 5), 0.8)
    result = score(soft, sources, THREE)
    assert result.success and result.largest_halo < 0.2


def test_the_mean_of_three_shows_each_at_a_third():
    sources = painted(THREE, (0.3, 0.2, 0.3))
    result = score(sources.mean(0), sources, THREE)
    assert result.recovered == pytest.approx((1 / 3,) * 3, abs=1e-5)
    assert result.background_error == pytest.approx(0, abs=1e-6)
    assert not result.success


@pytest.mark.parametrize(("shift", "success"), [(0.04, True), (0.06, False), (-0.06, False)])
def test_a_shifted_background_keeps_the_contrast_and_fails_beyond_the_bound(shift, success):
    sources = painted(THREE, (0.3, 0.3, 0.3))
    result = score(sources.min(0) + shift, sources, THREE)
    assert result.recovered == pytest.approx((1, 1, 1), abs=1e-5)
    assert result.background_error == pytest.approx(abs(shift), abs=1e-5)
    assert result.success == success


def test_the_expected_background_is_the_mean_of_the_sources():
    dark, bright = painted(THREE[:1], (0.2,), 0.4), painted(THREE[1:2], (0.2,), 0.8)
    sources = np.concatenate([dark, bright])
    fair = np.where(THREE[:2].any(0), 0.4, 0.6)
    assert score(fair, sources, THREE[:2]).background_error == pytest.approx(0, abs=1e-6)
    assert score(dark[0], sources, THREE[:2]).background_error == pytest.approx(0.2, abs=1e-5)


def test_overlapping_masks_are_measured_where_they_are_alone():
    masks = np.stack([rectangle(20, 20, 30, 40), rectangle(15, 28, 45, 34)])
    sources = painted(masks, (0.3, 0.3))
    result = score(sources.min(0), sources, masks)
    assert result.recovered == pytest.approx((1, 1), abs=1e-5)
    # The crossing belongs to both: one defect alone does not show the other.
    assert score(sources[0], sources, masks).visible == (True, False)


def test_a_mask_inside_another_is_measured_whole():
    masks = np.stack([rectangle(10, 10, 40, 40), rectangle(20, 20, 24, 24)])
    weights = contrast_weights(masks[1], masks[:1])
    assert np.array_equal(weights < 0, masks[1])
    assert not (weights[masks[0]] > 0).any()  # its ring is outside both
    assert Scorer(np.zeros((2, 64, 64)), masks).covered.tolist() == [False, True]


def test_masks_at_the_border_use_what_lies_inside():
    masks = np.stack([rectangle(0, 0, 4, 64), rectangle(60, 60, 64, 64)])
    sources = painted(masks, (0.5, 0.3))
    assert score(sources.min(0), sources, masks).success


def test_without_a_ring_all_background_takes_its_place():
    masks = np.stack(
        [rectangle(10, 10, 20, 20), rectangle(0, 0, 40, 64) & ~rectangle(9, 9, 21, 21)]
    )
    weights = contrast_weights(masks[0], masks[1:])
    assert np.array_equal(weights > 0, rectangle(41, 0, 64, 64))


@pytest.mark.parametrize("mask", [rectangle(0, 0, 64, 64), rectangle(0, 0, 0, 0)])
def test_a_mask_of_everything_or_nothing_cannot_be_judged(mask):
    assert contrast(np.ones((64, 64)), mask) == 0
    result = score(np.zeros((64, 64)), np.zeros((1, 64, 64)), mask[None])
    assert math.isnan(result.recovered[0])
    assert (result.visible, result.success, result.background_error) == ((False,), False, 0.0)


@pytest.mark.parametrize("at", [(0, 0), (63, 30), (31, 31)])
def test_a_mask_of_one_pixel_is_judged(at):
    mask = rectangle(at[0], at[1], at[0] + 1, at[1] + 1)[None]
    sources = painted(mask, (0.4,))
    assert score(sources[0], sources, mask).success
    assert score(np.full((64, 64), 0.7), sources, mask).recovered == pytest.approx((0,), abs=1e-5)


def test_the_ring_lies_three_to_six_pixels_away_and_off_every_mask():
    weights = contrast_weights(rectangle(30, 30, 32, 32), rectangle(24, 0, 26, 64)[None])
    rows, columns = np.nonzero(weights > 0)
    away = np.maximum.reduce([30 - rows, rows - 31, 30 - columns, columns - 31])
    assert (away.min(), away.max()) == (3, 6)
    assert rows.min() == 27  # rows 23 to 26 are the other mask and its edge
    assert weights.sum() == pytest.approx(0, abs=1e-6)


def test_a_faint_source_cannot_be_judged():
    sources = painted(THREE[:2], (0.3, 0.9 * FAINT))
    scorer = Scorer(sources, THREE[:2])
    assert scorer.judgeable.tolist() == [True, False]
    assert math.isnan(scorer.score(sources.min(0)).recovered[1])
    assert not scorer.score(sources.min(0)).success


def test_a_batch_is_scored_as_its_images_are():
    rng = np.random.default_rng(0)
    sources, images = painted(THREE, (0.3, 0.2, 0.1)), rng.random((5, 64, 64), np.float32)
    scorer = Scorer(sources, THREE)
    recovered, errors = scorer.recovered(images), scorer.background_errors(images)
    halos = scorer.halos(images)
    for i, image in enumerate(images):
        one = scorer.score(image)
        # Of about 1; one by chance near 0 has the rounding of the others.
        assert recovered[i] == pytest.approx(one.recovered, rel=1e-4, abs=1e-6)
        assert errors[i] == pytest.approx(one.background_error, rel=1e-4)
        assert halos[i] == pytest.approx(one.halo, rel=1e-4)
        assert one.visible == tuple(recovered[i] >= VISIBLE)
        assert one.success == (all(one.visible) and scorer.kept(images)[i])
        assert scorer.kept(images)[i] == (max(halos[i]) <= HALO and errors[i] <= BACKGROUND)


@pytest.mark.parametrize("shapes", [((3, 8, 8), (2, 8, 8)), ((8, 8), (8, 8)), ((0, 8, 8),) * 2])
def test_sources_and_masks_of_different_shapes_are_refused(shapes):
    with pytest.raises(DentalzooError, match=r"one shape \(K, H, W\). Received"):
        Scorer(np.zeros(shapes[0]), np.zeros(shapes[1], bool))
    with pytest.raises(DentalzooError, match="Received"):
        score(np.zeros((9, 9)), np.zeros((1, 8, 8)), np.zeros((1, 8, 8), bool))


def test_sets_are_different_pairs_and_triples_fixed_by_the_seed():
    sets = random_sets(40, 100, seed=3)
    assert sets == random_sets(40, 100, seed=3) != random_sets(40, 100, seed=4)
    assert len(set(sets)) == 100
    assert [len(one) for one in sets] == [2, 3] * 50
    assert all(list(one) == sorted(set(one)) for one in sets)
    assert {i for one in sets for i in one} == set(range(40))


def test_a_rare_label_is_chosen_as_often_as_a_frequent_one():
    labels = ["pore"] * 90 + ["crack"] * 30
    sets = random_sets(labels, 400)
    share = np.mean([labels[i] == "crack" for one in sets for i in one])
    assert 0.4 < share < 0.5


def test_no_more_sets_come_than_exist():
    assert sorted(random_sets(3, 100)) == [(0, 1), (0, 1, 2), (0, 2), (1, 2)]
    assert random_sets(2, 100) == [(0, 1)]
    with pytest.raises(
        DentalzooError, match="at least 2 images that can be judged are needed. Received: 1"
    ):
        random_sets(1, 10)
    with pytest.raises(DentalzooError, match=r"sizes must be .* Received: \(\)"):
        random_sets(5, 1, ())


# ---- a stand-in ----------------------------------------------------------------------------------


class StandIn:
    """A bundle without a network: the principal components of a data set around its background.

    Linear: the decoded sum of codes is the sum of the defects, superimposed by construction.
    """

    name, path = "stand_in", None

    def __init__(self, data, units=None, size=(32, 32), **config):
        images = [load_image(s, size, 1)["image"] for s in find_images(data).samples]
        values = np.stack(images).reshape(len(images), -1) / 255
        self.size, self.background = size, np.median(values, axis=0)
        variances, rows = np.linalg.eigh((away := values - self.background) @ away.T)
        kept = np.flatnonzero(variances > 1e-9 * variances[-1])[::-1][:units]
        self.axes = (rows[:, kept] / np.sqrt(variances[kept])).T @ away
        defaults = {"input_size": list(size), "channels": 1, "latent_dim": len(self.axes)}
        self.metadata = {"task": "superimposition", "config": defaults | config}

    def encode(self, image):
        if image.ndim == 3:
            return {key: value[0] for key, value in self.encode(image[None]).items()}
        image = np.stack([resize(img, self.size)[..., :1] for img in image]) / 255
        z = (image.reshape(len(image), -1) - self.background) @ self.axes.T
        return {
            "z_mean": np.float32(z),
            "z_log_var": np.full(z.shape, -6, np.float32),
            "image": np.float32(image),
        }

    def decode(self, z):
        if z.ndim == 1:
            return {"image": self.decode(z[None])["image"][0]}
        image = np.clip(self.background + z @ self.axes, 0, 1)
        return {"image": np.float32(image.reshape(len(z), *self.size, 1))}

    def overlay(self, image, weights):
        z = weights @ self.encode(image)["z_mean"]
        return {"image": self.decode(z[None])["image"][0], "z": z}


class Forgetful(StandIn):
    """A bundle whose code is always zero and which decodes the background."""

    def encode(self, image):
        return {k: v * (k == "image") for k, v in super().encode(image).items()}


KINDS = ("pore", "crack")


def write_flat(folder, count=12, val=0, seed=0):
    """Flat images 40 x 40 with a dark disc (pore) or line (crack) each, and their masks."""
    rng = np.random.default_rng(seed)
    rows, labels = ["id,split"], ["id,kind,top,left,bottom,right"]
    for i in range(count):
        mask = np.zeros((40, 40), np.uint8)
        at = tuple(map(int, rng.integers(6, 34, 2)))
        if i % 2:
            cv2.line(mask, at, (at[0], 39 - at[1]), 1, 3)
        else:
            cv2.circle(mask, at, 4, 1, -1)
        image = np.where(mask, 200 - int(rng.integers(60, 120)), 200).astype(np.uint8)
        write_png(folder / "images" / f"p{i:02d}.png", image)
        write_png(folder / "masks" / f"p{i:02d}.png", mask * 255)
        rows.append(f"p{i:02d},{'val' if i >= count - val else 'train'}")
        labels.append(f"p{i:02d},{KINDS[i % 2]},0,0,1,1")
    (folder / "split.csv").write_text("\n".join(rows))
    (folder / "defects.csv").write_text("\n".join(labels))
    return folder


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A data set of 12 flat images. Not to be changed."""
    return write_flat(tmp_path_factory.mktemp("flat") / "data")


@pytest.fixture(scope="module")
def bundle(flat):
    return StandIn(flat)


# ---- the latent space ----------------------------------------------------------------------------


def test_separation_is_the_least_distance_in_deviations():
    means = np.float32([[0, 0], [3, 4], [0, 1]])
    log_var = np.log(np.float32([[1, 1], [1, 4], [1, 1]]))
    assert separation(means, log_var) == pytest.approx(1 / 2)
    assert separation(means[:1], log_var[:1]) is None
    many = np.random.default_rng(0).normal(size=(1200, 5))
    nearest = min(np.linalg.norm(many[:i] - many[i], axis=1).min() for i in range(1, 1200))
    assert separation(many, np.zeros((1200, 5))) == pytest.approx(nearest)


CONV = {"network": "conv", "hidden_activation": "relu", "invert": False}


def test_a_collapse_is_reported_with_what_to_change():
    wrong = collapse(np.zeros((3, 2)), np.zeros((3, 2)), CONV)
    assert "collapsed: it carries 0.000 nats" in wrong
    for way in ('hidden_activation="leaky_relu"', "invert=True", "latent_dim", "robust"):
        assert way in wrong
    other = {**CONV, "network": "map", "invert": True}
    wrong = collapse(np.zeros((3, 8)), np.zeros((3, 8)), other)
    assert wrong.endswith(
        "every image is decoded alike and no superimposed image can show its sources. "
        "Train again with the variant robust"
    )


def test_images_that_coincide_are_reported_among_a_few_only():
    means, log_var = np.float32([[-2, 0], [2, 0], [2, 0.1]]), np.full((3, 2), -2, np.float32)
    assert "0.3 standard deviations apart" in collapse(means, log_var, CONV)
    assert collapse(means[:2], log_var[:2], CONV) is None
    crowd = np.random.default_rng(0).normal(size=(40, 2))
    assert collapse(crowd, np.full((40, 2), -2), CONV) is None


def test_the_scan_of_the_paper_is_60501_points_with_both_ends():
    class Asked:
        def decode(self, z):
            return {"image": z[:, None, :, None]}

    blocks = list(scan(Asked()))
    positions = np.concatenate([positions for positions, _ in blocks])
    z = np.concatenate([images for _, images in blocks])[:, 0, :, 0]
    assert z.shape == (301 * 201, 2) == (60501, 2)
    assert max(len(images) for _, images in blocks) <= 512
    np.testing.assert_array_equal(positions, np.stack(np.divmod(np.arange(60501), 301), 1))
    np.testing.assert_allclose(z[[0, 300, -301, -1]], [[-15, 10], [15, 10], [-15, -10], [15, -10]])
    np.testing.assert_allclose(z[1] - z[0], [0.1, 0], atol=1e-5)
    np.testing.assert_allclose(z[301] - z[0], [0, -0.1], atol=1e-5)


def test_the_plane_of_two_units_is_that_of_the_config():
    plane = scan_plane(np.zeros((3, 2)), {"scan": (-3, 3, -2, 2), "scan_step": 0.5})
    assert [len(side) for side in plane.grid()] == [13, 9]
    np.testing.assert_array_equal(plane.project(np.float32([[1, 2]])), [[1, 2]])


def test_the_plane_of_many_units_is_that_of_the_sums_of_two_images():
    first, second = np.random.default_rng(0).normal(size=(2, 6))
    plane = scan_plane(np.stack([first, second]), {})
    z = plane.points(np.float64([[1, 0], [0, 1], [0.5, 0.5], [1, 1]]))
    wanted = np.stack([first, second, (first + second) / 2, first + second])
    np.testing.assert_allclose(z, wanted, atol=1e-6)
    np.testing.assert_allclose(
        plane.project(wanted), [[1, 0], [0, 1], [0.5, 0.5], [1, 1]], atol=1e-9
    )
    xs, ys = plane.grid()
    assert (xs[0], xs[-1], ys[0], ys[-1], len(xs)) == (-0.5, 1.5, 1.5, -0.5, 41)


def test_units_that_a_bundle_averages_stay_at_the_mean():
    first, second = np.random.default_rng(0).normal(size=(2, 6))
    plane = scan_plane(np.stack([first, second]), {"averaged": 2})
    both = plane.points(np.float64([[1, 1]]))[0]
    np.testing.assert_allclose(both[:2], (first + second)[:2] / 2, atol=1e-6)
    np.testing.assert_allclose(both[2:], (first + second)[2:], atol=1e-6)


def test_the_main_plane_of_many_units_holds_most_of_the_means():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(50, 2)) @ rng.normal(size=(2, 9)) + 3
    plane = main_plane(means)
    np.testing.assert_allclose(plane.points(plane.project(means)), means, atol=1e-5)
    spread = plane.spread(np.zeros((1, 9)))[0]
    np.testing.assert_allclose(spread, np.eye(2), atol=1e-9)


# ---- methods -------------------------------------------------------------------------------------


def test_extremes_keep_dark_and_bright_defects_and_average_the_backgrounds():
    images = np.full((2, 40, 40, 1), 0.4, np.float32)
    images[1] = 0.6
    images[0, 5:10, 5:10], images[1, 20:25, 20:25] = 0.1, 0.9
    combined = extremes(images)[..., 0]
    assert combined[0, 0] == pytest.approx(0.5, abs=0.01)
    assert combined[7, 7] == pytest.approx(0.5 - 0.3, abs=0.01)
    assert combined[22, 22] == pytest.approx(0.5 + 0.3, abs=0.01)


@pytest.mark.parametrize("config", [{}, {"overlay": "mean"}, {"averaged": 3}])
def test_samples_without_noise_are_superimposed_as_by_the_bundle(flat, config):
    bundle = StandIn(flat, **config)
    z = np.random.default_rng(0).normal(size=(3, 12)).astype(np.float32) / 9
    wanted = {"mean": z.mean(0), "sum": z.sum(0)}[config.get("overlay", "sum")]
    wanted[: config.get("averaged", 0)] = z.mean(0)[: config.get("averaged", 0)]
    same = sampled(bundle, z, np.zeros_like(z), 0.0, np.random.default_rng(1))
    np.testing.assert_allclose(same, bundle.decode(wanted)["image"], atol=1e-6)
    noisy = sampled(bundle, z, np.zeros_like(z), 1.0, np.random.default_rng(1))
    assert np.abs(noisy - same).max() > 0.01


# ---- evaluate ------------------------------------------------------------------------------------


def test_a_bundle_that_superimposes_by_construction_succeeds(flat, bundle, tmp_path):
    report = evaluate(bundle, flat, out=tmp_path / "report", options=EvaluateOptions(count=20))
    methods = report["superimposition"]["methods"]
    assert methods["bundle"]["all"]["success"] == 1.0
    clear = report["superimposition"]["sets"]
    assert clear == 20 == methods["bundle"]["pairs"]["sets"] + methods["bundle"]["triples"]["sets"]
    assert methods["sum"] == methods["bundle"]
    assert methods["mean"]["triples"]["success"] == 0.0
    assert methods["mean"]["triples"]["recovered_median"] == pytest.approx(1 / 3, abs=0.05)
    assert methods["decoded"]["all"]["success"] > 0.9
    assert report["collapse"] is None
    assert report["reconstruction"]["mae"] < 1e-3
    assert report["skipped"] == []
    assert json.loads((tmp_path / "report" / "evaluation.json").read_text()) == report
    assert {p.name for p in (tmp_path / "report").iterdir()} == {
        "evaluation.json",
        "evaluation.txt",
        "superimposed.png",
        "latent.png",
        "scan.png",
    }
    numbers = summary_metrics(report)
    assert numbers["success"] == numbers["success_pairs"] == numbers["success_triples"] == 1.0
    assert all(isinstance(value, float) for value in numbers.values())
    for key, value in numbers.items():
        assert report["intervals"][key]["value"] == pytest.approx(value, abs=2e-6)


def test_sets_in_which_a_defect_lies_under_another_are_apart(bundle, tmp_path):
    levels = np.full((32, 32, 1), 180, np.uint8)
    for i, (low, high) in enumerate([(10, 20), (11, 19), (22, 28)]):  # the second in the first
        image, mask = levels.copy(), np.zeros((32, 32, 1), np.uint8)
        image[low:high, low:high], mask[low:high, low:high] = 90, 255
        write_png(tmp_path / "images" / f"{i}.png", image)
        write_png(tmp_path / "masks" / f"{i}.png", mask)
    found = evaluate(bundle, tmp_path, options=EvaluateOptions(count=9))["superimposition"]
    assert (found["sets"], found["covered_sets"]) == (2, 2)  # of three pairs and a triple
    for key, covered in (("per_set", False), ("per_covered_set", True)):
        assert [{*row["sources"]} >= {"0", "1"} for row in found[key]] == [covered] * 2
    assert found["methods"]["bundle"]["all"]["sets"] == 2
    assert found["methods"]["bundle"]["covered"]["sets"] == 2


def test_a_set_counts_as_often_as_its_sources_are_drawn():
    drawn = Drawing(tuple("abcd"), ("1", "1", "2", "3"), ("",) * 4)
    members = resampling._members([(0, 1), (0, 2), (1, 2, 3)], drawn.groups)
    times = np.array([[2.0, 2.0, 3.0, 0.0]])
    counts = np.concatenate([times, np.ones((1, 1))], 1)[:, members].prod(2)
    assert counts.tolist() == [[2, 6, 0]]  # sources of one group are drawn once, together


def test_the_scores_of_a_set_are_those_of_its_superimposed_image(flat, bundle):
    (row,) = evaluate(bundle, flat, options=EvaluateOptions(count=1))["superimposition"]["per_set"]
    samples = {s.name: load_image(s, (32, 32), 1) for s in find_images(flat).samples}
    images = np.stack([samples[name]["image"] for name in row["sources"]])
    masks = np.stack([samples[name]["mask"][..., 0] for name in row["sources"]]) > 0
    made = bundle.overlay(images, np.ones(len(images), np.float32))["image"][..., 0]
    result = score(made, images[..., 0] / 255, masks)
    assert row["bundle"]["recovered"] == pytest.approx(result.recovered, abs=1e-5)
    assert row["bundle"]["background_error"] == pytest.approx(result.background_error, abs=1e-5)
    assert row["bundle"]["success"] == result.success


def test_the_seed_decides_the_sets(flat, bundle):
    sets = [
        [
            row["sources"]
            for row in evaluate(bundle, flat, options=EvaluateOptions(count=6, seed=seed))[
                "superimposition"
            ]["per_set"]
        ]
        for seed in (0, 0, 1)
    ]
    assert sets[0] == sets[1] != sets[2]


def test_a_collapsed_bundle_is_called_so(flat, caplog):
    report = evaluate(Forgetful(flat), flat, options=EvaluateOptions(count=4))
    assert report["collapse"].startswith("the code has collapsed")
    assert report["collapse"] in caplog.text
    assert report["latent"]["active_units"] == 0
    assert summary_metrics(report)["success"] == 0.0


def test_few_successes_of_shrunk_windows_are_explained(flat, tmp_path, caplog):
    """Images of 160 x 160 with a network of 32 x 32; the same parts as they are, or successes."""
    for folder in ("images", "masks"):
        for path in sorted((flat / folder).iterdir()):
            larger = np.kron(read_image(path)[..., 0], np.ones((4, 4), np.uint8))
            write_png(tmp_path / folder / path.name, larger)
    whole = EvaluateOptions(count=4, crops="masks", margin=4.0)
    evaluate(Forgetful(flat), tmp_path, options=whole)
    assert "0 of 4 succeed: 12 of 12 windows are shrunk 2 times or more, to 32 x 32" in caplog.text
    assert "crops=masks window=32" in caplog.text
    caplog.clear()
    evaluate(StandIn(flat), flat, options=EvaluateOptions(count=4))
    evaluate(Forgetful(flat), tmp_path, options=EvaluateOptions(count=4, crops="masks", window=32))
    assert "are shrunk" not in caplog.text
    with pytest.raises(DentalzooError, match="no superimposed image shows"):
        augment_dataset(
            Forgetful(flat),
            tmp_path,
            tmp_path.with_name("more"),
            options=AugmentOptions(count=2, crops="masks", margin=4.0),
        )
    assert "windows are shrunk 2 times or more" in caplog.text  # of the split train


def test_a_plane_of_two_units_is_scanned_with_a_map(flat, tmp_path):
    narrow = StandIn(flat, 2, scan=(-3, 3, -2, 2), scan_step=0.25)
    evaluate(narrow, flat, out=tmp_path / "report", options=EvaluateOptions(count=4))
    with_map = read_image(tmp_path / "report" / "scan.png").shape
    (tmp_path / "bare").mkdir()
    for path in (flat / "images").iterdir():
        shutil.copy(path, tmp_path / "bare")
    report = evaluate(
        narrow, tmp_path / "bare", out=tmp_path / "other", options=EvaluateOptions(count=4)
    )
    assert report["superimposition"] is None
    without = read_image(tmp_path / "other" / "scan.png").shape
    assert with_map[0] > without[0] > 200
    assert set(summary_metrics(report)) == {"mae", "kl"}
    assert (tmp_path / "other" / "superimposed.png").is_file()


def test_faint_defects_and_broken_files_are_left_out_and_counted(tmp_path):
    data = write_flat(tmp_path / "data", 6)
    faint = np.full((40, 40), 200, np.uint8)
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 10:20] = 255
    write_png(data / "images" / "p01.png", faint - (mask // 51))  # 5 of 255
    write_png(data / "masks" / "p01.png", mask)
    bundle = StandIn(data)
    (data / "images" / "p02.png").write_bytes(b"no image")
    write_png(data / "masks" / "p03.png", mask[:20])
    report = evaluate(bundle, data, options=EvaluateOptions(count=100))
    assert report["images"] == 4
    assert report["superimposition"]["faint"] == 1
    assert report["superimposition"]["sets"] == 4  # three pairs and a triple of three images
    assert [name for name, _ in report["skipped"]] == ["p02.png", "p03.png"]


def test_one_image_is_measured_without_superimposition(tmp_path):
    data = write_flat(tmp_path / "data", 1)
    report = evaluate(StandIn(data), data, out=tmp_path / "report")
    assert (report["superimposition"], report["images"]) == (None, 1)
    assert report["latent"]["separation"] is None
    assert not (tmp_path / "report" / "superimposed.png").exists()


def test_only_the_split_is_measured(tmp_path):
    data = write_flat(tmp_path / "data", 8, val=3)
    assert (
        evaluate(StandIn(data), data, split="val", options=EvaluateOptions(count=3))["images"] == 3
    )


def test_out_may_not_hold_the_images(flat, bundle):
    with pytest.raises(DentalzooError, match="holds inputs"):
        evaluate(bundle, flat, out=flat / "images")


def test_a_folder_without_usable_images_is_refused(tmp_path, bundle):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DentalzooError, match="none of 1 images can be used. Received: bad.png"):
        evaluate(bundle, tmp_path)


# ---- superimpose ---------------------------------------------------------------------------------


def test_a_superimposed_image_has_the_masks_and_boxes_of_its_sources(flat, bundle, tmp_path):
    paths = [flat / "images" / name for name in ("p00.png", "p03.png", "p04.png")]
    report = superimpose(bundle, paths, tmp_path / "out")
    assert (report.written, report.failed) == (1, [])
    samples = {s.image.name: s for s in find_images(flat).samples}
    loaded = [load_image(samples[path.name], (32, 32), 1) for path in paths]
    union = np.max([arrays["mask"][..., 0] for arrays in loaded], axis=0)
    np.testing.assert_array_equal(
        read_mask(tmp_path / "out" / "superimposed_mask.png"), union * 255
    )
    about = json.loads((tmp_path / "out" / "superimposed.json").read_text())
    assert [entry["name"] for entry in about["sources"]] == [path.name for path in paths]
    assert about["success"] and all(entry["visible"] for entry in about["sources"])
    top, left, bottom, right = about["sources"][0]["box"]
    rows, columns = np.nonzero(loaded[0]["mask"][..., 0])
    assert (32 * top, 32 * bottom) == (rows.min(), rows.max() + 1)
    assert (32 * left, 32 * right) == (columns.min(), columns.max() + 1)
    made = read_image(tmp_path / "out" / "superimposed.png")
    images = np.stack([arrays["image"] for arrays in loaded])
    wanted = bundle.overlay(images, np.ones(3, np.float32))["image"]
    np.testing.assert_allclose(made / 255, wanted, atol=0.51 / 255)
    assert (tmp_path / "out" / "superimposed_figure.png").is_file()


def test_images_of_any_size_without_masks_are_superimposed(bundle, tmp_path):
    for i, size in enumerate(((20, 30), (90, 64), (32, 32))):
        colour = np.full((*size, 3), 150 + i, np.uint8)
        write_png(tmp_path / "in" / f"{i}.png", colour)
    report = superimpose(
        bundle, tmp_path / "in", tmp_path / "out", options=SuperimposeOptions(weights=[1, 0.5, 2])
    )
    assert report.written == 1
    assert not (tmp_path / "out" / "superimposed_mask.png").exists()
    about = json.loads((tmp_path / "out" / "superimposed.json").read_text())
    assert [entry["weight"] for entry in about["sources"]] == [1, 0.5, 2]
    assert "success" not in about


def test_a_superimposed_image_is_judged_by_its_weights(flat, bundle, tmp_path):
    paths = [flat / "images" / name for name in ("p00.png", "p03.png")]
    entries = []
    for weights in (None, [1, 0.5]):
        superimpose(bundle, paths, tmp_path / "out", options=SuperimposeOptions(weights=weights))
        entries.append(json.loads((tmp_path / "out" / "superimposed.json").read_text())["sources"])
    assert entries[0][0]["recovered"] == pytest.approx(entries[1][0]["recovered"], abs=0.2)
    assert entries[0][1]["recovered"] == pytest.approx(entries[1][1]["recovered"], abs=0.2)


def test_a_mask_of_an_earlier_call_is_gone(flat, bundle, tmp_path):
    paths = [flat / "images" / name for name in ("p00.png", "p03.png")]
    superimpose(bundle, paths, tmp_path / "out")
    for path in paths:
        shutil.copy(path, tmp_path / path.name)
    superimpose(bundle, [tmp_path / path.name for path in paths], tmp_path / "out")
    assert not (tmp_path / "out" / "superimposed_mask.png").exists()


def test_no_mask_is_written_where_one_is_missing_or_broken(tmp_path, caplog):
    data = write_flat(tmp_path / "data", 4)
    bundle = StandIn(data)
    (data / "masks" / "p01.png").unlink()
    write_png(data / "masks" / "p02.png", np.zeros((5, 5), np.uint8))
    paths = [data / "images" / f"p0{i}.png" for i in range(3)]
    assert superimpose(bundle, paths, tmp_path / "out").written == 1
    assert not (tmp_path / "out" / "superimposed_mask.png").exists()
    assert "because these have none: p01.png, p02.png" in caplog.text
    assert "left out" in caplog.text


def test_masks_beside_images_in_one_folder_are_found(flat, bundle, tmp_path):
    for name in ("p00", "p03"):
        shutil.copy(flat / "images" / f"{name}.png", tmp_path / f"{name}.png")
        shutil.copy(flat / "masks" / f"{name}.png", tmp_path / f"{name}_mask.png")
    superimpose(bundle, [tmp_path / "p00.png", tmp_path / "p03.png"], tmp_path / "out")
    assert (tmp_path / "out" / "superimposed_mask.png").is_file()


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["p00.png"], {}, "at least two images"),
        (["p00.png", "p99.png"], {}, "p99.png"),
        (["p00.png", "p01.png"], {"weights": [1]}, "2 positive numbers"),
        (["p00.png", "p01.png"], {"weights": [1, -1]}, r"Received: \[1, -1\]"),
    ],
)
def test_superimpose_refuses_what_it_cannot_use(flat, bundle, tmp_path, names, options, message):
    with pytest.raises(DentalzooError, match=message):
        superimpose(
            bundle,
            [flat / "images" / name for name in names],
            tmp_path / "out",
            options=SuperimposeOptions(**options),
        )
    assert not (tmp_path / "out").exists()


def test_superimpose_does_not_write_among_its_inputs(flat, bundle):
    before = sorted(path.name for path in (flat / "images").iterdir())
    with pytest.raises(DentalzooError, match="holds inputs"):
        superimpose(
            bundle, [flat / "images" / "p00.png", flat / "images" / "p01.png"], flat / "images"
        )
    assert sorted(path.name for path in (flat / "images").iterdir()) == before


# ---- augment_dataset -----------------------------------------------------------------------------


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_an_augmented_data_set_is_read_by_masks_outlines_and_labels(tmp_path):
    data = write_flat(tmp_path / "data", 10, val=3)
    report = augment_dataset(StandIn(data), data, tmp_path / "out", options=AugmentOptions(count=8))
    assert (report.written, report.rejected, report.failed) == (8, 0, [])
    sources = {s.name: load_image(s, (32, 32), 1) for s in find_images(data, "train").samples}
    with open(tmp_path / "out" / "superimposed.csv", newline="") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    for annotations in ("masks", "coco"):
        dataset = find_masks(tmp_path / "out", "train", annotations=annotations)
        assert len(dataset) == 8 and not dataset.skipped
        for sample in dataset.samples:
            row = rows[sample.name]
            masks = [sources[name]["mask"] for name in row["sources"].split("; ")]
            arrays = load(sample)
            np.testing.assert_array_equal(arrays["mask"], np.max(masks, axis=0))
            xml = ElementTree.parse(tmp_path / "out" / "voc" / f"{sample.name}.xml").getroot()
            assert [e.findtext("name") for e in xml.findall("object")] == row["labels"].split("; ")
            boxes = [
                [int(e.findtext(f"bndbox/{k}")) for k in ("xmin", "ymin", "xmax", "ymax")]
                for e in xml.findall("object")
            ]
            pixels = [np.nonzero(mask[..., 0]) for mask in masks]
            assert boxes == [
                [x.min() + 1, y.min() + 1, x.max() + 1, y.max() + 1] for y, x in pixels
            ]
    assert {label for row in rows.values() for label in row["labels"].split("; ")} == set(KINDS)
    assert all(row["success"] == "1" and row["method"] == "sum" for row in rows.values())
    with pytest.raises(MissingSplit):
        find_masks(tmp_path / "out", "val")


def test_the_same_seed_makes_the_same_files(flat, bundle, tmp_path):
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        augment_dataset(bundle, flat, tmp_path / name, options=AugmentOptions(count=5, seed=seed))
    assert files_of(tmp_path / "one") == files_of(tmp_path / "same") != files_of(tmp_path / "other")


def test_images_that_fail_are_rejected_unless_all_are_kept(flat, tmp_path, caplog):
    bundle = StandIn(flat)
    hidden = load_image(find_images(flat).samples[0], (32, 32), 1)["image"]

    def without_the_first(image, weights):
        shown = np.float32([(img != hidden).any() for img in image])
        return StandIn.overlay(bundle, image, weights * shown)

    bundle.overlay = without_the_first
    everything = augment_dataset(
        bundle, flat, tmp_path / "all", options=AugmentOptions(count=66, sizes=(2,), keep="all")
    )
    assert (everything.written, everything.rejected) == (66, 0)
    with open(tmp_path / "all" / "superimposed.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    failed = {row["sources"] for row in rows if row["success"] == "0"}
    assert len(failed) >= 10  # of the 11 with it; one that covers it shows it
    assert all("p00" in pair for pair in failed)
    strict = augment_dataset(
        bundle, flat, tmp_path / "strict", options=AugmentOptions(count=60, sizes=(2,))
    )
    assert strict.written + strict.rejected == 66
    assert strict.rejected >= len(failed)  # and those in which one defect covers another
    assert (
        f"{strict.written} of 60 superimposed images written; {strict.rejected} were rejected"
        in caplog.text
    )
    with open(tmp_path / "strict" / "superimposed.csv", newline="") as stream:
        kept = [row["sources"] for row in csv.DictReader(stream)]
    assert len(kept) == strict.written and not failed & set(kept)


def test_a_defect_under_another_is_no_success_worth_keeping(tmp_path):
    data = write_flat(tmp_path / "data", 5)
    for name in ("images", "masks"):
        shutil.copy(data / name / "p00.png", data / name / "p02.png")
    bundle = StandIn(data)
    report = evaluate(bundle, data, options=EvaluateOptions(count=20))["superimposition"]
    assert report["sets"] + report["covered_sets"] == 20  # all pairs and triples of five images
    assert report["covered_sets"] >= 4  # p00 with p02, alone and with each of the others
    augment_dataset(bundle, data, tmp_path / "out", options=AugmentOptions(count=20))
    rows = (tmp_path / "out" / "superimposed.csv").read_text().splitlines()[1:]
    assert rows and not any("p00" in row and "p02" in row for row in rows)


def test_nothing_is_left_where_no_image_succeeds(flat, tmp_path):
    with pytest.raises(DentalzooError, match='keep="all". Received: 30 rejected images'):
        augment_dataset(Forgetful(flat), flat, tmp_path / "out", options=AugmentOptions(count=3))
    assert list(tmp_path.iterdir()) == []


def test_noise_makes_new_images_of_the_same_sources(tmp_path):
    data = write_flat(tmp_path / "data", 3)
    bundle = StandIn(data)
    once = augment_dataset(bundle, data, tmp_path / "once", options=AugmentOptions(count=9))
    assert once.written == 4  # three pairs and a triple exist
    report = augment_dataset(
        bundle, data, tmp_path / "noisy", options=AugmentOptions(count=9, noise=0.2)
    )
    assert report.written == 9
    images = {path.read_bytes() for path in (tmp_path / "noisy" / "images").iterdir()}
    assert len(images) == 9
    assert "noise 0.2" in (tmp_path / "noisy" / "superimposed.csv").read_text()
    bundle.metadata["config"]["overlay"] = "maximum"
    with pytest.raises(DentalzooError, match="superimposes by 'maximum'"):
        augment_dataset(bundle, data, tmp_path / "refused", options=AugmentOptions(noise=0.2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "good"}, "Received: 'good'"),
        ({"noise": -1}, "Received: -1"),
        ({"count": 0}, "count must be an integer >= 1"),
        ({"count": 2.5}, "Received: 2.5"),
        ({"seed": -1}, "seed must be an integer >= 0. Received: -1"),
        ({"sizes": (13,)}, "at least 13 images"),
        ({"split": "val"}, "must hold images of the split 'val'"),
    ],
)
def test_augment_refuses_what_it_cannot_do(flat, bundle, tmp_path, options, message):
    with pytest.raises(DentalzooError, match=message):
        augment_dataset(bundle, flat, tmp_path / "out", options=AugmentOptions(**options))
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_is_not_written_into_its_source_or_over_others(flat, bundle, tmp_path):
    with pytest.raises(DentalzooError, match="outside of data"):
        augment_dataset(bundle, flat, flat / "more")
    (tmp_path / "mine.txt").write_text("text")
    with pytest.raises(DentalzooError, match="something else"):
        augment_dataset(bundle, flat, tmp_path)
    for path in (flat / "images").iterdir():
        shutil.copy(path, tmp_path / path.name)
    (tmp_path / "mine.txt").unlink()
    with pytest.raises(DentalzooError, match=r"Received: \d+ images without"):
        augment_dataset(
            bundle, tmp_path, tmp_path.parent / "never", options=AugmentOptions(split="train")
        )


# ---- real and synthetic defects ------------------------------------------------------------------


def test_superimposed_phantoms_become_a_data_set(tmp_path):
    look = {"size": 48, "background": 0.75, "texture": "plain", "border": 0.0}
    data = write_defect_dataset(tmp_path / "data", 20, kinds=("crack", "pore", "pores"), **look)
    bundle = StandIn(data, size=(48, 48))
    report = evaluate(bundle, data, out=tmp_path / "report", options=EvaluateOptions(count=10))
    assert report["superimposition"]["methods"]["bundle"]["all"]["visible"] > 0.9
    augment_dataset(bundle, data, tmp_path / "out", options=AugmentOptions(count=5, keep="all"))
    assert len(find_masks(tmp_path / "out")) == 5


def test_real_pores_and_cracks_are_superimposed(shared_data, tmp_path):
    data = shared_data / "magnetic_tile"
    bundle = StandIn(data, crops="masks", window=96)
    report = evaluate(bundle, data, split="val", options=EvaluateOptions(count=20))
    assert report["superimposition"]["sets"] == 20
    made = augment_dataset(
        bundle, data, tmp_path / "out", options=AugmentOptions(count=3, split="val", keep="all")
    )
    assert made.written == 3


# ---- predict -------------------------------------------------------------------------------------


def test_predict_writes_what_the_decoder_makes_of_each_image(flat, bundle, tmp_path):
    report = predict(
        bundle, flat / "images", tmp_path / "out", options=GenerationPredictOptions(overlay=True)
    )
    assert (report.written, report.failed) == (12, [])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"p00.png", "p00_overlay.png", "latents.csv"} < names
    made = read_image(tmp_path / "out" / "p03.png") / 255
    seen = bundle.encode(read_image(flat / "images" / "p03.png"))["image"]
    np.testing.assert_allclose(made, seen, atol=0.02)
