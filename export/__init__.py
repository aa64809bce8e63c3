"""Merge, ONNX graph, quantisation, parity checks and the writing of style bundles."""
