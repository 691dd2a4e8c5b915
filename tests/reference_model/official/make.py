"""Makes the golden files again: runs the official code on `recipe`'s weights; see README.md here.

python tests/reference_model/official/make.py --rosinality DIR --nvlabs DIR --psp DIR
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import torch.utils.cpp_extension
from recipe import NVLABS, ROSINALITY, fill, numbers, pictures

HERE = Path(__file__).parent


def filled(network: torch.nn.Module) -> torch.nn.Module:
    """The network with the recipe's weights."""
    network.load_state_dict(fill(network.state_dict()))
    return network.eval()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("rosinality", "nvlabs", "psp"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="a checkout of its repository")
    where = parser.parse_args()

    # Its operators are compiled at import, but not used on a CPU.
    torch.utils.cpp_extension.load = lambda *_, **__: None
    sys.path.insert(0, str(where.rosinality))
    import model

    sizes = ROSINALITY
    g = filled(model.Generator(sizes["size"], sizes["latent"], sizes["layers"], sizes["channel_multiplier"]))
    d = filled(model.Discriminator(sizes["size"], sizes["channel_multiplier"]))
    image, _ = g([numbers("z", (1, sizes["latent"]))], randomize_noise=False)
    logits = d(pictures(sizes["pictures"], sizes["size"]))
    np.savez_compressed(HERE / "rosinality.npz", image=image, logits=logits[:, 0])

    sys.path.insert(0, str(where.nvlabs))
    from training import networks

    sizes = NVLABS
    channels = {"channel_base": sizes["base"], "channel_max": sizes["limit"]}
    g = networks.Generator(
        z_dim=sizes["latent"],
        c_dim=0,
        w_dim=sizes["latent"],
        img_resolution=sizes["size"],
        img_channels=3,
        mapping_kwargs={"num_layers": sizes["layers"]},
        synthesis_kwargs=channels,
    )
    d = networks.Discriminator(c_dim=0, img_resolution=sizes["size"], img_channels=3, **channels)
    image = filled(g)(numbers("z", (2, sizes["latent"])), None, noise_mode="const")
    logits = filled(d)(pictures(sizes["pictures"], sizes["size"]), None)
    np.savez_compressed(HERE / "nvlabs.npz", image=image, logits=logits[:, 0])

    sys.path.insert(0, str(where.psp))
    from models.encoders.model_irse import Backbone

    network = filled(Backbone(112, 50, "ir_se", drop_ratio=0.6))
    x = network.input_layer(pictures(1, 32))
    taps = {}
    for index, block in enumerate(network.body):
        x = block(x)
        if index in (6, 20, 23):
            taps[f"tap{index}"] = x
    embedding = network(pictures(2, 112))
    np.savez_compressed(HERE / "irse50.npz", embedding=embedding, **taps)


main()
