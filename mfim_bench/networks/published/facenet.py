"""facenet-pytorch's InceptionResnetV1 with its VGGFace2 weights, from a local file; the package's download is not used.

C. Szegedy et al., "Inception-v4, Inception-ResNet", AAAI 2017; Q. Cao et al., "VGGFace2", FG 2018.
"""

from __future__ import annotations

from pathlib import Path

import torch
from facenet_pytorch import InceptionResnetV1
from torch import nn

from mfim_bench import weights
from mfim_bench.networks.published.strict import load_strictly


def load(path: Path) -> nn.Module:
    """``20180402-114759-vggface2.pt`` without its classifier, on the CPU, in float32.

    The module takes (B, 3, 160, 160) RGB in [-1, 1] and gives (B, 512) of length one.

    Raises:
        UsageError: the file is of another layout; one line says how.
    """
    with torch.device("meta"):
        network: nn.Module = InceptionResnetV1(pretrained=None, classify=False)
    load_strictly(network, weights.load(path), path.name, dropped=lambda name: name.startswith("logits."))
    return network.eval().requires_grad_(False)
