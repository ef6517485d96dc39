"""The pipeline: deterministic for a seed, resumable, shardable, and honest about bad files."""

import numpy as np
import pytest

from dentalzoo.data.io.file_warnings import forget_files
from dentalzoo.data.pipeline import Cache, balanced_order, batches
from dentalzoo.data.pipeline import cache as cache_module
from dentalzoo.data.pipeline.augmentation import Augment, albumentations
from dentalzoo.data.pipeline.order import batch_slices
from dentalzoo.errors import BadFile, DentalzooError


def transforms():
    A = albumentations()
    return [A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(p=0.8), A.Rotate(20, p=0.8)]


def load(index):
    if index == 3:
        raise BadFile("three.png", "it is broken. Received: 0 bytes")
    image = np.random.default_rng(index).integers(0, 256, (16, 24, 3), np.uint8)
    return {"image": image, "mask": (image[..., :1] > 127).astype(np.uint8)}


@pytest.fixture(scope="module")
def cache():
    return Cache([f"{index}.png" for index in range(11)], load)


def read(dataset):
    return [{key: value.numpy() for key, value in batch.items()} for batch in dataset]


def same(left, right):
    return len(left) == len(right) and all(
        a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
        for a, b in zip(left, right, strict=True)
    )


def test_a_bad_file_is_named_and_left_out(cache, caplog):
    assert len(cache) == 10 and "3.png" not in cache.names
    assert cache.skipped == [("3.png", "it is broken. Received: 0 bytes")]
    Cache(["a", "b", "c", "d"], load)
    assert "three.png: it is broken" in caplog.text
    with pytest.raises(BadFile, match="three.png"):
        Cache(["a", "b", "c", "d"], load, strict=True)


def test_nothing_readable_is_an_error():
    def broken(index):
        raise BadFile("x.png", "no")

    with pytest.raises(DentalzooError, match="no sample could be read.*Received: 2"):
        Cache(["a", "b"], broken)


def test_order_and_augmentation_are_a_function_of_the_seed(cache):
    def make(seed, workers):
        augment = Augment(transforms, seed)
        options = {"shuffle": True, "seed": seed, "workers": workers, "augment": augment}
        return read(batches(cache, 4, epochs=range(3), **options))

    once = make(7, 1)
    assert same(once, make(7, 1)) and same(once, make(7, 4))
    assert not same(once, make(8, 1))
    assert [len(batch["image"]) for batch in once] == [4, 4, 2] * 3
    assert not same(once[:3], once[3:6])


def test_a_later_start_delivers_the_same_later_epochs(cache):
    options = {"shuffle": True, "seed": 1, "augment": Augment(transforms, 1)}
    whole = read(batches(cache, 3, epochs=range(4), **options))
    assert same(whole[8:], read(batches(cache, 3, epochs=range(2, 4), **options)))


def test_image_and_mask_get_the_same_augmentation(cache):
    def follow(sample, epoch, index):
        sample = Augment(lambda: [albumentations().HorizontalFlip(p=0.5)])(sample, epoch, index)
        assert sample["image"].dtype == np.uint8
        return sample

    for batch in read(batches(cache, 4, epochs=range(4), augment=follow)):
        assert np.array_equal(batch["mask"], batch["image"][..., :1] > 127)


