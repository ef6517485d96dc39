"""What the sub-commands do: `do_NAME` calls one public function and shows what that returns.

It takes the parsed options and returns the exit status, None for 0.
"""

import json
from collections.abc import Sequence

import dentalzoo as dz
from dentalzoo import registry
from dentalzoo.errors import DentalzooError


def do_list(options):
    entries = {name: registry.ZOO[name] for name in dz.list_models(options.task)}
    rows = [{"name": name, **entry._asdict()} for name, entry in entries.items()]
    if options.markdown:
        print(registry.markdown_table())
        return
    width = max(map(len, entries))
    lines = [f"{name:{width}}  {entry.task:13} {entry.summary}" for name, entry in entries.items()]
    _show(options, {"models": rows}, "\n".join(lines))


def do_info(options):
    content = dz.info(options.name)
    text = "\n".join(
        [
            f"{content['name']}: {content['summary']}",
            *(f"{key:13} {content[key]}" for key in ("paper", "inputs", "outputs")),
            f"{'use':13} {content['intended_use']}",
            *(
                f"{'variant':13} {name}: {', '.join(f'{k}={v!r}' for k, v in config.items())}"
                for name, config in content["variants"].items()
            ),
            *(
                f"{'pretrained':13} {name}: {weights['data']}"
                for name, weights in content["pretrained"].items()
            ),
        ]
    )
    _show(options, content, text)


def do_train(options):
    overrides = _pairs(options.set)
    for key in ("epochs", "batch_size", "encoder_weights"):
        if getattr(options, key) is not None:
            overrides[key] = getattr(options, key)
    bundle = dz.train(
        options.name,
        options.data,
        options.out,
        options.variant,
        strategy=options.strategy,
        seed=options.seed,
        mixed_precision=options.mixed_precision,
        resume=options.resume,
        init=options.init,
        storage=options.storage,
        cache=options.cache,
        **overrides,
    )
    print(bundle.path)


def do_evaluate(options):
    from dentalzoo import api as tasks

    bundle = dz.load(options.bundle)
    report = dz.evaluate(
        bundle,
        options.data,
        split=options.split,
        out=options.out,
        threshold=options.threshold,
        count=options.count,
        seed=options.seed,
        samples=options.samples,
        crops=options.crops,
        sweep=options.sweep,
        places=options.places,
        **_box_options(options),
    )
    if options.record:
        tasks.record(bundle, report)
    lines = [
        f"{key:26} {value:.4f}" for key, value in tasks.summary_metrics(bundle, report).items()
    ]
    _show(options, report, "\n".join(lines))


def do_compare(options):
    report = dz.compare(
        options.bundle,
        options.other,
        options.data,
        split=options.split,
        out=options.out,
        score_threshold=options.score_threshold,
        seed=options.seed,
    )
    rows = {"": report["bundles"]} | {
        key: ["none" if value is None else f"{value:.4f}" for value in both]
        for key, both in report["summary_metrics"].items()
    }
    width = max(map(len, report["bundles"]))
    lines = [f"{key:24} {'  '.join(w.rjust(width) for w in row)}" for key, row in rows.items()]
    if report["difference"]:
        shown = ", ".join(f"{key} {value:.4f}" for key, value in report["difference"].items())
        lines.append(f"{'difference':24} {shown}")
    _show(options, report, "\n".join(lines))


def do_predict(options):
    report = dz.predict(
        options.bundle,
        options.inputs,
        options.out,
        overlay=options.overlay,
        threshold=options.threshold,
        vott=options.vott,
        mesh=options.mesh,
        truth=options.truth,
        **_box_options(options),
    )
    return _told(report, options.out)


def do_views(options):
    from dentalzoo.tasks.reconstruction import write_views

    return _told(write_views(options.inputs, options.out, options.size), options.out)


def do_generate(options):
    report = dz.generate(options.bundle, options.out, count=options.count, seed=options.seed)
    return _told(report, options.out)


def do_overlay(options):
    report = dz.overlay(options.bundle, options.inputs, options.out, weights=options.weights)
    return _told(report, options.out)


