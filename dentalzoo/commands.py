"""The sub-commands: `do_NAME` calls one public function and prints what it returns.

Each takes the parsed options and returns the exit status, None for 0.
"""

import inspect
import json
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dentalzoo as dz
from dentalzoo import api, engines, registry
from dentalzoo.bundle import find
from dentalzoo.bundle.metadata import read_metadata
from dentalzoo.doctor import do_doctor as do_doctor
from dentalzoo.errors import DentalzooError
from dentalzoo.training.flags import keywords

if TYPE_CHECKING:
    from dentalzoo.data.formats.tfrecord import RecordReport
    from dentalzoo.tasks.base import PredictionReport


def do_list(options: Namespace) -> None:
    entries = {name: registry.ZOO[name] for name in dz.list_models(options.task)}
    rows = [{"name": name, **entry._asdict()} for name, entry in entries.items()]
    if options.markdown:
        print(registry.markdown_table())
        return
    widths = [max(len(row[key]) for row in rows) for key in ("name", "task")]
    lines = [
        f"{row['name']:{widths[0]}}  {row['task']:{widths[1]}}  {row['summary']}" for row in rows
    ]
    _show(options, {"models": rows}, "\n".join(lines))


def do_info(options: Namespace) -> None:
    content = dz.info(options.name)
    variants, settings = content["variants"], content["settings"]
    first = next(iter(variants))
    lines = [
        f"{content['name']}: {content['summary']}",
        *(f"{key:13} {content[key]}" for key in ("paper", "inputs", "outputs")),
        f"{'use':13} {content['intended_use']}",
        *(
            f"{'pretrained':13} {name}: {weights['data']}"
            for name, weights in content["pretrained"].items()
        ),
        "",
        f"settings of the variant {first}: value; allowed values; source",
        *(
            f"  {name:20} {entry['value']!r}; {entry['allowed']}; {entry['source']}"
            for name, entry in settings.items()
        ),
    ]
    for name, changed in variants.items():
        if name != first:
            pairs = [f"{key}={value!r}" for key, value in changed.items()]
            lines += ["", f"variant {name}: {first} with {', '.join(pairs)}"]
    _show(options, content, "\n".join(lines))


def do_train(options: Namespace) -> None:
    overrides = _pairs(options.set)
    if flags := [key for key in overrides if key in inspect.signature(dz.train).parameters]:
        raise DentalzooError(
            f"--set must name settings of the model; {flags[0]} has a flag of its own, "
            f"--{flags[0].replace('_', '-')}. Received: {flags[0]}"
        )
    for key in ("epochs", "batch_size", "encoder_weights"):
        if getattr(options, key) is not None:
            overrides[key] = getattr(options, key)
    bundle = dz.train(
        options.name,
        options.data,
        options.out,
        options.variant,
        seed=options.seed,
        resume=options.resume,
        init=options.init,
        weights_dtype=options.weights_dtype,
        cache=options.cache,
        **{**keywords(options), **overrides},
    )
    print(bundle.path)


def do_evaluate(options: Namespace) -> None:
    from dentalzoo.tasks.scoring import lines_of  # which imports NumPy

    bundle = dz.load(options.bundle)
    evaluate, more = dz.evaluate, options.given
    if engines.chosen(options):
        if not options.out:
            raise DentalzooError("--out must be given with --runner")
        evaluate, more = engines.beam().evaluate, _on_engine(options) | more
    report = evaluate(bundle, options.data, split=options.split, out=options.out, **more)
    if options.save_metrics:
        dz.save_metrics(bundle, report)
    metrics = api.summary_metrics(bundle, report)
    _show(options, report, "\n".join(lines_of(report, metrics)))


def do_compare(options: Namespace) -> None:
    from dentalzoo.tasks.comparison import lines_of  # which imports NumPy

    report = dz.compare(
        options.bundle,
        options.other,
        options.data,
        split=options.split,
        out=options.out,
        **options.given,
    )
    _show(options, report, "\n".join(lines_of(report)))


