"""PyTorch: the network, data preparation, training, QLoRA, evaluation."""