def test_shards_cover_an_epoch_once(cache):
    parts = [
        batch["image"]
        for index in range(3)
        for batch in read(batches(cache, 4, shuffle=True, seed=5, shard=(index, 3)))
    ]
    seen = sorted(image.tobytes() for image in np.concatenate(parts))
    assert seen == sorted(image.tobytes() for image in cache.arrays["image"])


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("batch_size", [4, 6, 9])
def test_the_parts_of_two_shards_are_the_batches_of_one(cache, batch_size, devices):
    """Of ten samples; in the order of the replicas: those of the first worker come first."""
    options = {"shuffle": True, "seed": 5, "epochs": range(2), "augment": Augment(transforms, 5)}
    whole = read(batches(cache, batch_size, **options))
    streams = [
        batches(cache, batch_size, **options, shard=(index, 2), devices=devices)
        for index in range(2)
    ]
    parts = [read(stream.dataset) for stream in streams]
    assert [int(stream.dataset.cardinality()) for stream in streams] == [len(p) for p in parts]
    steps = [
        part[step : step + devices] for step in range(0, len(parts[0]), devices) for part in parts
    ]
    joined = np.concatenate([element["image"] for step in steps for element in step])
    assert np.array_equal(joined, np.concatenate([batch["image"] for batch in whole]))
    if batch_size >= 2 * 2 * devices or devices == 1:  # or else the last two are joined
        assert len(parts[0]) == len(whole) * devices


def test_every_visit_is_in_one_part_and_no_part_is_empty():
    for count in range(1, 40):
        for parts in (1, 2, 3, 4):
            for batch_size in range(parts, 12):
                cut = batch_slices(count, batch_size, parts)
                if count < parts:
                    assert cut == []
                    continue
                rows = [row for batch in cut for part in batch for row in range(count)[part]]
                assert rows == list(range(count))
                sizes = [[part.stop - part.start for part in batch] for batch in cut]
                assert all(len(size) == parts and min(size) > 0 for size in sizes)
                assert all(max(size) - min(size) <= 1 and size[0] == max(size) for size in sizes)
                assert all(sum(size) == batch_size for size in sizes[:-2])
                assert all(sum(size) <= batch_size for size in sizes[:-1])
                assert sum(sizes[-1]) <= batch_size or batch_size < 2 * parts
    assert batch_slices(7, 3) == [[slice(0, 3)], [slice(3, 6)], [slice(6, 7)]]


def test_a_batch_must_have_a_sample_for_each_device_of_each_worker(cache):
    with pytest.raises(DentalzooError, match="batch_size must be at least 4.*Received: 3"):
        batches(cache, 3, shard=(0, 2), devices=2)
    with pytest.raises(DentalzooError, match="Received: 10 samples, shard=.0, 12., devices=1"):
        batches(cache, 12, shard=(0, 12))


def test_the_number_of_batches_is_known(cache):
    dataset = batches(cache, 4, epochs=range(2, 5)).dataset
    assert int(dataset.cardinality()) == 9 == len(read(dataset))
    assert dataset.element_spec["image"].shape.as_list() == [None, 16, 24, 3]


def test_validation_is_in_order_and_untouched(cache):
    images = np.concatenate([batch["image"] for batch in read(batches(cache, 4))])
    assert np.array_equal(images, cache.arrays["image"])


def test_the_file_cache_equals_memory_and_is_reused(tmp_path, cache):
    names = [f"{index}.png" for index in range(11)]
    first = Cache(names, load, folder=tmp_path, cache_key=1)
    assert np.array_equal(first.arrays["image"], cache.arrays["image"])

    def never(index):
        raise AssertionError("read again")

    again = Cache(names, never, folder=tmp_path, cache_key=1)
    assert again.names == cache.names and again.skipped == cache.skipped
    assert np.array_equal(again.arrays["mask"], cache.arrays["mask"])
    with pytest.raises(AssertionError, match="read again"):
        Cache(names, never, folder=tmp_path, cache_key=2)


