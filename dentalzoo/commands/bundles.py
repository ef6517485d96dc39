"""The sub-commands of models and bundles: list, info, train, evaluate, predict, export, ..."""

import inspect
from argparse import Namespace
from pathlib import Path
from typing import Any

import dentalzoo as dz
from dentalzoo import api, engines, registry
from dentalzoo.bundle import find
from dentalzoo.bundle.metadata import Metadata, describe, name_of, read_metadata
from dentalzoo.bundle.released import RELEASED
from dentalzoo.commands.shared import on_engine, pairs, show, summary
from dentalzoo.errors import DentalzooError, few_of
from dentalzoo.training.flags import keywords


def do_list(options: Namespace) -> None:
    entries = {name: registry.ZOO[name] for name in dz.list_models(options.task)}
    if options.markdown:
        print(registry.markdown_table())
        return
    rows: list[dict[str, Any]] = [
        {
            **{"name": name, **entry._asdict()},
            "pretrained": [bundle for bundle in RELEASED if bundle.startswith(f"{name}.")],
        }
        for name, entry in entries.items()
    ]
    widths = [max(len(row[key]) for row in rows) for key in ("name", "task")]
    lines = []
    for row in rows:
        lines.append(f"{row['name']:{widths[0]}}  {row['task']:{widths[1]}}  {row['summary']}")
        lines += [f"  {bundle}" for bundle in row["pretrained"]]
    show(options, {"models": rows}, "\n".join(lines))


def do_info(options: Namespace) -> None:
    named = options.name not in registry.ZOO and (
        "." in options.name or "/" in options.name or Path(options.name).is_dir()
    )
    if named:  # a bundle
        metadata = read_metadata(find(options.name))
        show(options, dict(metadata), _described(metadata))
        return
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
    show(options, content, "\n".join(lines))


def _does(metadata: Metadata) -> str:
    """Return what a bundle does: of its classes, else what the list of the models says."""
    classes = [str(name) for name in metadata["config"].get("classes") or ()]
    made = {"detection": "boxes", "segmentation": "masks"}.get(metadata["task"])
    if not classes or made is None:
        entry = registry.ZOO.get(metadata["name"])
        return entry.summary if entry else metadata["summary"]
    if all(name.isdecimal() for name in classes):
        numbers = f"{classes[0]} to {classes[-1]}" if len(classes) > 1 else classes[0]
        return f"{made} of teeth with FDI numbers, {len(classes)} classes: {numbers}"
    return f"{made} of {few_of(classes, 10)}"


def _described(metadata: Metadata) -> str:
    """Return a bundle as lines for a terminal: data, licence, metrics, and each function."""
    about, data = metadata["about"], metadata["data"]
    numbers = {
        key: value for key, value in metadata["metrics"].items() if isinstance(value, float | int)
    }
    classes = metadata["config"].get("classes", ())
    rows: dict[str, str] = {
        "task": metadata["task"],
        **({"classes": ", ".join(classes)} if classes else {}),
        **{key: about[key] for key in ("paper", "inputs", "outputs") if key in about},
        **{key: str(value).removeprefix(f"{key}: ") for key, value in data.items()},
        **{key: f"{value:.4g}" for key, value in numbers.items()},
    }
    width = max(map(len, rows))
    lines = [
        f"{name_of(metadata)}: {_does(metadata)}",
        *(f"{key:{width}}  {value}" for key, value in rows.items()),
        "",
        "functions: inputs; outputs",
    ]
    for name, spec in metadata["signatures"].items():
        lines.append(f"  {name:20} {describe(spec['inputs']) or 'nothing'}")
        lines.append(f"  {'':20} -> {describe(spec['outputs'])}")
    return "\n".join(lines)


def do_train(options: Namespace) -> None:
    overrides = pairs(options.set)
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
        evaluate, more = engines.beam().evaluate, on_engine(options) | more
    report = evaluate(bundle, options.data, split=options.split, out=options.out, **more)
    if options.save_metrics:
        dz.save_metrics(bundle, report)
    metrics = api.summary_metrics(bundle, report)
    show(options, report, "\n".join(lines_of(report, metrics)))


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
    show(options, report, "\n".join(lines_of(report)))


def do_predict(options: Namespace) -> int:
    here = {key: getattr(options, key) for key in ("workers", "shards", "shard")}
    predict, more = dz.predict, here | options.given
    if engines.chosen(options):
        if any(value is not None for value in here.values()):
            raise DentalzooError("--runner cannot be combined with --workers, --shards and --shard")
        predict, more = engines.beam().predict, on_engine(options) | options.given
    report = predict(options.bundle, options.inputs, options.out, **more)
    return summary(report, options.out)


def do_generate(options: Namespace) -> int:
    return summary(dz.generate(options.bundle, options.out, **options.given), options.out)


def do_superimpose(options: Namespace) -> int:
    report = dz.superimpose(options.bundle, options.inputs, options.out, **options.given)
    return summary(report, options.out)


def do_augment(options: Namespace) -> int:
    report = dz.augment_dataset(options.bundle, options.data, options.out, **options.given)
    return summary(report, options.out)


def do_export(options: Namespace) -> None:
    from dentalzoo.bundle import add_runtime, convert, reexport
    from dentalzoo.bundle.converting import check_exporter, differences
    from dentalzoo.bundle.familiarity import examples_of
    from dentalzoo.bundle.runtimes import LIGHT

    data = pairs(options.about_data)
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
    for runtime in options.runtimes:
        check_exporter(runtime)
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
    show(options, report, text)
    return 1 if report["origin"] == "changed" else 0


def do_push(options: Namespace) -> None:
    print(dz.push(options.bundle, options.address, private=options.private))
