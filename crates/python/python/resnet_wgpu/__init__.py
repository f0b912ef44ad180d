"""ResNets on images and numpy arrays, on any GPU that wgpu reaches, or on the CPU.

    from resnet_wgpu import Network

    network = Network.open("resnet50.safetensors")
    for guess in network.classify("cat.jpg"):
        print(f"{guess.probability:.2%} {guess.label}")
"""

from ._images import Image, Images
from ._native import (
    AdapterError,
    AnswerError,
    DeviceError,
    ImageError,
    ResnetError,
    WeightsError,
    __version__,
)
from ._network import Answers, AssumedWarning, Guess, HeatMap, Network, adapters, cuda_adapter

__all__ = [
    "AdapterError",
    "AnswerError",
    "Answers",
    "AssumedWarning",
    "DeviceError",
    "Guess",
    "HeatMap",
    "Image",
    "ImageError",
    "Images",
    "Network",
    "ResnetError",
    "WeightsError",
    "__version__",
    "adapters",
    "cuda_adapter",
]