def test_images_that_show_nothing_are_named_again_by_a_file_cache(tmp_path, caplog):
    def dark(index):
        return {"image": load(index)["image"] // (20 if index == 1 else 1)}

    for _ in range(2):
        forget_files()
        made = Cache(["a.png", "b.png"], dark, folder=tmp_path)
        assert [name for name, _ in made.suspicious] == ["b.png"]
    (line,) = caplog.messages  # where they are read, the reader says it
    assert line.startswith("b.png: nearly black")


def test_a_file_cache_of_other_rules_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_RULES", 1)
    Cache(["a.png"], load, folder=tmp_path)
    monkeypatch.undo()
    read = []
    Cache(["a.png"], lambda index: read.append(index) or load(index), folder=tmp_path)
    assert read == [0]


def test_a_half_written_file_cache_is_not_used(tmp_path):
    def dies(index):
        if index == 5:
            raise KeyboardInterrupt
        return load(0)

    names = [str(index) for index in range(11)]
    with pytest.raises(KeyboardInterrupt):
        Cache(names, dies, folder=tmp_path)
    assert len(Cache(names, load, folder=tmp_path)) == 10


def test_an_interrupted_file_cache_is_resumed(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(cache_module, "_SAVE_SECONDS", 0)
    names, asked = [f"{index}.png" for index in range(11)], []

    def dies(index):
        if index == 7:
            raise KeyboardInterrupt
        return load(index)

    with pytest.raises(KeyboardInterrupt):
        Cache(names, dies, folder=tmp_path)
    again = Cache(names, lambda index: asked.append(index) or load(index), folder=tmp_path)
    assert 7 in asked and 0 not in asked and 3 not in asked
    assert again.names == cache.names and again.skipped == cache.skipped
    for key, array in cache.arrays.items():
        assert np.array_equal(again.arrays[key], array)


def test_a_failing_augmentation_names_the_file(cache):
    import tensorflow as tf

    def fail(sample, epoch, index):
        raise RuntimeError("too dark")

    with pytest.raises(tf.errors.OpError, match="0.png: augmentation failed: too dark"):
        read(batches(cache, 4, augment=fail))


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 2, "shard": (2, 2)}])
def test_senseless_requests_are_refused(cache, options):
    with pytest.raises(DentalzooError, match="Received: "):
        batches(cache, **options)


def test_devices_get_equal_shares(cache):
    result = read(batches(cache, 6, epochs=range(2), devices=3, shuffle=True))
    assert [len(batch["image"]) for batch in result] == [6, 3] * 2  # one of ten is left out
    with pytest.raises(DentalzooError, match="multiple of the 3 devices.*Received: 4"):
        batches(cache, 4, devices=3)
    with pytest.raises(
        DentalzooError, match="at least 12 samples.*Received: 10 samples.*devices=12"
    ):
        batches(cache, 12, devices=12)


def test_a_given_order_visits_samples_as_often_as_it_says(cache):
    stream = batches(cache, 4, epochs=range(2), order=lambda epoch: np.array([epoch, 5, 5, 7, 1]))
    result = [batch["image"] for batch in read(stream)]
    image = cache.arrays["image"]
    assert len(result) == int(stream.dataset.cardinality()) == 4
    assert np.array_equal(result[0], image[[0, 5, 5, 7]]) and np.array_equal(result[1], image[[1]])
    assert np.array_equal(result[2], image[[1, 5, 5, 7]])


def test_balanced_batches_hold_every_sample_as_often_as_another():
    order = balanced_order(3, 500, 10, seed=1, epoch=0)
    counts = [np.bincount(batch, minlength=3) for batch in order.reshape(150, 10)]
    assert all(sorted(count) == [3, 3, 4] for count in counts)
    assert np.array_equal(np.bincount(order), [500, 500, 500])
    assert np.array_equal(order, balanced_order(3, 500, 10, seed=1, epoch=0))
    assert not np.array_equal(order, balanced_order(3, 500, 10, seed=1, epoch=1))
    assert all(
        set(batch) == set(range(7)) for batch in balanced_order(7, 9, 10, 0, 0).reshape(6, 10)
    )
    assert np.array_equal(np.bincount(balanced_order(12, 5, 10, 0, 0)), np.full(12, 5))
    assert sorted(balanced_order(3, 2, 10, 0, 0)) == [0, 0, 1, 1, 2, 2]