def do_predict(options: Namespace) -> int:
    here = {key: getattr(options, key) for key in ("workers", "shards", "shard")}
    predict, more = dz.predict, here | options.given
    if engines.chosen(options):
        if any(value is not None for value in here.values()):
            raise DentalzooError("--runner cannot be combined with --workers, --shards and --shard")
        predict, more = engines.beam().predict, _on_engine(options) | options.given
    report = predict(options.bundle, options.inputs, options.out, **more)
    return _summary(report, options.out)


def do_views(options: Namespace) -> int:
    from dentalzoo.tasks.reconstruction import write_views

    report = write_views(options.inputs, options.out, options.size, axes=options.axes)
    return _summary(report, options.out)


def do_generate(options: Namespace) -> int:
    return _summary(dz.generate(options.bundle, options.out, **options.given), options.out)


def do_superimpose(options: Namespace) -> int:
    report = dz.superimpose(options.bundle, options.inputs, options.out, **options.given)
    return _summary(report, options.out)


def do_augment(options: Namespace) -> int:
    report = dz.augment_dataset(options.bundle, options.data, options.out, **options.given)
    return _summary(report, options.out)


def do_export(options: Namespace) -> None:
    from dentalzoo.bundle import add_runtime, convert, reexport
    from dentalzoo.bundle.converting import differences
    from dentalzoo.bundle.familiarity import examples_of
    from dentalzoo.bundle.runtimes import LIGHT

    data = _pairs(options.about_data)
    measured = {
        "evaluate": _evaluation(options.data, options.split) if options.data else None,
        "images": options.images,
    }
    if options.format is not None:
        of_bundle = "tag", "about_data", "licence_note", "figures", "runtimes", "familiarity"
        if any(getattr(options, name) for name in (*of_bundle, "calibrate")):
            raise DentalzooError(
                "--to cannot be combined with --tag, --about-data, --licence-note, --figures, "
                "--with, --familiarity and --calibrate, which are of a bundle"
            )
        place = options.bundle, options.out
        path = convert(*place, options.format, options.weights_dtype, **measured)
        for line in differences(path):
            print(line)
        print(path)
        return
    if options.images and not options.runtimes:
        raise DentalzooError("--images must be given with --to or --with")
    if options.split and not options.data:
        raise DentalzooError("--split must be given with --data")
    folders = [LIGHT[runtime] for runtime in options.runtimes]
    if len(set(folders)) < len(folders):
        raise DentalzooError(
            "--with must name one kind of files for each runtime. Received: "
            f"{' '.join(options.runtimes)}"
        )
    made = reexport(
        options.bundle,
        options.out,
        options.tag,
        options.weights_dtype,
        data,
        options.figures,
        measure=_measure(options) if options.data else None,
        licence_note=options.licence_note,
        familiarity=examples_of(options.bundle, options.familiarity),
        calibrate=options.calibrate and (lambda new: api.calibrate(new, options.calibrate)),
    )
    for runtime, folder in zip(options.runtimes, folders, strict=True):
        made = add_runtime(made, runtime, **measured)
        for line in differences(made.path / folder):
            print(line)
    print(made.path)


def _measure(options: Namespace) -> Any:
    """Return what `reexport` measures a new bundle with; None where it has the metrics already."""
    before = read_metadata(find(options.bundle))["weights_dtype"]
    if options.runtimes and before == options.weights_dtype:
        return None
    return lambda made: api.metrics_of(made, dz.evaluate(made, options.data, split=options.split))


def _evaluation(data: str, split: str | None) -> Any:
    """Return what `convert` measures metrics with."""

    def evaluate(bundle: Any, given: Any) -> dict[str, float]:
        report = dz.evaluate(bundle, data, split=split, **given)
        return api.task_of(bundle).summary_metrics(report)

    return evaluate