def do_enlarge(options):
    report = dz.enlarge(
        options.bundle,
        options.data,
        options.out,
        count=options.count,
        split=options.split,
        sizes=options.sizes,
        keep=options.keep,
        noise=options.noise,
        seed=options.seed,
    )
    return _told(report, options.out)


def do_export(options):
    from dentalzoo.bundle.format import reexport

    data = _pairs(options.about_data)
    made = reexport(options.bundle, options.out, options.tag, options.storage, data, options.images)
    print(made.path)


def do_verify(options):
    report = dz.verify(options.bundle)
    text = f"{report['bundle']}: {report['files']} files, {report['bytes']} bytes, all as listed"
    _show(options, report, text)


def do_check(options):
    from dentalzoo.data.boxes import check_boxes
    from dentalzoo.data.images import check_images
    from dentalzoo.data.masks import check_folder
    from dentalzoo.data.meshes import check_meshes

    for word in ("boxes", "meshes"):
        others = options.images, options.crops, options.boxes and options.meshes
        if getattr(options, word) and any(others):
            raise DentalzooError(
                f"--{word} goes without --images, --crops and the like. Received: both"
            )
    if options.meshes:
        report = check_meshes(options.data, options.split)
    elif options.boxes:
        report = check_boxes(options.data, options.split)
    elif options.images or options.crops:
        report = check_images(options.data, options.split, crops=options.crops)
    else:
        report = check_folder(options.data, options.split, options.num_classes)
    lines = [f"{key}: {value}" for key, value in report.items() if not isinstance(value, list)]
    _show(options, report, "\n".join(lines))
    return 1 if report["skipped"] or report["duplicates"] else 0


def do_records(options):
    from dentalzoo.data.formats.tfrecord_writer import write_records

    report = write_records(
        options.data,
        options.out,
        classes=options.classes,
        clahe=options.clahe,
        skip_empty=options.skip_empty,
        shards=options.shards,
        quality=options.quality,
    )
    return _told(report, options.out)


def do_morphable(options):
    from dentalzoo.data import morphable

    report = morphable.fit(options.data, options.out, options.components, options.split)
    lines = [
        ", ".join(f"{key} {value}" for key, value in family.items())
        for family in report["families"]
    ]
    settings = " ".join(f'"{key}={value}"' for key, value in report["settings"].items())
    lines.append(f'train with: --set "morphable_model={report["out"]}" {settings}')
    _show(options, report, "\n".join(lines))


def do_phantoms(options):
    from dentalzoo.data import synthetic as phantoms

    write, size = {
        "radiographs": (phantoms.write_panoramic_dataset, (512, 1024)),
        "teeth": (phantoms.write_tooth_photos, (64,)),
        "defects": (phantoms.write_defect_dataset, (64,)),
        "jaws": (phantoms.write_jaw_dataset, ()),
        "crowns": (
            lambda out, *rest: phantoms.write_crown_rows(out, options.shape_model, *rest),
            (),
        ),
    }[options.kind]
    if (options.kind == "crowns") != (options.shape_model is not None):
        raise DentalzooError(
            "--shape-model FILE goes with --kind crowns, and only there. "
            f"Received: --kind {options.kind}, --shape-model {options.shape_model}"
        )
    if options.size and len(options.size) != len(size):
        words = ("nothing, for they are no images", "one number, the side", "height and width")
        words = words[len(size)]
        raise DentalzooError(f"--size of {options.kind} is {words}. Received: {options.size}")
    print(write(options.out, options.count, options.seed, *(options.size or size)))


def _box_options(options) -> dict:
    return {
        key: getattr(options, key)
        for key in ("score_threshold", "nms_iou", "max_per_class", "teeth")
    }


def _pairs(words: Sequence[str]) -> dict[str, str]:
    for word in words:
        if "=" not in word:
            raise DentalzooError(f"settings are given as KEY=VALUE. Received: {word!r}")
    return dict(word.split("=", 1) for word in words)


def _show(options, content, text: str | None = None) -> None:
    as_text = text is not None and not options.json
    print(text if as_text else json.dumps(content, indent=2))


def _told(report, out: str) -> int:
    print(f"{report.written} written to {out}, {len(report.failed)} failed")
    return 1 if report.failed else 0
