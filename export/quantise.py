"""Weights to 8 bits: blocks of 32 with a scale each, multiplied by MatMulNBits."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from plugin_bridge.engine.bundle import TENSOR_TYPES

BLOCK = 32
ACCURACY_LEVEL = 4
"""Activations in 8 bits too. Levels 0 and 1 compute in float and are ten times slower."""


def quantise(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` with the weights of its matrix products in 8 bits; tables and norms stay, and so do
    the matrices that are inputs, for adapters to give."""
    logging.getLogger(MatMulNBitsQuantizer.__module__).setLevel(logging.WARNING)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    inputs = {value.name for value in copy.graph.input}
    given = [node.name for node in copy.graph.node if node.op_type == "MatMul" and inputs & set(node.input)]
    quantiser = MatMulNBitsQuantizer(
        copy, bits=8, block_size=BLOCK, is_symmetric=True, accuracy_level=ACCURACY_LEVEL,
        nodes_to_exclude=given,
    )  # fmt: skip
    quantiser.process()
    return quantiser.model.model


def locate_tensors(path: Path) -> dict[str, tuple[str, list[int], int]]:
    """Where the weights lie in a graph's file: name to type, shape and offset in bytes. Raises ValueError
    where one is not kept as plain bytes."""
    content = path.read_bytes()
    located = {}
    for tensor in onnx.load_from_string(content).graph.initializer:
        kind = helper.tensor_dtype_to_np_dtype(tensor.data_type).name
        raw = numpy_helper.to_array(tensor).tobytes()
        if raw and kind in TENSOR_TYPES:  # the same bytes elsewhere are as good
            located[tensor.name] = (kind, list(tensor.dims), content.index(raw))
    return located
