"""The released bundles by the SHA-256 of their SHA256SUMS, which has that of each other file.

A bundle under a released name is the released one, or it is refused. `tools/released_sums.py`
writes the table from pretrained/.
"""

from collections.abc import Mapping
from pathlib import Path

from dentalzoo.bundle.integrity import digest
from dentalzoo.errors import BadFile

RELEASED: Mapping[str, str] = {
    "defect_overlay_vae.drawn_defects_v2": (
        "aaed07ac5f68dc5ebe322433b7e218f63b0494bfb77bb03c8240cf5605a128c9"
    ),
    "jaw_reconstruction.drawn_scans_v1": (
        "7672db782028ebb10d66fb19676df2f53701d79f5cfa7f92e1f2b5004e8f4fae"
    ),
    "panoramic_detection.dental_radiography_v2": (
        "51206fc2a93387822b0732fca71bd73529783c08e7aa908e049ef00eb4dd812f"
    ),
    "panoramic_detection.dentex_fdi_v2": (
        "d6308380b571d1492802112ad912ea463138f36fd40f0f81a8cc9ad5b752167a"
    ),
    "panoramic_unet.panoramic_teeth_v2": (
        "f16a4759c9e398c320a641b931244c875e488ba0ef3e84b3eb14dcca70bda13c"
    ),
    "tooth_vae.drawn_teeth_v2": (
        "4713bc4085a7fbb01fed16ae8f082045cb57e22e3ef4e4162160e62575bf6f54"
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
