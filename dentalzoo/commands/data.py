"""The sub-commands of data sets: check, agree, convert, split, tfrecord, synthetic, ..."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dentalzoo as dz
from dentalzoo import engines
from dentalzoo.commands.shared import on_engine, pairs, show, summary
from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    from dentalzoo import checking


def do_views(options: Namespace) -> int:
    from dentalzoo.tasks.reconstruction import write_views

    report = write_views(options.inputs, options.out, options.size, axes=options.axes)
    return summary(report, options.out)


def do_check(options: Namespace) -> int:
    from dentalzoo import checking

    if options.model is None and (options.variant or options.set):
        raise DentalzooError("--variant and --set must be given with --model")
    kinds = options.boxes, options.meshes, options.images, options.crops, options.split
    if options.model and any(kinds):
        raise DentalzooError("--model cannot be combined with --images, --boxes, --split and such")
    if options.classes and (options.model or options.images or options.crops or options.meshes):
        raise DentalzooError(
            "--classes goes with masks and --boxes alone; with --model, "
            "--set \"classes=('tooth',)\" names the classes"
        )
    for word in ("boxes", "meshes"):
        others = options.images, options.crops, options.boxes and options.meshes
        if getattr(options, word) and any(others):
            raise DentalzooError(f"--{word} cannot be combined with --images, --crops and the like")
    if not options.meshes and (options.axes or options.fix):
        raise DentalzooError("--axes and --fix must be given with --meshes, not with images")
    try:
        report = _check(options)
    except DentalzooError as error:
        if options.json:
            show(options, {"data": str(options.data), "problems": [["data", str(error)]]})
        raise
    page = f"\npage: {Path(options.report) / 'index.html'}" if options.report else ""
    show(options, report, checking.describe_report(report) + page)
    return 1 if checking.needs_fixing(report) else 0


def _check(options: Namespace) -> dict[str, Any]:
    from dentalzoo import checking
    from dentalzoo.data.boxes import check_boxes
    from dentalzoo.data.images import check_images
    from dentalzoo.data.masks import check_folder
    from dentalzoo.data.meshes import check_meshes

    data, split = options.data, options.split
    kind = "meshes" if options.meshes else "boxes" if options.boxes else "masks"
    kind = "images" if options.images or options.crops else kind
    if options.model:
        kind = checking.kind_of_data(options.model)

    def check(watch: "checking.Watch | None" = None) -> dict[str, Any]:
        if options.model:
            model, variant, settings = options.model, options.variant, pairs(options.set)
            return checking.check_for_model(data, model, variant, watch=watch, **settings)
        if kind == "meshes":
            return check_meshes(data, split, axes=options.axes, fix=options.fix)
        if kind == "boxes":
            return check_boxes(data, split, classes=options.classes, watch=watch)
        if kind == "images":
            return check_images(data, split, watch, crops=options.crops)
        count, classes = options.num_classes, options.classes
        return check_folder(data, split, count, classes=classes, watch=watch)

    if not options.report and not options.bundle:
        return check()
    from dentalzoo.data_report import report_data

    bundle = dz.load(options.bundle) if options.bundle else None
    return report_data(check, data, options.report, kind=kind, bundle=bundle, seed=options.seed)


def do_agree(options: Namespace) -> None:
    from dentalzoo.agreement import agree

    report = agree(
        options.folders,
        options.out,
        kind=options.kind,
        classes=options.classes,
        ignore_classes=options.ignore_classes,
        score_threshold=options.score_threshold,
        seed=options.seed,
    )
    lines = [f"{report['kind']} of {report['images']} images; value (95 % interval over images)"]
    for pair in report["pairs"]:
        lines.append(f"{pair['rater']} against {pair['reference']}")
        lines += [f"  {key:16} {_with_interval(pair[key])}" for key in _AGREEMENT if key in pair]
        if rest := pair["without_empty"]:
            lines.append(f"  the {rest['images']} images that are not empty on one side alone:")
            lines += [f"  {k:16} {_with_interval(rest[k])}" for k in _AGREEMENT if k in rest]
    show(options, report, "\n".join(lines))


# The numbers of a pair that `agree` prints.
_AGREEMENT = (
    *("dice", "iou", "mean_distance", "hausdorff_95"),
    *("precision", "recall", "f1", "voc_map"),
)


def _with_interval(number: dict[str, float | None] | None) -> str:
    if number is None or number["value"] is None:
        return "-"
    if number["low"] is None:
        return f"{number['value']:.4f}"
    return f"{number['value']:.4f} ({number['low']:.4f} to {number['high']:.4f})"


def do_convert(options: Namespace) -> int:
    from dentalzoo.data.conversion import convert

    report = convert(
        options.data,
        options.to,
        options.out,
        split=options.split,
        classes=options.classes,
        link=options.link,
        lossy=options.lossy,
        anonymize=options.anonymize,
    )
    content = {**vars(report), "opened": str(report.opened)}
    text = (
        f"{report.written} images with {report.objects} objects of {report.source} written; open "
        f"{report.opened}; {len(report.failed)} left out"
    )
    if report.lost:
        text += f"; not kept: {'; '.join(report.lost)}"
    show(options, content, text)
    return 1 if report.failed else 0


def do_split(options: Namespace) -> None:
    from dentalzoo.data.splitting import split_dataset

    report = split_dataset(
        options.data, options.out, val=options.val, test=options.test, seed=options.seed
    )
    lines = [f"{key}: {value}" for key, value in report.items() if key != "labels"]
    lines += [f"labels of {split}: {count}" for split, count in report["labels"].items() if count]
    show(options, report, "\n".join(lines))


def do_tfrecord(options: Namespace) -> int:
    from dentalzoo.data.boxes import write_records

    write, more = write_records, {}
    if engines.chosen(options):
        write, more = engines.beam().write_records, on_engine(options)
    report = write(
        options.data,
        options.out,
        classes=options.classes,
        clahe=options.clahe,
        skip_empty=options.skip_empty,
        shards=options.shards,
        quality=options.quality,
        **more,
    )
    return summary(report, options.out)


def do_shape_model(options: Namespace) -> None:
    from dentalzoo.data import morphable

    report = morphable.fit(options.data, options.out, options.components, options.split)
    lines = [
        ", ".join(f"{key} {value}" for key, value in family.items())
        for family in report["families"]
    ]
    settings = " ".join(f'"{key}={value}"' for key, value in report["settings"].items())
    lines.append(f'train with: --set "morphable_model={report["out"]}" {settings}')
    show(options, report, "\n".join(lines))


# kind -> (function of `dentalzoo.data.synthetic`, its sizes with their defaults)
SYNTHETIC: dict[str, tuple[str, dict[str, int]]] = {
    "radiographs": ("write_panoramic_dataset", {"height": 512, "width": 1024}),
    "teeth": ("write_tooth_photos", {"size": 64}),
    "defects": ("write_defect_dataset", {"size": 64}),
    "jaws": ("write_jaw_dataset", {}),
    "crowns": ("write_crown_rows", {}),
    "scans": ("write_jaw_scans", {}),
}


def do_synthetic(options: Namespace) -> None:
    from dentalzoo.data import synthetic

    name, sizes = SYNTHETIC[options.kind]
    needed, given = options.kind == "crowns", options.shape_model is not None
    if needed != given and options.kind != "scans":
        raise DentalzooError(
            "--shape-model must be given with --kind crowns, may be with --kind scans, and only "
            f"there. Received: --kind {options.kind}, --shape-model {options.shape_model}"
        )
    if options.size and not sizes:
        raise DentalzooError(f"--size does not apply to {options.kind} (meshes)")
    if options.size and len(options.size) != len(sizes):
        expected = ("", "one number, the side", "height and width")[len(sizes)]
        raise DentalzooError(
            f"--size of {options.kind} must be {expected}. Received: {options.size}"
        )
    if options.size:
        sizes = dict(zip(sizes, options.size, strict=True))
    model = {"model_file": options.shape_model} if given else {}
    write = getattr(synthetic, name)
    print(write(options.out, count=options.count, seed=options.seed, **model, **sizes))
