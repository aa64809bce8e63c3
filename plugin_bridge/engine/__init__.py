"""Style bundles, the ONNX session with its key-value cache, sampling and generation."""
