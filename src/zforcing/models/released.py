"""Load the PyTorch weights that the Z-Forcing authors released (sordonia/zforcing) into a `ZForcing` model.

Released name, and name here. Their forward cell stores matrices as (input, 4H); H hidden, E embedding, M mlp, Z latent:

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
from ..observations import ObservationSpec
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


def load_released(arrays: Mapping[str, Any], **settings: Any) -> ZForcing:
    """Make a model from the authors' released parameters (a Gaussian model, any of their options).

    Args:
        arrays: Released name -> array.
        **settings: Fields of `ZForcingConfig` that the arrays don't determine: `auxiliary_reads_state`, `auxiliary`.

    Returns:
        The model, in eval mode.

    Raises:
        UserError: An array is missing, unknown, or of the wrong shape; or a setting is unknown, or one that the arrays
            determine.
    """
    tensors = {name: torch.as_tensor(value) for name, value in arrays.items()}
    _check_names(tensors)
    _check_shapes(tensors)
    config = _config(tensors, settings)
    model = ZForcing(
        ObservationSpec("real", tensors["emb_mod.0.weight"].shape[1], first_observation="conditioned"), config
    )
    model.to(tensors["emb_mod.0.weight"].dtype).load_state_dict(from_released(tensors, config))
    return model.eval()


def from_released(tensors: Mapping[str, Tensor], config: ZForcingConfig) -> dict[str, Tensor]:
    """Convert released parameters to the state dict of a `ZForcing` model; differentiable.

    Args:
        tensors: Released name -> tensor.
        config: The settings of the model.

    Returns:
        The state dict.
    """
    new_state = {f"{new}.{kind}": tensors[f"{old}.{kind}"] for old, new in SAME.items() for kind in ("weight", "bias")}
    new_state |= {name.replace("bwd_mod", "backward_lstm.lstm"): tensors[name] for name in BACKWARD}
    hidden = config.hidden_size
    if not config.auxiliary_reads_state:
        new_state["auxiliary_net.first.weight"] = new_state["auxiliary_net.first.weight"][:, hidden:]
    if config.auxiliary == "squared_error":
        for kind in ("weight", "bias"):
            new_state[f"auxiliary_net.second.{kind}"] = new_state[f"auxiliary_net.second.{kind}"][:hidden]
    new_state["cell.from_hidden.weight"] = tensors["fwd_mod.weight_hh"].t()
    inputs = tensors["fwd_mod.weight_ih"]
    if config.cell == "lstm":
        new_state["cell.from_latent.weight"] = inputs[: config.mlp_size].t()
        new_state["cell.from_input.weight"] = inputs[config.mlp_size :].t()
        new_state["cell.from_input.bias"] = tensors["fwd_mod.bias_ih"] + tensors["fwd_mod.bias_hh"]
        new_state |= {f"cell.latent_net.{kind}": tensors[f"gen_mod.{kind}"] for kind in ("weight", "bias")}
    else:
        new_state["cell.from_input.weight"] = inputs.t()
        new_state["cell.input_gain"] = tensors["fwd_mod.ln_ih.gain"].flatten()
        new_state["cell.input_bias"] = tensors["fwd_mod.ln_ih.bias"].flatten()
        for old, new in (("0", "first"), ("2", "second")):
            new_state |= {
                f"cell.latent_net.{new}.{kind}": tensors[f"gen_mod.{old}.{kind}"] for kind in ("weight", "bias")
            }
    return new_state


def _check_names(tensors: Mapping[str, Tensor]) -> None:
    cell = NORMALIZED_CELL if "fwd_mod.ln_ih.gain" in tensors else PLAIN_CELL
    expected = [f"{name}.{kind}" for name in SAME for kind in ("weight", "bias")] + BACKWARD + cell
    missing = sorted(set(expected) - set(tensors))
    unknown = sorted(set(tensors) - set(expected) - set(UNUSED))
    if missing:
        raise UserError(f"released weights: missing {', '.join(missing)}")
    if unknown:
        raise UserError(f"released weights: {', '.join(unknown)} is no parameter of the released model")


def _check_shapes(tensors: Mapping[str, Tensor]) -> None:
    """Check every shape against the sizes of emb_mod.0.weight, pri_mod.0.weight and pri_mod.2.weight."""
    for name in ("emb_mod.0.weight", "pri_mod.0.weight", "pri_mod.2.weight"):
        if tensors[name].dim() != 2 or 0 in tensors[name].shape:
            raise UserError(f"released weights: {name} is {tuple(tensors[name].shape)}; it must be a matrix")
    (E, D), (M, H), Z = tensors["emb_mod.0.weight"].shape, tensors["pri_mod.0.weight"].shape, _latent_size(tensors)
    layers = {  # (out, in)
        "emb_mod.0": (E, D),
        "pri_mod.0": (M, H),
        "pri_mod.2": (2 * Z, M),
        "inf_mod.0": (M, 2 * H),
        "inf_mod.2": (2 * Z, M),
        "aux_mod.0": (M, H + Z),
        "aux_mod.2": (2 * H, M),
        "fwd_out_mod": (2 * D, H),
        "bwd_out_mod": (2 * D, H),
        "gen_mod": (M, Z),
        "gen_mod.0": (M, Z),
        "gen_mod.2": (8 * H, M),
    }
    wanted: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in layers.items()}
    wanted |= {f"{name}.bias": shape[:1] for name, shape in layers.items()}
    wanted |= {"bwd_mod.weight_ih_l0": (4 * H, E), "bwd_mod.weight_hh_l0": (4 * H, H)}
    wanted |= {"bwd_mod.bias_ih_l0": (4 * H,), "bwd_mod.bias_hh_l0": (4 * H,)}
    normalized = "fwd_mod.ln_ih.gain" in tensors
    wanted |= {"fwd_mod.weight_ih": (E if normalized else M + E, 4 * H), "fwd_mod.weight_hh": (H, 4 * H)}
    wanted |= {"fwd_mod.bias_ih": (4 * H,), "fwd_mod.bias_hh": (4 * H,)}
    wanted |= {"fwd_mod.ln_ih.gain": (1, 4 * H), "fwd_mod.ln_ih.bias": (1, 4 * H)}
    problems = [f"{name} holds no floating numbers" for name, v in tensors.items() if not v.is_floating_point()]
    problems += [
        f"{name} is {tuple(tensor.shape)} and should be {wanted[name]}"
        for name, tensor in tensors.items()
        if name not in UNUSED and tuple(tensor.shape) != wanted[name]
    ]
    if problems:
        sizes = f"hidden {H}, embedding {E}, mlp {M}, latent {Z}, data {D}"
        raise UserError(f"released weights: {'; '.join(problems)} (the sizes by pri_mod and emb_mod: {sizes})")


def _latent_size(tensors: Mapping[str, Tensor]) -> int:
    rows = tensors["pri_mod.2.weight"].shape[0]
    if rows % 2:
        raise UserError(f"released weights: pri_mod.2.weight has {rows} rows; a mean and a log-variance make it even")
    return rows // 2


def _config(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> ZForcingConfig:
    """The settings: sizes and cell from the shapes; the released model has no output skip."""
    mlp, hidden = tensors["pri_mod.0.weight"].shape
    known = {
        "hidden_size": hidden,
        "latent_size": _latent_size(tensors),
        "embedding_size": tensors["emb_mod.0.weight"].shape[0],
        "mlp_size": mlp,
        "output_skip": False,
        "output_latent": False,
        "cell": "layer_norm" if "fwd_mod.ln_ih.gain" in tensors else "lstm",
    }
    twice = [name for name in settings if name in known]
    if twice:
        raise UserError(f"released weights: the arrays determine {', '.join(twice)}: leave it out of the settings")
    return ZForcing.make_config(None, known | dict(settings))
