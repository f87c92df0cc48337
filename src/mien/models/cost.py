"""What a network costs to run, whatever runs it."""

import torch
from torch import nn


def multiply_adds(network: nn.Module, size: int, channels: int) -> int:
    """Multiplications, each with its addition, for one face of `size` pixels: of convolutions and linear layers.

    What else there is, such as normalisation and activation, is little beside them.
    """
    from torch.utils.flop_counter import FlopCounterMode

    training = network.training
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.eval()(torch.zeros(1, channels, size, size))
    network.train(training)
    return int(counter.get_total_flops()) // 2
