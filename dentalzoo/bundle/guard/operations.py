"""The operations that a bundle may consist of; everything else is refused.

They are those of the functions that the zoo exports. All of them return values that depend on
their inputs alone: none reads or writes a file, reaches the network or another process, waits,
holds state or calls Python. A paper that needs another one adds it here, if that is true of it.
"""

_GROUPS = {
    "arithmetic": "Abs Add AddN AddV2 Cos Cumsum DivNoNan Erfc Exp Floor FloorDiv FloorMod Log "
    "Maximum Minimum Mul Neg Pow RealDiv Round Rsqrt Sign Sin Softplus Sqrt SqrtGrad Square "
    "SquaredDifference Sub",
    "comparing and choosing": "Equal Greater GreaterEqual Less LessEqual LogicalAnd LogicalNot "
    "LogicalOr NotEqual Select SelectV2 Where",
    "reducing": "All ArgMax DenseBincount Max Mean Prod Sum TopKV2 Unique",
    "shapes and places": "BroadcastGradientArgs ConcatV2 EnsureShape ExpandDims Fill GatherV2 "
    "OneHot Pack Pad PadV2 Range Reshape Roll ScatterNd Shape Size Slice Split Squeeze "
    "StridedSlice Tile Transpose Unpack ZerosLike",
    "dtypes": "Bitcast BitwiseAnd Cast Const Identity IdentityN StopGradient",
    "networks": "AvgPool BatchMatMulV2 BiasAdd Conv2D Conv2DBackpropInput Conv3D "
    "DepthwiseConv2dNative Einsum Elu FusedBatchNormV3 LeakyRelu MatMul MaxPool Relu Relu6 Sigmoid "
    "Softmax Tanh",
    "images, boxes and matrices": "Cholesky CombinedNonMaxSuppression MatrixDiagV3 "
    "MatrixSetDiagV3 ResizeBilinear ScaleAndTranslate",
    "bytes that a caller sends or gets": "DecodeImage DecodePng EncodePng ParseExampleV2 "
    "StringSplitV2 Substr",
    "random numbers from a caller's seed": "StatelessRandomGetKeyCounter StatelessRandomNormalV2",
    "refusing an input": "Assert CheckNumerics NoOp",
    "the images of a batch, in the loop over them": "TensorListFromTensor TensorListGetItem "
    "TensorListReserve TensorListSetItem TensorListStack",
    "weights": "ReadVariableOp",
}
COMPUTING = frozenset(name for group in _GROUPS.values() for name in group.split())

# Operations that call functions, and the attributes that name these.
CALLING = {
    "If": ("then_branch", "else_branch"),
    "PartitionedCall": ("f",),
    "StatefulPartitionedCall": ("f",),
    "StatelessIf": ("then_branch", "else_branch"),
    "StatelessWhile": ("cond", "body"),
    "While": ("cond", "body"),
}
LOOPING = frozenset(("StatelessWhile", "While"))

# Only in the two functions with which TensorFlow saves and restores; see savers.py.
SAVING = frozenset(
    (
        *("AssignVariableOp", "DisableCopyOnRead", "MergeV2Checkpoints", "RestoreV2", "SaveV2"),
        *("ShardedFilename", "StaticRegexFullMatch", "StringJoin"),
    )
)

# The graph outside of functions: a call for each signature, and what it is called with.
MAIN = frozenset(
    (
        *("Const", "NoOp", "PartitionedCall", "Placeholder", "ReadVariableOp"),
        *("StatefulPartitionedCall", "VarHandleOp"),
    )
)

# Inputs that give the size of a result: the product of the values of each group is bounded.
SIZES = {
    "CombinedNonMaxSuppression": ((2,), (3,)),
    "Conv2DBackpropInput": ((0,),),
    "DenseBincount": ((1,),),
    "Fill": ((0,),),
    "MatrixDiagV3": ((1, 1), (2, 3)),
    "OneHot": ((1,),),
    "Pad": ((1,),),
    "PadV2": ((1,),),
    "ResizeBilinear": ((1,),),
    "ScaleAndTranslate": ((1,),),
    "ScatterNd": ((2,),),
    "StatelessRandomNormalV2": ((0,),),
    "TensorListReserve": ((0, 1),),
    "Tile": ((1,),),
}

# Names of attributes that begin with _ can steer TensorFlow's own passes: these only describe.
DESCRIBING = frozenset(
    (
        *("_collective_manager_ids", "_construction_context", "_gradient_op_type"),
        *("_has_manual_control_dependencies", "_input_shapes", "_lower_using_switch_merge"),
        *("_num_original_outputs", "_output_shapes", "_read_only_resource_inputs"),
        "_user_specified_name",
    )
)
