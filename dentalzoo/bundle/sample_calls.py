"""Inputs to call the functions of a bundle with, to compare two forms of them and to calibrate."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_ODD = (37, 53)  # neither a multiple of anything nor the aspect of a network
_VIEWS = 3  # of ten

Calls = dict[str, list[dict[str, Any]]]


def sample_calls(
    functions: Mapping[str, Any], batch: Mapping[str, Any], files: Sequence[str | Path] = ()
) -> Calls:
    """Return the inputs of some calls of each function: name -> a list of named arrays.

    Images are those of the files, at their own size, or the samples of `batch`, at its size and at
    an odd one, grey and with three equal channels. Latent vectors and noise are standard normal.

    Args:
        functions: name -> `tf.function` with an input signature.
        batch: `example_batch` of a paper: its first array are images (B, H, W, C) or views
            (B, V, H, W, C), float32 in [0, 1].
        files: image files.

    Raises:
        BadFile: a file cannot be read.
    """
    from dentalzoo.data.io.images import read_image

    samples = np.round(np.asarray(next(iter(batch.values()))) * 255).astype(np.uint8)
    if files and samples.ndim == 4:
        images = [read_image(file)[None] for file in files]
    else:
        images = [samples, _resized(samples[..., :1], _ODD)]
    return {
        name: [
            {spec.name: _value(spec, image) for spec in function.input_signature}
            for image in (images if function.input_signature else images[:1])
        ]
        for name, function in functions.items()
    }


def _resized(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (..., h, w, C) uint8 to another size."""
    from dentalzoo.data.io.images import resize

    flat = [resize(image, size) for image in images.reshape(-1, *images.shape[-3:])]
    return np.stack(flat).reshape(*images.shape[:-3], *size, images.shape[-1])


def _value(spec: Any, images: np.ndarray) -> Any:
    """Return the input that a `tf.TensorSpec` describes, made of images or views."""
    if spec.name == "images":
        return images
    if spec.name == "views":
        return images if spec.shape[1] else images[:, :_VIEWS]
    if spec.name == "places":
        return np.arange(_VIEWS, dtype=np.int32)
    if spec.name == "weights":
        return np.ones(len(images), np.float32)
    if spec.name == "seed":
        return np.int64(0)
    if spec.name == "n":
        return np.int64(2)
    if spec.dtype.name == "string":
        return _encoded(spec, images)
    rows = [size or 4 for size in spec.shape]
    return np.random.default_rng(0).standard_normal(rows).astype(np.float32)


def _encoded(spec: Any, images: np.ndarray) -> Any:
    """Return PNG files, or examples that hold them."""
    from dentalzoo.data.io.images import encode_png

    if spec.shape.rank == 2 and not spec.shape[1]:
        images = images[:, :_VIEWS]
    flat = images.reshape(-1, *images.shape[-3:])
    content = [encode_png(image if image.shape[-1] > 1 else image[..., 0]) for image in flat]
    if spec.name == "examples":
        import tensorflow as tf

        content = [
            tf.train.Example(
                features=tf.train.Features(
                    feature={
                        "image/encoded": tf.train.Feature(
                            bytes_list=tf.train.BytesList(value=[png])
                        )
                    }
                )
            ).SerializeToString()
            for png in content
        ]
    if not spec.shape.rank:
        return content[0]
    return np.array(content, object).reshape(images.shape[: spec.shape.rank])
