"""From a bundle to the format of a runtime, which is compared with the bundle or not written."""

import dataclasses
import json
import logging
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dentalzoo import registry
from dentalzoo.atomic import write_atomically, write_json
from dentalzoo.bundle import comparison, guard
from dentalzoo.bundle.loaded import Bundle
from dentalzoo.bundle.metadata import TensorSpec, describe
from dentalzoo.bundle.reading import load, load_folder
from dentalzoo.bundle.replacing import replaced
from dentalzoo.bundle.runtimes import LIGHT
from dentalzoo.bundle.weights import WEIGHTS_DTYPES, store
from dentalzoo.bundle.writing import check_choice, in_float32, rewritten
from dentalzoo.errors import DentalzooError, require
from dentalzoo.exporters import EXPORTERS
from dentalzoo.exporters._frozen import INTERFACE
from dentalzoo.output_dirs import check_outside

if TYPE_CHECKING:
    from dentalzoo.bundle.parity import Evaluate

_log = logging.getLogger("dentalzoo")


def convert(
    name_or_path: str | Path,
    path: str | Path,
    exporter: str,
    weights_dtype: str = "float32",
    *,
    evaluate: "Evaluate | None" = None,
    images: Sequence[str | Path] = (),
) -> Path:
    """Write the functions of a bundle, or of the bundle of a run, in the format of a runtime.

    The functions are those of this version of dentalzoo with the weights of the bundle: bundles of
    older versions can be converted too. What was written is run beside the bundle; `metadata.json`
    in its folder has the differences, and what it is.

    Args:
        name_or_path: as for `load`.
        path: the file or folder to make, by custom with the exporter's suffix; it must not exist.
        exporter: a name of `dentalzoo.exporters.EXPORTERS`.
        weights_dtype: see `export`.
        evaluate: measures the metrics of the task, of both, see `parity.measure`.
        images: image files to compare, and to calibrate int8 with; synthetic ones where empty.

    Returns:
        `path`.

    Raises:
        DentalzooError: as `load`; an unknown exporter or dtype, a package that is missing, a path
            that exists or cannot be written; results that differ from the bundle's by more than
            `parity` allows.
    """
    check_exporter(exporter)
    check_choice("weights_dtype", weights_dtype, WEIGHTS_DTYPES)
    path = Path(path)
    check_outside(path.resolve().parent)
    if path.exists():
        raise DentalzooError(f"the path must be new. Received: {path}")
    source = load(name_or_path, "tensorflow")
    with replaced(path) as aside:
        _write(source, aside, exporter, weights_dtype, evaluate, images)
        if content := comparison.read(aside):
            blocks = [
                f"# {source.name} for {exporter}",
                _functions_table(source, aside, content["parity"]),
                comparison.tables(content),
            ]
            write_atomically(aside / "README.md", "\n\n".join(blocks) + "\n")
    return path


def check_exporter(exporter: str) -> None:
    """Check that an exporter exists, and that its packages are installed.

    Raises:
        DentalzooError: it does not, or one is missing.
    """
    check_choice("exporter", exporter, EXPORTERS)
    for module, extra in EXPORTERS[exporter].PACKAGES.items():
        require(module, extra)


def add_runtime(
    bundle: Bundle,
    exporter: str,
    *,
    evaluate: "Evaluate | None" = None,
    images: Sequence[str | Path] = (),
) -> Bundle:
    """Add the files of a light runtime to a bundle, which it then runs on without TensorFlow.

    Args:
        bundle: of a folder of the user's.
        exporter: a key of `runtimes.LIGHT`, which names the folder that is added, or replaced.
        evaluate, images: see `convert`, which compares the files with the SavedModel.

    Returns:
        The bundle, loaded anew.

    Raises:
        DentalzooError: as `convert`; the bundle is intact.
    """
    check_choice("exporter", exporter, LIGHT)
    check_exporter(exporter)
    source = load_folder(bundle.path, "tensorflow")  # which may bear a released name
    with rewritten(bundle) as folder:
        place = folder / LIGHT[exporter]
        if place.exists():
            shutil.rmtree(place)
        _write(source, place, exporter, "float32", evaluate, images)
        guard.refuse_unsafe_files(folder, LIGHT[exporter], bundle.metadata)  # as the next load does
    return load_folder(bundle.path)


def _write(
    source: Bundle,
    path: Path,
    exporter: str,
    weights_dtype: str,
    evaluate: "Evaluate | None",
    images: Sequence[str | Path],
) -> None:
    """Write the functions of a bundle to a new path and compare them, see `convert`."""
    from dentalzoo.bundle import parity
    from dentalzoo.bundle.familiarity import NAME, signature
    from dentalzoo.bundle.sample_calls import sample_calls

    chosen = EXPORTERS[exporter]
    module, config = registry.module_of(source.metadata["name"]), source.config
    computing = in_float32(source.to_keras(), module, config)
    known = source.familiarity_statistics() if chosen.FAMILIARITY else None
    maps = module.feature_maps(computing, config) if known else None
    stored = store(computing, weights_dtype, maps)
    functions = dict(module.signatures(stored, config))
    if known and maps is not None:
        functions[NAME] = signature(stored, stored.feature_maps, config, known)
    calls = sample_calls(functions, module.example_batch(config), images)
    _log.info("writing for %s: %s", exporter, ", ".join(functions))
    chosen.export(stored, path, functions, calls)
    exported = chosen.load(path)
    _log.info("comparing what was written with %s", source.name)
    rows = parity.compare(source, functions, exported, calls)
    if evaluate:
        _log.info("measuring both on the data")
    measured = parity.measure(source, exported, evaluate) if evaluate else None
    parity.check(rows, measured, source.task, chosen.BOUND)
    if path.is_dir():
        metrics = measured.metrics if measured else None
        write_json(path / comparison.FILE, _description(source, chosen.NAME, path, rows, metrics))


def _functions_table(source: Bundle, path: Path, names: Iterable[str]) -> str:
    """Return the inputs and outputs of functions as Markdown; `?` is a size of any value.

    A file for a runtime that draws no random numbers takes them in place of seed and number.
    """
    files = _interface(path).get("signatures", {})
    rows = []
    for name in names:
        if (spec := source.metadata["signatures"].get(name)) is None:  # of an older bundle
            continue
        width = files.get(name, {}).get("noise")
        noise: TensorSpec = {"shape": [None, width], "dtype": "float32"}
        inputs = {"noise": noise} if width else spec["inputs"]
        rows.append(f"| `{name}` | {describe(inputs, '`')} | {describe(spec['outputs'], '`')} |")
    return "\n".join(["| function | inputs | outputs |", "|---|---|---|", *rows])


def _interface(path: Path) -> Any:
    """Return the file that lists the functions in a folder; {} where the exporter writes none."""
    file = path / INTERFACE
    return json.loads(file.read_text()) if file.is_file() else {}


def differences(path: Path) -> list[str]:
    """Return what `convert` measured as lines of text; none of a file without metadata."""
    content = comparison.read(path)
    return comparison.lines(content) if content else []


def _description(
    source: Bundle, exporter: str, path: Path, rows: Any, metrics: Any
) -> dict[str, Any]:
    """Return what the folder that an exporter wrote is, in plain values."""
    from dentalzoo import __version__

    return {
        "exporter": exporter,
        "bundle": source.name,
        **{key: source.metadata[key] for key in ("name", "tag", "task", "about", "data")},
        "config": dataclasses.asdict(source.config),
        "parity": rows,
        "metrics": metrics,
        "left_out": _interface(path).get("left_out", {}),
        "dentalzoo": __version__,
    }
