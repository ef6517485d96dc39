"""Upper and lower jaws by the names of their files and folders.

The words are those of scanners and design programs (3Shape, exocad, Medit, iTero, Teeth3DS) and of
technicians in several languages, with or without accents, in any case, alone or with other words:
`LowerJawScan`, `01_lowerjaw`, `Unterkiefer`, `arcade inferieure`, `shell_occlusion_l`.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

# Not as a part of other words: lowercase, Lowery
_PART = (
    r"(jaw|arch|arcade|teeth|tooth|scan|model|cast|mesh|dent|impress|full|prep|pre|post|antag)\w*"
)

# language: words for lower; each is a regular expression of a whole word
LOWER_WORDS = {
    "English": (
        "lowers?",
        f"lower{_PART}",
        r"mandib\w*",
        "mand",
        "lwr",
        r"(low|bottom)(jaw|arch)\w*",
    ),
    "Latin, French, Spanish, Italian, Portuguese": (
        r"inferior\w*",
        r"inferieur\w*",
        "(arcada|arcata|arcade|arc|arco|maxilar)inf",
    ),
    "German": (r"unterkiefer\w*", "uk", r"uk(scan|modell)"),
    "Dutch, Swedish, Danish, Norwegian": (r"onderka\w*", r"underk(ak|aeb|aak|jev|æb)\w*"),
    "Polish, Czech, Slovak": (r"zuchw\w*", r"doln[aiyeo]\w{0,2}"),
    "Russian": (r"ni[zj]h?n(y|i|j|e)\w*", "niz", "nizh", r"низ\w*", r"нижн\w*", r"мандиб\w*"),
    "Turkish, Finnish, Hungarian": (r"altcene\w*", r"alaleu\w*", r"also(allkapocs|allcsont)\w*"),
    "Croatian, Serbian, Slovene": (r"donj[aei]\w?", r"spodnj\w+"),
    "Greek, Arabic, Hebrew": ("κατω", "(ال)?سفلي?", r"תחתונ?ה?|תחתון"),
    "Chinese, Japanese, Korean": (
        r".*(下颌|下颚|下顎|下牙|하악).*",
        r"xia(he|ya)",
    ),
}
UPPER_WORDS = {
    "English": ("uppers?", f"upper{_PART}", r"maxill?a\w*", "upr"),
    "Latin, French, Spanish, Italian, Portuguese": (r"superior\w*", r"superieur\w*"),
    "German": (r"oberkiefer\w*",),
    "Dutch, Swedish, Danish, Norwegian": (r"bovenka\w*", r"over?k(ak|aeb|aak|jev|æb)\w*"),
    "Polish, Czech, Slovak": (r"gorn[aiyeo]\w{0,2}", r"horn[iy]\w?"),
    "Russian": (r"ver(kh|h|ch)n(y|i|j|e)\w*", r"верхн\w*"),
    "Turkish, Finnish, Hungarian": (r"ustcene\w*", r"ylaleu\w*", r"felso\w*"),
    "Croatian, Serbian, Slovene": (r"gornj[aei]\w?", r"zgornj\w+"),
    "Greek, Arabic, Hebrew": ("ανω", "(ال)?علوي?", r"עליונ?ה?|עליון"),
    "Chinese, Japanese, Korean": (
        r".*(上颌|上颚|上顎|上牙|상악).*",
        r"shang(he|ya)",
    ),
}
# An upper jaw in all languages, unless it is called lower: "maxilar inferior", "szczeka dolna"
_JAWS = re.compile(r"maxill?a\w*")
_LOWER = re.compile("|".join(word for words in LOWER_WORDS.values() for word in words))
_UPPER = re.compile("|".join(word for words in UPPER_WORDS.values() for word in words))
# Abbreviations that count only beside the file with the other one
_PAIRS = {
    "l": "u", "lj": "uj", "ll": "ul", "low": "up", "lo": "up", "md": "mx", "mn": "mx", "mnd": "max",
    "man": "max", "inf": "sup", "ui": "oi", "unten": "oben", "bas": "haut", "alt": "ust",
    "dol": "gora", "onder": "boven", "bottom": "top", "abajo": "arriba", "nch": "vch",
}  # fmt: skip
_LETTERS = str.maketrans({"ł": "l", "ø": "o", "æ": "ae", "ı": "i", "ß": "ss"})


def jaw_of(parts: Iterable[str], beside: Collection[str] = ()) -> str:
    """Return the jaw that the names of a file and its folders state.

    The name nearest to the file decides: `lower/x_upper.obj` is an upper jaw.

    Args:
        parts: names of folders, from the outermost, and of the file.
        beside: names of the files in its folder. `x_l.stl` is a lower jaw beside `x_u.stl` only.

    Returns:
        "lower", "upper", or "" where no name states one, or one states both.
    """
    return _jaw_of(parts, {tuple(_words(_without_suffix(name))) for name in beside})


def _jaw_of(parts: Iterable[str], beside: Collection[tuple[str, ...]]) -> str:
    *folders, name = parts
    words = _words(_without_suffix(name))
    jaw = _of_words(words) or _of_pair(words, beside)
    for folder in reversed(folders):
        jaw = jaw or _of_words(_words(folder))
    return "" if jaw == "both" else jaw


def lower_jaws(root: Path, paths: Iterable[Path]) -> set[Path]:
    """Return those of some files below a folder that are lower jaws by their names."""
    beside: dict[Path, set[tuple[str, ...]]] = defaultdict(set)
    paths = list(paths)
    for path in paths:
        beside[path.parent].add(tuple(_words(_without_suffix(path.name))))
    return {p for p in paths if _jaw_of(p.relative_to(root).parts, beside[p.parent]) == "lower"}


def is_lower(part: str) -> bool:
    """Return whether a file or folder is of a lower jaw, by its name alone."""
    return jaw_of([part]) == "lower"


def _without_suffix(name: str) -> str:
    return re.sub(r"\.(obj|ply|stl|json)$", "", name, flags=re.IGNORECASE)


def _words(name: str) -> list[str]:
    """Split a name at blanks, punctuation, digits and inner capitals; without accents."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    plain = unicodedata.normalize("NFC", plain)  # Hangul
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", " ", plain)
    return re.sub(r"[\W_\d]+", " ", plain.lower().translate(_LETTERS)).split()


def _of_words(words: list[str]) -> str:
    text = " ".join(words)
    joined = words + [a + b for a, b in zip(words, words[1:], strict=False)]
    lower = any(_LOWER.fullmatch(word) for word in joined)
    lower |= text.endswith("occlusion l")  # iTero: 123_shell_occlusion_l
    upper = any(_UPPER.fullmatch(word) for word in words if not (lower and _JAWS.fullmatch(word)))
    upper |= text.endswith("occlusion u")
    return "both" if lower and upper else "lower" if lower else "upper" if upper else ""


def _of_pair(words: list[str], beside: Collection[tuple[str, ...]]) -> str:
    for place, word in enumerate(words):
        if word in _PAIRS and (*words[:place], _PAIRS[word], *words[place + 1 :]) in beside:
            return "lower"
    return ""
