"""The network of the variant `morphable` of jaw_reconstruction, as ONNX and without dentalzoo.

    python -m peers.jaw onnx SETTINGS.json WEIGHTS.npz NETWORK.onnx
    python -m peers.jaw serve NETWORK.onnx|SAVED_MODEL VIEWS.npy RESULTS.npz THREADS

`onnx` writes the graph by hand, operation by operation, in float32. `serve` uses only ONNX Runtime
or only TensorFlow.
"""

import functools
import json
import sys
import time
from pathlib import Path

import numpy as np
from peers import turns

PACKAGES = ["numpy", "onnxruntime==1.32.0", "onnx==1.23.2"]
OPSET = 17
EPSILON = 1e-3  # of the normalisation layers of Keras


def folder_of(folder: Path) -> Path | None:
    """Return the folder of an environment with ONNX Runtime, made once."""
    return turns.environment(folder, "ONNX Runtime", "made", [turns.pip("install", *PACKAGES)])


# ---- the graph -----------------------------------------------------------------------------------


class Graph:
    """Operations in their order; each returns the name of its output."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, value) -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operation: str, *inputs, outputs: int = 1, **attributes):
        """Add an operation; inputs that are arrays become constants."""
        from onnx import helper

        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        made = [f"{operation}_{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(operation, names, made, **attributes))
        return made[0] if outputs == 1 else made


def export(settings: dict, weights: dict[str, np.ndarray], path: Path) -> None:
    """Write views (B, 10, S, S, C) -> points (B, N, 3), 40 mm = 1, and faces (B, M, 3)."""
    import onnx
    from onnx import TensorProto, helper

    graph = Graph()
    code = encoder(graph, settings, weights)
    points, faces = decoder(graph, settings, weights, code)
    side, channels = settings["image_size"], settings["channels"]
    views = (TensorProto.FLOAT, ["B", settings["views"], side, side, channels])
    made = {
        "points": (TensorProto.FLOAT, ["B", settings["num_points"], 3]),
        "faces": (TensorProto.INT32, ["B", max(settings["faces"]), 3]),
    }
    for name, output in zip(made, (points, faces), strict=True):
        graph.nodes.append(helper.make_node("Identity", [output], [name]))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "jaw_reconstruction",
            [helper.make_tensor_value_info("views", *views)],
            [helper.make_tensor_value_info(name, *spec) for name, spec in made.items()],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,  # the one of this opset
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)


def encoder(graph: Graph, settings: dict, weights: dict) -> str:
    """Add `encoder` of dentalzoo/models/jaw_reconstruction/encoder.py: views -> the code."""
    side, channels, width = (settings[key] for key in ("image_size", "channels", "embedding"))
    x = graph.add("Reshape", "views", np.array([-1, side, side, channels]))
    x = graph.add("Transpose", x, perm=[0, 3, 1, 2])  # (B * 10, C, H, W)
    for number in range(len(settings["filters"])):
        kernel = weights[f"Conv2D_{number}/kernel"].transpose(3, 2, 0, 1)
        x = graph.add("Conv", x, kernel, strides=[2, 2], auto_pad="SAME_UPPER")
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        norm = [weights[f"BatchNormalization_{number}/{part}"] for part in parts]
        x = graph.add("Relu", graph.add("BatchNormalization", x, *norm, epsilon=EPSILON))
    kernel = weights["squeeze/kernel"].transpose(3, 2, 0, 1)
    x = graph.add("Conv", x, kernel, weights["squeeze/bias"])
    x = graph.add("Flatten", graph.add("Transpose", x, perm=[0, 2, 3, 1]))
    x = graph.add("Gemm", x, weights["token/kernel"], weights["token/bias"])
    x = graph.add("Reshape", x, np.array([-1, settings["views"], width]))
    seen = graph.add("ReduceMax", "views", axes=[2, 3, 4], keepdims=0)  # (B, 10)
    seen = graph.add("Cast", graph.add("Greater", seen, np.float32(0)), to=1)
    x = graph.add("Add", x, weights["positions/table"])
    for number in range(settings["blocks"]):
        x = attention(graph, settings, weights, x, seen, number)
    x = graph.add("Flatten", graph.add("Mul", x, graph.add("Unsqueeze", seen, np.array([2]))))
    x = graph.add("Gemm", x, weights["hidden/kernel"], weights["hidden/bias"])
    return graph.add("Gemm", graph.add("Relu", x), weights["code/kernel"], weights["code/bias"])


def attention(graph: Graph, settings: dict, weights: dict, x: str, seen: str, number: int) -> str:
    """Add attention over the visible views, with a residual: (B, 10, D) -> (B, 10, D)."""
    heads, width = settings["heads"], settings["embedding"]
    split = np.array([-1, settings["views"], heads, width // heads])

    def norm(x, name):
        parts = [weights[f"{name}_{number}/{part}"] for part in ("gamma", "beta")]
        return graph.add("LayerNormalization", x, *parts, axis=-1, epsilon=EPSILON)

    def dense(x, name):
        kernel, bias = (weights[f"attention_{number}/{name}/{part}"] for part in ("kernel", "bias"))
        x = graph.add("MatMul", x, kernel.reshape(width, width))
        return graph.add("Add", x, bias.reshape(-1))

    normed = norm(x, "norm")
    query, key, value = (
        graph.add("Transpose", graph.add("Reshape", dense(normed, name), split), perm=perm)
        for name, perm in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3]))
    )
    query = graph.add("Mul", query, np.float32((width // heads) ** -0.5))
    hidden = graph.add("Mul", graph.add("Sub", seen, np.float32(1)), np.float32(1e9))
    hidden = graph.add("Unsqueeze", hidden, np.array([1, 2]))  # (B, 1, 1, 10)
    scores = graph.add("Add", graph.add("MatMul", query, key), hidden)
    fused = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
    fused = graph.add("Transpose", fused, perm=[0, 2, 1, 3])
    fused = graph.add("Reshape", fused, np.array([-1, settings["views"], width]))
    return norm(graph.add("Add", x, dense(fused, "attention_output")), "fused")


def decoder(graph: Graph, settings: dict, weights: dict, code: str) -> tuple[str, str]:
    """Add `MorphableModel`: the code -> points and faces of the most probable family of jaws."""
    count, size = len(settings["faces"]), settings["components"]
    sizes = np.array([count, *[size] * count])
    logits, *coefficients = graph.add("Split", code, sizes, axis=1, outputs=1 + count)
    likeliest = graph.add("ArgMax", logits, axis=1, keepdims=0)
    shares = graph.add("OneHot", likeliest, np.array(count), np.float32([0, 1]))
    shares = graph.add("Split", shares, np.ones(count, int), axis=1, outputs=count)
    shapes = []
    for family in range(count):
        mean, modes = (weights[f"morphable/{part}_{family}"] for part in ("mean", "modes"))
        points = graph.add("Gemm", coefficients[family], modes, mean, transB=1)
        shapes.append(graph.add("Mul", points, shares[family]))
    points = functools.reduce(lambda some, more: graph.add("Add", some, more), shapes)
    points = graph.add("Reshape", points, np.array([-1, settings["num_points"], 3]))
    faces = np.full((count, max(settings["faces"]), 3), -1, np.int32)
    for family, rows in enumerate(settings["faces"]):
        faces[family, :rows] = weights[f"morphable/faces_{family}"].reshape(-1, 3)
    return points, graph.add("Gather", faces, likeliest)


# ---- serving -------------------------------------------------------------------------------------


def serve(network: Path, views: np.ndarray, results: Path, threads: int) -> None:
    """Serve one jaw per call, the first of `views`; write the results of all of them before."""
    make = onnx_runtime if network.suffix == ".onnx" else tensorflow
    answer_jaw(*make(network, threads), views, results)


def onnx_runtime(network: Path, threads: int):
    """Return a function of float32 views, and the seconds to load it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Spinning threads take the processors of other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    seconds = time.perf_counter() - start
    names = ["points", "faces"]
    return lambda views: dict(
        zip(names, session.run(names, {"views": views}), strict=True)
    ), seconds


def tensorflow(network: Path, threads: int):
    """Return a function of uint8 views, with TensorFlow alone, and the seconds to load it."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    start = time.perf_counter()
    loaded = tf.saved_model.load(str(network))
    seconds = time.perf_counter() - start

    def call(views):
        results = loaded.signatures["serve"](views=tf.constant(views))
        return {key: value.numpy() for key, value in results.items()}

    return call, seconds


def answer_jaw(call, seconds: float, views: np.ndarray, path: Path) -> None:
    """Call `turns.answer` for one jaw per call, after writing the results of all to `path`.

    The facts are the seconds to load and the clock time of the first result.
    """
    results, first = [call(views[:1])], time.time()
    results += [call(jaw[None]) for jaw in views[1:]]
    np.savez(path, **{key: np.concatenate([r[key] for r in results]) for key in results[0]})
    turns.answer(lambda: call(views[:1]), {"load": seconds, "first": first})


if __name__ == "__main__":
    if sys.argv[1] == "onnx":
        with np.load(sys.argv[3]) as file:
            export(json.loads(Path(sys.argv[2]).read_text()), dict(file), Path(sys.argv[4]))
    else:
        serve(Path(sys.argv[2]), np.load(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
