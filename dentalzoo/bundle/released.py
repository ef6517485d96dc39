"""The released bundles by the SHA-256 of their SHA256SUMS, which has that of each other file.

A bundle under a released name is the released one, or it is refused. `tools/released_sums.py`
writes the table from pretrained/.
"""

from collections.abc import Mapping
from pathlib import Path

from dentalzoo.bundle.integrity import digest
from dentalzoo.errors import BadFile

RELEASED: Mapping[str, str] = {
    "defect_overlay_vae.drawn_defects_v1": (
        "81dd5e5ab6d31866170df0707cea4f37db284f22281b4ececcb3f4fd59a0b978"
    ),
    "jaw_reconstruction.jaws_and_crowns_v1": (
        "4283346f9306883f8c768f460b5ea9495f8930e8578502eae77f31b26a719e36"
    ),
    "panoramic_detection.dental_radiography_v1": (
        "cc5004e730e4923729f63be3bacf9716590495b73a190e9c20b333b9f0b871e0"
    ),
    "panoramic_detection.dentex_fdi_v1": (
        "e6b5adfa0ff87ec65275b6552b879609b056cdb2a6223ac3eabfc0cbf0d3f9c0"
    ),
    "panoramic_unet.panoramic_teeth_v1": (
        "ba32397dff80272adb4f0318811f0be9ad6b71ea4c42760579784a0931b99c92"
    ),
    "tooth_vae.drawn_teeth_v1": (
        "8102e3a3bcd2ddd7d4d2db12db170d404f33ae45c97bf3a62b798bc93d4689bb"
    ),
}


def origin_of(path: Path, *names: str) -> str:
    """Return where a bundle comes from, by the digest of its SHA256SUMS.

    Args:
        path: its folder, whose files are those that SHA256SUMS lists.
        names: further names that it bears, besides that of its folder.

    Returns:
        "released": it is a released bundle. "changed": it bears the name of one, and is not that.
        "unknown": any other, such as one that was trained here.
    """
    found = digest(path)
    if found in RELEASED.values():
        return "released"
    return "changed" if {*_names(path), *names} & RELEASED.keys() else "unknown"


def refuse_changed(path: Path) -> None:
    """Refuse a bundle whose folder has the name of a released one, and which is not that.

    Raises:
        BadFile: it is another one, or was changed together with its SHA256SUMS.
    """
    for name in _names(path):
        if name in RELEASED and (found := digest(path)) != RELEASED[name]:
            raise BadFile(
                path,
                f"must be the released {name}, whose SHA256SUMS has the SHA-256 {RELEASED[name]}; "
                "nothing was loaded. Install it again, or give the folder another name if the "
                f"change is yours. Received: {found}",
            )


def _names(path: Path) -> tuple[str, ...]:
    """Return the name of a folder, and of what it is a link to."""
    return path.name, path.resolve().name
