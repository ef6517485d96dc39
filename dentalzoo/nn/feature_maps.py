"""The maps of an encoder, a pyramid of resolutions, whose means describe what an image shows."""

from typing import Any

import keras

# Of other shapes than the maps on either side of them.
_NO_MAPS = keras.layers.ZeroPadding2D, keras.layers.Permute, keras.layers.Reshape


def encoder_maps(network: keras.Model) -> list[Any]:
    """Return the last map of each resolution on a network's way down, without the input's own.

    Args:
        network: image (B, H, W, C) -> anything; maps may grow again further on, as in a U-Net.

    Returns:
        Tensors (B, h, w, F), the largest first.

    Raises:
        ValueError: no map is smaller than the input.
    """
    full = tuple(network.inputs[0].shape[1:3])
    size, maps = full, dict[tuple[int, int], Any]()
    for layer in network.layers:
        output = layer.output
        if isinstance(layer, _NO_MAPS) or not isinstance(output, keras.KerasTensor):
            continue
        if len(output.shape) != 4:
            continue
        here = tuple(output.shape[1:3])
        if here[0] > size[0] or here[1] > size[1]:
            break
        size = here
        if here != full:
            maps[here] = output
    if not maps:
        raise ValueError(f"a network must have maps smaller than its input. Received: {full}")
    return list(maps.values())
