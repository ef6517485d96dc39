"""Read saved_model.pb without TensorFlow's loader, and check all that the loader would use."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dentalzoo.bundle.guard.body import Bodies, Body
from dentalzoo.bundle.guard.checkpoint import INDEX, VALUES, Damaged, check_checkpoint
from dentalzoo.bundle.guard.functions import called, check_functions, check_node
from dentalzoo.bundle.guard.objects import check_objects
from dentalzoo.bundle.guard.operations import MAIN
from dentalzoo.bundle.guard.refusal import Unsafe
from dentalzoo.bundle.guard.tensors import CONSTANTS, bytes_of
from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

_Message = TypeVar("_Message", bound="Message")

GRAPH, FINGERPRINT = "saved_model.pb", "fingerprint.pb"
_FILES = frozenset((GRAPH, FINGERPRINT, f"variables/{INDEX}", f"variables/{VALUES}"))
_SMALL = 1024  # bytes of fingerprint.pb, which holds five numbers
_LARGEST = 2**28  # bytes of saved_model.pb; weights are not in it
_INIT = "__saved_model_init_op"


def refuse_unsafe_graph(path: Path, name: Path | None = None) -> None:
    """Refuse the SavedModel of a bundle that could do anything but compute, before it is loaded.

    Args:
        path: the bundle, whose folder `saved_model` is read.
        name: what the message calls it, where that is not its path.

    Raises:
        DentalzooError: it cannot be read, or holds what is not on the list; the message names the
            bundle, the operation and the function.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    folder = path / "saved_model"
    try:
        _check_files(folder)
        variables = check(_parse(folder / GRAPH, saved_model_pb2.SavedModel, _LARGEST))
        check_checkpoint(folder / "variables", variables)
    except Unsafe as error:
        raise DentalzooError(
            f"{name or path}: the SavedModel contains an unsafe operation ({error}); "
            "refusing to load"
        ) from None
    except (OSError, Damaged) as error:
        raise DentalzooError(
            f"{name or path}: the SavedModel is corrupt or incomplete. Received: {error}"
        ) from None


def _check_files(folder: Path) -> None:
    """Refuse files that TensorFlow could read in place of the graph that is checked, or besides it.

    A text form of the graph, one in pieces, debugging information and assets are such files.
    """
    from tensorflow.core.protobuf import fingerprint_pb2

    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if not file.is_dir() and name not in _FILES:
            raise Unsafe(f"the file {name}")
    if (folder / FINGERPRINT).exists():
        _parse(folder / FINGERPRINT, fingerprint_pb2.FingerprintDef, _SMALL)


def _parse(file: Path, kind: type[_Message], largest: int) -> _Message:
    """Parse a file that holds one message.

    Raises:
        OSError: it cannot be read.
        Damaged: it is no such message.
        Unsafe: it is too large, or has fields that this version of TensorFlow does not know.
    """
    from google.protobuf.message import DecodeError

    size = file.stat().st_size
    if size > largest:
        raise Unsafe(f"{file.name} of {size} bytes")
    try:
        content: _Message = kind.FromString(file.read_bytes())
    except DecodeError as error:
        raise Damaged(f"{file.name}: {error}") from None
    known = content.ByteSize()
    content.DiscardUnknownFields()
    if content.ByteSize() != known:
        unknown = known - content.ByteSize()
        raise Unsafe(f"{unknown} bytes of {file.name} that this TensorFlow does not know")
    return content


def check(content: "SavedModel") -> int:
    """Check a SavedModel.

    Returns:
        The bytes that its variables take.

    Raises:
        Unsafe: it could do anything but compute.
    """
    # TensorFlow's loader for version 1 runs operations that the loader for version 2 does not.
    if len(content.meta_graphs) != 1 or not content.meta_graphs[0].HasField("object_graph_def"):
        raise Unsafe(f"{len(content.meta_graphs)} graphs, or one of TensorFlow 1")
    graph = content.meta_graphs[0]
    if graph.asset_file_def:
        raise Unsafe(f"asset {graph.asset_file_def[0].filename}")
    if graph.meta_info_def.HasField("any_info") or graph.meta_info_def.function_aliases:
        raise Unsafe("information of another program")
    bodies, savers = check_functions(graph.graph_def.library)
    main = Body("", graph.graph_def.node)
    _check_main(graph, main, bodies, savers)
    constants = {name for name, node in main.nodes.items() if node.op == "Const"}
    variables = check_objects(graph.object_graph_def, bodies, savers, constants)
    size = sum(
        bytes_of(value.tensor)
        for body in (main, *bodies.values())
        for node in body.nodes.values()
        for value in node.attr.values()
        if value.HasField("tensor")
    )
    if size > CONSTANTS:
        raise Unsafe(f"constants of {size} bytes")
    return variables


def _check_main(graph: Any, main: Body, bodies: Bodies, savers: frozenset[str]) -> None:
    """Check the graph outside of functions, of which other loaders than `dz.load` run parts."""
    path = main.node_of(graph.saver_def.filename_tensor_name)
    for node in main.nodes.values():
        check_node(node, main, MAIN, bodies)
        given = bool(node.input) and path is not None and path.op == "Placeholder"
        if savers.intersection(called(node)) and not (
            given and main.node_of(node.input[0]) is path
        ):
            raise Unsafe(f"{node.op} of the function that saves, without the path given to it")
    initial = {tensor.name for tensor in graph.signature_def[_INIT].outputs.values()}
    for key, collection in graph.collection_def.items():
        if key != "saved_model_main_op":
            raise Unsafe(f"a collection {key}")
        initial |= set(collection.node_list.value)
    for reference in initial - {""}:
        node = main.node_of(reference)
        if node is not None and (node.op != "NoOp" or node.input):
            raise Unsafe(f"{node.op}, run when the model is loaded")
