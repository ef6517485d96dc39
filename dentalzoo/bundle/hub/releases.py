"""The zoo's own bundles: archives whose size and SHA-256 the package knows."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from dentalzoo.bundle.hub.cache import claimed, unpacked
from dentalzoo.bundle.hub.download import Remote, Unreachable, check, fetch, over_http
from dentalzoo.bundle.hub.folders import CONTENT, cache_dir, find, folders, is_bundle
from dentalzoo.contracts import Weights
from dentalzoo.errors import DentalzooError


def released(name: str, tag: str, table: Mapping[str, Weights], offline: bool) -> Path:
    """Return the bundle `name.tag` of a known model; without a tag the first one of its table.

    Raises:
        DentalzooError: there is none of this tag, or it is not here and cannot be downloaded.
    """
    if not tag and not table:
        raise DentalzooError(
            f"{name} has no released weights: train it (dentalzoo train {name} ...) or give the "
            f"path of a bundle. Received: {name!r}"
        )
    tag = tag or next(iter(table))
    bundle = f"{name}.{tag}"
    if tag not in table:
        raise DentalzooError(
            f"{name} has no bundle of this tag"
            f"{did_you_mean(f'{name}.{known}' for known in table)} Received: {bundle!r}"
        )
    return find(bundle) or _fetched(bundle, table[tag], offline)


def did_you_mean(close: Iterable[str]) -> str:
    """Return the end of a sentence that offers names, if there are any."""
    names = " or ".join(close)
    return f"; did you mean {names}?" if names else "."


def _fetched(bundle: str, weights: Weights, offline: bool) -> Path:
    """Download, verify and unpack into the cache; one process at a time does so."""
    place = cache_dir() / bundle
    if weights.url is None or weights.size is None or weights.sha256 is None:
        raise DentalzooError(
            f"{bundle} ships with dentalzoo and has no address to download it from. "
            f"Copy its directory ({CONTENT}) to {place}. "
            f"Received: nothing in {', '.join(map(str, folders()))}"
        )
    url = weights.url
    source = Remote(url, over_http(url), weights.size, weights.sha256, title=bundle)
    suffix = ".zip" if url.endswith(".zip") else ".tar.gz"
    by_hand = place.with_name(bundle + suffix)
    part = place.with_name(f"{bundle}{suffix}.part")
    with claimed(bundle, place):
        if is_bundle(place):  # another process was quicker
            return place
        if by_hand.exists():
            check(by_hand, source)
            return unpacked(by_hand, place)
        try:
            if offline:
                raise Unreachable("offline")
            fetch(source, part)
        except Unreachable as error:
            raise DentalzooError(
                f"{bundle} is not on this machine and {url} cannot be reached "
                f"({error}). Save that file ({weights.size} bytes, SHA-256 {weights.sha256}) "
                f"as {by_hand}, or its content ({CONTENT}) in {place}. "
                f"Received: {bundle!r}"
            ) from error
        return unpacked(part, place, remove=True)
