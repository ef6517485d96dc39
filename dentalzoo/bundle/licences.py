"""Licences follow the weights: a bundle that was trained from another one keeps its restrictions.

A licence is text, by custom an SPDX identifier. Restrictions are read from its words; a licence
that is not known must be kept as it is. None of this is legal advice: it keeps a licence from being
lost in silence, and `licence_note` states why another one applies.
"""

import re

from dentalzoo.errors import DentalzooError

_RESTRICTIONS = {
    "non-commercial": r"\bnc\b|non-?commercial|\bresearch\b|\bacademic\b|\beducational\b",
    "no derivatives": r"\bnd\b|no-?deriv",
    "share-alike": r"\bsa\b|share-?alike|\b[al]?gpl|\bodbl\b|cdla-sharing|copyleft",
}
_FREE = re.compile(
    r"(apache|mit|bsd|isc|zlib|unlicense|ncsa|pddl|wtfpl|odc-by|cc0|cc-by|cdla-permissive|0bsd"
    r"|public-domain)(-(\d[\d.]*|clause|clear|licen[sc]e|by|\d-clause))*"
)
# The identifiers that a card of the Hub may have: https://huggingface.co/docs/hub/repositories-licenses
_HUB = re.compile(
    r"apache-2\.0|mit|bsd(-[23]-clause(-clear)?)?|isc|zlib|unlicense|wtfpl|ncsa|pddl|afl-3\.0"
    r"|cc0-1\.0|cc-by-(2\.0|2\.5|3\.0|4\.0)|cc-by-sa-[34]\.0|cc-by-nc-[234]\.0|cc-by-nd-4\.0"
    r"|cc-by-nc-nd-[34]\.0|cc-by-nc-sa-[234]\.0|cdla-(sharing-1\.0|permissive-[12]\.0)|odc-by"
    r"|gpl(-[23]\.0)?|lgpl(-2\.1|-3\.0)?|agpl-3\.0|mpl-2\.0|epl-[12]\.0|eupl-1\.[12]|osl-3\.0"
)


def followed(origin: str | None, own: str | None, note: str | None = None) -> str | None:
    """Return the licence of a bundle that was made from another one.

    Args:
        origin: the licence of the other one; None where it has none.
        own: the licence that the bundle is given; None: that of the other one, if it restricts.
        note: why `own` applies although it is freer.

    Raises:
        DentalzooError: `own` leaves out a restriction of `origin`, without a note.
    """
    if not origin or is_free(origin):
        return own
    if own is None or _plain(own) == _plain(origin):
        return own or origin
    kept = restrictions(origin)
    if note or (kept and kept <= restrictions(own) and _same_if_shared(origin, own, kept)):
        return own
    restricting = f" ({', '.join(sorted(kept))})" if kept else ""
    raise DentalzooError(
        f"the licence must be that of the weights that the bundle was made from, {origin}"
        f"{restricting}; keep it, or state why another one applies: --licence-note TEXT. "
        f"Received: {own}"
    )


def restrictions(licence: str) -> frozenset[str]:
    """Return what a licence restricts: of "non-commercial", "no derivatives", "share-alike"."""
    text = _plain(licence)
    return frozenset(name for name, word in _RESTRICTIONS.items() if re.search(word, text))


def is_free(licence: str) -> bool:
    """Return True where every licence that a text names is known, and restricts nothing."""
    parts = re.split(r"[,;/|]|\band\b|\bor\b", re.sub(r"\([^()]*\)", " ", licence.lower()))
    named = [_plain(part) for part in parts if part.strip()]
    return bool(named) and all(_FREE.fullmatch(part) for part in named)


def hub_identifier(licence: str) -> str | None:
    """Return the identifier that the Hugging Face Hub has for a licence; None where it has none."""
    text = _plain(licence)
    return text if _HUB.fullmatch(text) else None


def slug(licence: str) -> str:
    """Return a licence as lower-case letters, digits, - and ., which the Hub shows as its name."""
    return re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-.")[:100] or "unnamed"


def _plain(licence: str) -> str:
    """Return a licence in the spelling of SPDX, lower case: "CC BY-NC 4.0" as cc-by-nc-4.0."""
    text = re.sub(r"[\s_]+", "-", licence.strip().lower())
    return re.sub(r"^(the-)|-(licen[sc]e)$", "", text)


def _same_if_shared(origin: str, own: str, kept: frozenset[str]) -> bool:
    """Return whether a share-alike licence stays the same one, of whatever version."""
    names = [re.sub(r"-v?\d[\d.]*(-only|-or-later)?$", "", _plain(one)) for one in (origin, own)]
    return "share-alike" not in kept or names[0] == names[1]
