"""PyTorch: the network, data preparation, training, fine-tuning and evaluation."""

import logging

# bitsandbytes warns, as it is imported, of kernels for the CPU that only make it faster
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
