"""The released bundles by the SHA-256 of their SHA256SUMS, which has that of each other file.

A bundle under a released name is the released one, or it is refused. `tools/released_sums.py`
writes the table from pretrained/.
"""

from collections.abc import Mapping
from pathlib import Path

from dentalzoo.bundle.integrity import digest
from dentalzoo.errors import BadFile

RELEASED: Mapping[str, str] = {
    "defect_overlay_vae.drawn_defects_v3": (
        "ab619c632699680329485310e0b82d4ebcf0b7edc2c7ec541a1d1b5fdae682a6"
    ),
    "jaw_reconstruction.drawn_scans_v3": (
        "0a3850c6acc3cc4b492a1e96622bcc62f5a002faaab5efe95cb99cbff950efdb"
    ),
    "panoramic_detection.dental_radiography_v4": (
        "8260a78cf4b7b90e85867fe08c90aa39bc01d93a83a8126dab6efb326e98381d"
    ),
    "panoramic_detection.dentex_fdi_v2": (
        "0b074824f123eb8585523662117441925af80fb053b4062234a0e7e5727e9636"
    ),
    "panoramic_unet.panoramic_teeth_v2": (
        "fc95945d1ed454bae3ed366dac844b7a4e6aa3aeda8a55481555159918e9915a"
    ),
    "tooth_vae.dentalai_teeth_v1": (
        "46f9618582660d61a03a7bd97cd651f51a07a64f58295086f3e1ad20c65d2178"
    ),
    "tooth_vae.drawn_teeth_v2": (
        "c32053b0a76f6377a7d15f87ef865bad0484450b79ce825ab018106a0fbc086c"
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
