"""The kinds of findings: what each means and what to do. docs/checking_data.md has the same."""

from dataclasses import dataclass

from dentalzoo.contracts import Report


@dataclass(frozen=True)
class Kind:
    """A list of a report.

    Attributes:
        key: of the report.
        title: as a heading.
        advice: what it means and what to do.
        must_fix: whether a training on the data would go wrong.
    """

    key: str
    title: str
    advice: str
    must_fix: bool = False


KINDS = (
    Kind(
        "problems",
        "The data cannot be used",
        "Nothing can be trained on the data, or on one of its splits, until this is corrected.",
        True,
    ),
    Kind(
        "skipped",
        "Files, rows and boxes that are left out",
        "They cannot be used for the reason given. Correct them, or remove them from the data.",
        True,
    ),
    Kind(
        "suspicious",
        "Suspicious images, masks and boxes",
        "Images in which nothing can be seen, objects with two boxes, inverted masks, and what "
        "nearly all annotations have in common. Correct them, or remove the images.",
        True,
    ),
    Kind(
        "duplicates",
        "The same image in two splits",
        "Metrics on such data are too good. Keep both copies in one split: give them one group in "
        "index.csv, or remove one.",
        True,
    ),
    Kind(
        "patients",
        "One patient in two splits",
        "Metrics on such data are too good. Name the patients in index.csv (id,patient), and "
        "`dentalzoo split` keeps them together.",
        True,
    ),
    Kind(
        "contradictions",
        "Annotations that the model contradicts",
        "Where a confident model and an annotation differ, one of them is wrong: boxes in places "
        "without one or of another class, and masks whose Dice is far below that of the others. A "
        "model that was trained on these annotations repeats their faults and is no witness.",
    ),
    Kind(
        "boxes_to_check",
        "Boxes to look at",
        "Boxes that are tiny or huge for their class, and boxes of two classes in one place, of "
        "which one is often a slip. What is meant may stay.",
    ),
    Kind(
        "masks_to_check",
        "Masks to look at",
        "Specks of a few pixels, and masks whose area is far from the others. What is meant may "
        "stay.",
    ),
    Kind(
        "duplicates_within",
        "The same image twice in one split",
        "Copies count twice and, in different groups, may come to lie in different splits. Remove "
        "one, or give them one group in index.csv.",
    ),
    Kind(
        "repaired",
        "Corrected while reading",
        "Used as corrected; the files are unchanged.",
    ),
    Kind(
        "personal",
        "Personal data",
        "Names and dates in paths, and tags and elements beside the pixels that may identify a "
        "person; values are not shown here. Training does not use them. Before the data is passed "
        "on, remove them: `dentalzoo convert --anonymize` gives hashed names; tags and elements "
        "stay in copied files, so save the images again without metadata. Text inside of pixels "
        "is not looked for.",
    ),
    Kind(
        "not_used",
        "In the folder and not used",
        "Files that no reader takes for images or annotations of this data set.",
    ),
)


def counts(report: Report, must_fix: bool) -> dict[str, int]:
    """Return title -> number of entries of the kinds that a report has any of."""
    return {
        kind.title: len(report[kind.key])
        for kind in KINDS
        if kind.must_fix == must_fix and report.get(kind.key)
    }
