"""The authors' released PyTorch weights (sordonia/zforcing) as a ZForcing model.

Their layout, NAME -> ours. Their forward cell stores matrices as (input, 4H); H hidden, E embedding, M mlp, Z latent:

    emb_mod.0                       embed.layer
    bwd_mod.*                       backward_lstm.lstm.*
    pri_mod.{0,2}, inf_mod.{0,2}    prior_net.mlp.{first,second}, posterior_net.mlp.{first,second}
    aux_mod.{0,2}                   auxiliary_net.{first,second}; its first H inputs are h_{t-1}, unused without it
    fwd_mod.weight_ih (M+E, 4H)     cell.from_latent, cell.from_input    (cond_ln: (E, 4H), cell.from_input)
    fwd_mod.weight_hh (H, 4H)       cell.from_hidden
    fwd_mod.bias_ih + bias_hh       cell.from_input.bias                 (cond_ln: ln_ih.gain, ln_ih.bias)
    gen_mod  or  gen_mod.{0,2}      cell.latent_net                      (cond_ln: cell.latent_net.{first,second})
    fwd_out_mod, bwd_out_mod        emission_net.linear, backward_emission_net.linear
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..sequences import ObservationSpec
from .zforcing import ZForcing, ZForcingConfig

SAME = {
    "emb_mod.0": "embed.layer",
    "pri_mod.0": "prior_net.mlp.first",
    "pri_mod.2": "prior_net.mlp.second",
    "inf_mod.0": "posterior_net.mlp.first",
    "inf_mod.2": "posterior_net.mlp.second",
    "aux_mod.0": "auxiliary_net.first",
    "aux_mod.2": "auxiliary_net.second",
    "fwd_out_mod": "emission_net.linear",
    "bwd_out_mod": "backward_emission_net.linear",
}
BACKWARD = [f"bwd_mod.{kind}_{part}_l0" for kind in ("weight", "bias") for part in ("ih", "hh")]
PLAIN_CELL = ["fwd_mod.weight_ih", "fwd_mod.weight_hh", "fwd_mod.bias_ih", "fwd_mod.bias_hh"]
PLAIN_CELL += ["gen_mod.weight", "gen_mod.bias"]
NORMALIZED_CELL = ["fwd_mod.weight_ih", "fwd_mod.weight_hh", "fwd_mod.ln_ih.gain", "fwd_mod.ln_ih.bias"]
NORMALIZED_CELL += [f"gen_mod.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")]
UNUSED = ["fwd_mod.ln_hh.gain", "fwd_mod.ln_hh.bias"]  # cond_ln replaces them by what it computes from z


def load_released(arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> ZForcing:
    """See `ZForcing.from_released_weights`."""
    tensors = {name: torch.as_tensor(value) for name, value in arrays.items()}
    _check_names(tensors)
    config = _config(tensors, settings)
    model = ZForcing(
        ObservationSpec("real", tensors["emb_mod.0.weight"].shape[1], first_observation="conditioned"), config
    )
    state = from_released(tensors, config)
    for name, parameter in model.state_dict().items():
        if state[name].shape != parameter.shape:
            raise UserError(
                f"released weights: {name} would be {tuple(state[name].shape)}, but the sizes told by pri_mod and "
                f"emb_mod ask for {tuple(parameter.shape)}"
            )
    model.to(tensors["emb_mod.0.weight"].dtype).load_state_dict(state)
    return model.eval()


def from_released(tensors: Mapping[str, Tensor], config: ZForcingConfig) -> dict[str, Tensor]:
    """The state dict of our model; differentiable in the released tensors."""
    ours = {f"{new}.{kind}": tensors[f"{old}.{kind}"] for old, new in SAME.items() for kind in ("weight", "bias")}
    ours |= {name.replace("bwd_mod", "backward_lstm.lstm"): tensors[name] for name in BACKWARD}
    hidden = config.hidden_size
    if not config.auxiliary_reads_state:
        ours["auxiliary_net.first.weight"] = ours["auxiliary_net.first.weight"][:, hidden:]
    if config.auxiliary == "squared_error":
        for kind in ("weight", "bias"):
            ours[f"auxiliary_net.second.{kind}"] = ours[f"auxiliary_net.second.{kind}"][:hidden]
    ours["cell.from_hidden.weight"] = tensors["fwd_mod.weight_hh"].t()
    inputs = tensors["fwd_mod.weight_ih"]
    if config.cell == "lstm":
        ours["cell.from_latent.weight"] = inputs[: config.mlp_size].t()
        ours["cell.from_input.weight"] = inputs[config.mlp_size :].t()
        ours["cell.from_input.bias"] = tensors["fwd_mod.bias_ih"] + tensors["fwd_mod.bias_hh"]
        ours |= {f"cell.latent_net.{kind}": tensors[f"gen_mod.{kind}"] for kind in ("weight", "bias")}
    else:
        ours["cell.from_input.weight"] = inputs.t()
        ours["cell.input_gain"] = tensors["fwd_mod.ln_ih.gain"].flatten()
        ours["cell.input_bias"] = tensors["fwd_mod.ln_ih.bias"].flatten()
        for old, new in (("0", "first"), ("2", "second")):
            ours |= {f"cell.latent_net.{new}.{kind}": tensors[f"gen_mod.{old}.{kind}"] for kind in ("weight", "bias")}
    return ours


def _check_names(tensors: Mapping[str, Tensor]) -> None:
    cell = NORMALIZED_CELL if "fwd_mod.ln_ih.gain" in tensors else PLAIN_CELL
    wanted = [f"{name}.{kind}" for name in SAME for kind in ("weight", "bias")] + BACKWARD + cell
    missing = sorted(set(wanted) - set(tensors))
    unknown = sorted(set(tensors) - set(wanted) - set(UNUSED))
    if missing:
        raise UserError(f"released weights: missing {', '.join(missing)}")
    if unknown:
        raise UserError(f"released weights: {', '.join(unknown)} is no parameter of the released model")


def _config(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> ZForcingConfig:
    """Sizes and cell from the shapes; the released output has no skip."""
    mlp, hidden = tensors["pri_mod.0.weight"].shape
    return ZForcingConfig(
        hidden_size=hidden,
        latent_size=tensors["pri_mod.2.weight"].shape[0] // 2,
        embedding_size=tensors["emb_mod.0.weight"].shape[0],
        mlp_size=mlp,
        output_skip=False,
        cell="layer_norm" if "fwd_mod.ln_ih.gain" in tensors else "lstm",
        **settings,
    )
