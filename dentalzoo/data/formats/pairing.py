"""Which image belongs to which mask, by the names of folders and files."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dentalzoo.data.formats.names import is_drawn, normal, split_word
from dentalzoo.data.formats.tree import FileEntry, Folder, Skip, Tree, skip_unused

_FIRST_CHANNEL = "_0000"  # nnU-Net: ends the name of an image, not that of its label map
_MASK_STEM = re.compile(r"(.+?)[ _-]masks?", re.IGNORECASE)
_LABEL_STEM = re.compile(r"(.+?)[ _-](labels?|segs?|segmentations?|gts?)", re.IGNORECASE)


def find_entries(tree: Tree) -> tuple[list[FileEntry], list[Skip]]:
    """Return the images of a data set, each with its mask, and unusable masks, for `Tree.entries`.

    Where a folder is named after images, folders without a role or a split are not used; where
    there are others, neither are folders of what is drawn of images.
    """
    rest = [folder for folder in tree.folders if folder.path not in tree.boundary_paths]
    pairs, skips = pair_folders(replace(tree, folders=rest), masks_needed=False)
    skips = [skip for skip in skips if skip.reason != "image without mask"]
    no_images = {tree.root / skip.name for skip in skips} | {mask for _, mask, _ in pairs}
    partners = {image: (mask, split) for image, mask, split in pairs}
    named = any(folder.role == "images" for folder in rest)
    plain = any(folder.role != "masks" and not _drawn(tree, folder) for folder in rest)
    entries: list[FileEntry] = []
    for folder in rest:
        if folder.role == "masks":
            continue
        if named and not folder.role and not folder.split:  # previews, results, other annotations
            continue
        if plain and not folder.role and _drawn(tree, folder):
            continue
        for image in folder.images:
            if image not in no_images:
                mask, split = partners.get(image, (None, folder.split))
                entries.append(FileEntry(image, folder, mask, split=split))
    return entries, skips


def _drawn(tree: Tree, folder: Folder) -> bool:
    return is_drawn(folder.path.relative_to(tree.root).parts)


def pair_folders(
    tree: Tree, masks_needed: bool = True
) -> tuple[list[tuple[Path, Path, str]], list[Skip]]:
    """Match images with masks.

    Args:
        tree: the data folder.
        masks_needed: whether an image without a mask is a skip.

    Returns:
        (image, mask, split) of each pair, and a skip for each file without a partner.
    """
    images: dict[Path, Folder] = {}
    masks: dict[Path, Folder] = {}
    pairs: list[tuple[Path, Path, str]] = []
    skips: list[Skip] = []
    by_key: dict[tuple[str, ...], list[Folder]] = defaultdict(list)
    beside: dict[Path, list[Folder]] = defaultdict(list)
    for folder in tree.folders:
        (masks if folder.role == "masks" else images)[folder.path] = folder
        by_key[folder.key].append(folder)
        beside[folder.path.parent].append(folder)
    for mask_folder in masks.values():
        same_key = [f for f in by_key[mask_folder.key] if f.path in images]
        partners = [f for f in same_key if f.role] or same_key
        if not partners:
            near = [f for f in beside[mask_folder.path.parent] if f.role]
            partners = _only_images([f for f in near if len({o.role for o in by_key[f.key]}) == 1])
        split = next((f.split for f in partners if f.split), mask_folder.split)
        imgs = [image for f in partners for image in images.pop(f.path).images]
        _pair(tree, imgs, mask_folder.images, split, pairs, skips)
    for folder in images.values():
        among, rest = _masks_beside(folder)
        if folder.split == "test" and masks and not among:  # as nnU-Net has them
            continue
        if among and rest:
            _pair(tree, rest, among, folder.split, pairs, skips)
        elif masks_needed:
            skips += skip_unused(tree, folder, folder.images, "image without mask")
    return pairs, skips


def _only_images(alone: Sequence[Folder]) -> list[Folder]:
    """Return the folder of images that the masks beside it must belong to, whatever their name.

    `images` beside `semantic_masks`; not beside `crown_masks` and `root_masks`, nor of a split.

    Args:
        alone: the folders of one place that have no partner by name.
    """
    roles = sorted(folder.role for folder in alone)
    if roles != ["images", "masks"] or any(split_word(folder.path.name) for folder in alone):
        return []
    return [folder for folder in alone if folder.role == "images"]


def _masks_beside(folder: Folder) -> tuple[list[Path], list[Path]]:
    """Return the masks among the images of a folder, by their names, and the images.

    `x_mask.png` is always a mask; `x_label.png`, `x_seg.png` and `x_gt.png` are where the image is
    there.
    """
    stems = {normal(path.stem) for path in folder.images} | {
        normal(path.name) for path in folder.images
    }
    beside: list[Path] = []
    rest: list[Path] = []
    for path in folder.images:
        other = _LABEL_STEM.fullmatch(normal(path.stem))
        is_mask = _MASK_STEM.fullmatch(path.stem) or (other and other[1] in stems)
        (beside if is_mask else rest).append(path)
    return beside, rest


def _pair(
    tree: Tree,
    images: Sequence[Path],
    masks: Sequence[Path],
    split: str,
    pairs: list[tuple[Path, Path, str]],
    skips: list[Skip],
) -> None:
    by_name: dict[str, Path] = {}
    by_stem = defaultdict(list)
    for image in images:
        by_name[normal(image.name)] = image
        by_stem[normal(image.stem)].append(image)
    claims = defaultdict(list)
    for mask in masks:
        stem = normal(mask.stem)
        match = _MASK_STEM.fullmatch(stem) or _LABEL_STEM.fullmatch(stem)
        for text in (stem, match[1] if match else "", stem + _FIRST_CHANNEL):
            owners = [by_name[text]] if text in by_name else by_stem.get(text, [])
            if owners:
                break
        if len(owners) == 1:
            claims[owners[0]].append(mask)
        elif owners:
            names = " and ".join(image.name for image in owners)
            skips.append(Skip(tree.name(mask), f"mask of both {names}", split))
        else:
            skips.append(Skip(tree.name(mask), "mask without image", split))
    for image in images:
        if len(claims[image]) == 1:
            pairs.append((image, claims[image][0], split))
        elif claims[image]:
            names = " and ".join(mask.name for mask in claims[image])
            skips.append(Skip(tree.name(image), f"image with several masks: {names}", split))
        else:
            skips.append(Skip(tree.name(image), "image without mask", split))