def do_verify(options: Namespace) -> int:
    report = dz.verify(options.bundle, options.key)
    what = {
        "released": f"the released {report['name']}",
        "changed": f"changed: not the released bundle, whose name it has ({report['name']})",
        "unknown": "unknown: not a released bundle",
    }
    files = f"{report['files']} files, {report['bytes']} bytes, all as listed"
    text = f"{report['bundle']}: {files}; {what[report['origin']]}"
    if report["signed"] is not None:
        text += f"; signed by the key in {options.key}: {report['signed']}"
    _show(options, report, text)
    return 1 if report["origin"] == "changed" else 0


def do_push(options: Namespace) -> None:
    print(dz.push(options.bundle, options.address, private=options.private))


def do_check(options: Namespace) -> int:
    from dentalzoo import checking

    if options.model is None and (options.variant or options.set):
        raise DentalzooError("--variant and --set must be given with --model")
    kinds = options.boxes, options.meshes, options.images, options.crops, options.split
    if options.model and any(kinds):
        raise DentalzooError("--model cannot be combined with --images, --boxes, --split and such")
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
            _show(options, {"data": str(options.data), "problems": [["data", str(error)]]})
        raise
    _show(options, report, checking.describe_report(report))
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
            model, variant, settings = options.model, options.variant, _pairs(options.set)
            return checking.check_for_model(data, model, variant, watch=watch, **settings)
        if kind == "meshes":
            return check_meshes(data, split, axes=options.axes, fix=options.fix)
        if kind == "boxes":
            return check_boxes(data, split, watch=watch)
        if kind == "images":
            return check_images(data, split, watch, crops=options.crops)
        return check_folder(data, split, options.num_classes, watch=watch)

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
        score_threshold=options.score_threshold,
        seed=options.seed,
    )
    lines = [f"{report['kind']} of {report['images']} images; value (95 % interval over images)"]
    for pair in report["pairs"]:
        lines.append(f"{pair['rater']} against {pair['reference']}")
        lines += [f"  {key:16} {_with_interval(pair[key])}" for key in _AGREEMENT if key in pair]
    _show(options, report, "\n".join(lines))


# The numbers of a pair that `agree` prints.
_AGREEMENT = (
    *("dice", "iou", "mean_distance", "hausdorff_95"),
    *("precision", "recall", "f1", "voc_map"),
)


def _with_interval(number: dict[str, float | None] | None) -> str:
    if number is None or number["value"] is None:
        return "none"
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
    _show(options, content, text)
    return 1 if report.failed else 0


def do_split(options: Namespace) -> None:
    from dentalzoo.data.splitting import split_dataset

    report = split_dataset(
        options.data, options.out, val=options.val, test=options.test, seed=options.seed
    )
    _show(options, report, "\n".join(f"{key}: {value}" for key, value in report.items()))


def do_tfrecord(options: Namespace) -> int:
    from dentalzoo.data.boxes import write_records

    write, more = write_records, {}
    if engines.chosen(options):
        write, more = engines.beam().write_records, _on_engine(options)
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
    return _summary(report, options.out)


def do_shape_model(options: Namespace) -> None:
    from dentalzoo.data import morphable

    report = morphable.fit(options.data, options.out, options.components, options.split)
    lines = [
        ", ".join(f"{key} {value}" for key, value in family.items())
        for family in report["families"]
    ]
    settings = " ".join(f'"{key}={value}"' for key, value in report["settings"].items())
    lines.append(f'train with: --set "morphable_model={report["out"]}" {settings}')
    _show(options, report, "\n".join(lines))


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


def _on_engine(options: Namespace) -> dict[str, Any]:
    return {"runner": options.runner, "runner_args": options.runner_arg}


def _pairs(words: Sequence[str]) -> dict[str, str]:
    for word in words:
        if "=" not in word:
            raise DentalzooError(f"settings must be KEY=VALUE. Received: {word!r}")
    return dict(word.split("=", 1) for word in words)


def _show(options: Namespace, content: Any, text: str | None = None) -> None:
    print(text if text is not None and not options.json else json.dumps(content, indent=2))


def _summary(report: "PredictionReport | RecordReport", out: str) -> int:
    print(f"{report.written} written to {out}, {len(report.failed)} failed")
    return 1 if report.failed else 0
