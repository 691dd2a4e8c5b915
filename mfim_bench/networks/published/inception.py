"""The networks of FID and KID, and how public scripts bring frames to them: torch-fidelity's Inception, timm's CLIP.

M. Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", NeurIPS 2017 (FID, Inception v3 of 2015); M. Bińkowski
et al., "Demystifying MMD GANs", ICLR 2018 (KID); A. Radford et al., "Learning Transferable Visual Models From Natural
Language Supervision", ICML 2021 (CLIP). Files are local; torch-fidelity's own reading could run code and is not used.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch_fidelity import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torchvision import transforms

from mfim_bench import weights
from mfim_bench.networks.published.strict import load_strictly

if TYPE_CHECKING:
    from mfim_bench.faces.detect import Face
    from mfim_bench.measure import Features

Prepare: TypeAlias = Callable[[NDArray[np.uint8]], Tensor]
SIDE, CASIA_SIDE, CLIP_SIDE = 299, 256, 224
CLIP_MEAN, CLIP_DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
CLIP = "vit_base_patch32_clip_quickgelu_224"


class _Unread(FeatureExtractorInceptionV3):  # type: ignore[misc]
    """The library's network, whose constructor reads nothing: it would unpickle the file without a check."""

    def __init__(self) -> None:
        nothing = io.BytesIO()
        torch.save({}, nothing)
        nothing.seek(0)
        super().__init__("inception", ["2048"], feature_extractor_weights_path=nothing)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict(state_dict, strict and bool(state_dict), assign)


def load(path: Path) -> nn.Module:
    """``pt_inception-2015-12-05-6726825d.pth``, torch-fidelity's ``weights-inception-…``; on the CPU, in float32.

    The module takes (B, 3, 299, 299) in [-1, 1] and gives (B, 2048): the mean over places of the last block.

    Raises:
        UsageError: the file is of another layout; one line says how.
    """
    with torch.device("meta"):
        network = _Unread()
    load_strictly(network, weights.load(path), path.name)
    # Its own forward takes bytes and resizes as TensorFlow; its layers stand in their order, the classifier last.
    layers = list(network.children())[:-1]
    return nn.Sequential(*layers, nn.Flatten()).eval().requires_grad_(False)


def load_clip(path: Path) -> nn.Module:
    """OpenAI's CLIP ViT-B/32, image tower, in timm's layout; on the CPU, in float32.

    The module takes (B, 3, 224, 224), normalised by CLIP's mean and deviation, and gives (B, 512).

    Raises:
        UsageError: the file is of another layout; one line says how.
    """
    with torch.device("meta"):
        network: nn.Module = timm.create_model(CLIP, pretrained=False, num_classes=512)
    load_strictly(network, weights.load(path), path.name)
    return network.eval().requires_grad_(False)


def _bytes(image: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) -> float32 (1, 3, H, W) in 0..255."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()


def tensorflow(image: NDArray[np.uint8]) -> Tensor:
    """As the first FID code and torch-fidelity: TensorFlow 1's bilinear samples at 299 px, not averaged; [-1, 1)."""
    x: Tensor = interpolate_bilinear_2d_like_tensorflow1x(_bytes(image), size=(SIDE, SIDE), align_corners=False)
    return (x - 128) / 128


def pytorch_fid(image: NDArray[np.uint8]) -> Tensor:
    """As pytorch-fid, which ReliableSwap's script uses: torch's bilinear samples at 299 px, not averaged; [-1, 1]."""
    return 2 * F.interpolate(_bytes(image) / 255, (SIDE, SIDE), mode="bilinear", align_corners=False) - 1


def casia(image: NDArray[np.uint8]) -> Tensor:
    """As the CASIA survey's script: to 256 px by Pillow's bilinear filter, which averages; then as `pytorch_fid`."""
    resized = Image.fromarray(image).resize((CASIA_SIDE, CASIA_SIDE), Image.Resampling.BILINEAR)
    return pytorch_fid(np.asarray(resized, np.uint8))


def clip(image: NDArray[np.uint8]) -> Tensor:
    """As OpenAI's package: short side to 224 px by Pillow's bicubic filter, the middle square; mean and deviation."""
    prepare = transforms.Compose(
        [
            transforms.Resize(CLIP_SIDE, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(CLIP_SIDE),
            transforms.ToTensor(),
            transforms.Normalize(CLIP_MEAN, CLIP_DEVIATION),
        ]
    )
    prepared: Tensor = prepare(Image.fromarray(image))
    return prepared[None]


class FrameJudge:
    """A network that describes whole frames; implements `mfim_bench.measure.Judge`."""

    def __init__(self, network: nn.Module, prepare: Prepare, device: torch.device) -> None:
        self.network = network.to(device)
        self.prepare, self.device = prepare, device

    @torch.inference_mode()
    def features(self, images: Sequence[NDArray[np.uint8]], faces: Sequence[Face]) -> Features:
        """``frame`` (N, D), frames one by one. No face is read.

        Args:
            images: N frames, uint8 RGB (H, W, 3), at least one.
            faces: not read.
        """
        rows = [self.network(self.prepare(image).to(self.device)) for image in images]
        return {"frame": torch.cat(rows).cpu().numpy().astype(np.float32)}


def _judge(load: Callable[[Path], nn.Module], name: str, prepare: Prepare) -> Callable[[torch.device], FrameJudge]:
    """A factory of judges."""
    return lambda device: FrameJudge(load(weights.path(name)), prepare, device)


inception_tensorflow = _judge(load, "inception-fid", tensorflow)
inception_pytorch_fid = _judge(load, "inception-fid", pytorch_fid)
inception_casia = _judge(load, "inception-fid", casia)
clip_reface = _judge(load_clip, "clip-vit-b32", clip)
