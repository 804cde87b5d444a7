"""Z-Forcing equals the authors' released model: every term, the loss and every gradient, to 1e-9, by both backends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from zforcing import ELBO, SequenceBatch, SequenceModel, UserError, Weights, ZForcing
from zforcing.bounds import BoundResult
from zforcing.models.released import from_released, load_released

SETTINGS: dict[str, dict[str, Any]] = {
    "gaussian_aux_from_latent": {},
    "gaussian_aux_from_latent_and_state": {"auxiliary_reads_state": True},
    "gaussian_conditional_layernorm": {},
    "gaussian_aux_l2": {"auxiliary": "squared_error"},
}


@dataclass
class Released:
    """One file: their numbers, their parameters as leaves, and our model on the same input."""

    numbers: Mapping[str, np.ndarray]
    parameters: dict[str, Tensor]
    model: ZForcing
    batch: SequenceBatch
    noise: Tensor
    weights: Weights


@pytest.fixture(params=SETTINGS)
def released(request: pytest.FixtureRequest, data_folder: Path) -> Released:
    with np.load(data_folder / f"{request.param}.npz") as file:
        numbers = {name: file[name] for name in file.files}
    prefix = "param/"
    parameters = {n.removeprefix(prefix): torch.tensor(v) for n, v in numbers.items() if n.startswith(prefix)}
    model = load_released(parameters, **SETTINGS[request.param])
    frames = torch.tensor(numbers["x"]).transpose(0, 1)  # theirs are time first, and x[:-1] is what is read
    lengths = torch.tensor(numbers["mask"]).sum(0).long()
    kl, auxiliary, backward = numbers["weights_kl_aux_bwd"].tolist()
    return Released(
        numbers,
        {name: value.requires_grad_() for name, value in parameters.items()},
        model,
        SequenceBatch(frames[:, 1:], lengths, frames[:, 0]),
        torch.tensor(numbers["eps"]).transpose(0, 1),
        Weights(kl=kl, auxiliary=auxiliary, backward=backward),
    )


@pytest.fixture(params=["reference", "fast"])
def either(request: pytest.FixtureRequest, released: Released) -> Released:
    """Our model, by either backend."""
    released.model.backend = request.param
    return released


class Module(nn.Module):
    """A bound as a module, so that the released parameters can stand in for the model's."""

    def __init__(self, model: SequenceModel):
        super().__init__()
        self.model = model

    def forward(self, batch: SequenceBatch, weights: Weights, noise: Tensor) -> BoundResult:
        return ELBO()(self.model, batch, weights=weights, noise=noise)


def run(released: Released) -> BoundResult:
    ours = from_released(released.parameters, released.model.config)
    arguments = (released.batch, released.weights, released.noise)
    return functional_call(Module(released.model), {f"model.{n}": v for n, v in ours.items()}, arguments)


def close(ours: Tensor, theirs: np.ndarray) -> None:
    torch.testing.assert_close(ours.detach(), torch.tensor(theirs), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("ours", "theirs", "sign"),
    [("log_px", "fwd_nll", -1), ("kl", "kld", 1), ("auxiliary", "aux_nll", -1), ("backward", "bwd_nll", -1)],
)
def test_each_term_of_each_sequence_equals_the_released_models(
    either: Released, ours: str, theirs: str, sign: int
) -> None:
    close(sign * run(either).terms[ours], either.numbers[theirs])


def test_the_loss_equals_the_released_models(either: Released) -> None:
    close(run(either).loss.mean(), either.numbers["loss"])


def test_every_gradient_equals_the_released_models(either: Released) -> None:
    run(either).loss.mean().backward()
    assert len(either.parameters) == sum(name.startswith("grad/") for name in either.numbers)
    for name, parameter in either.parameters.items():
        ours = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        close(ours, either.numbers[f"grad/{name}"])


def test_states_latents_and_their_densities_equal_the_released_models(either: Released) -> None:
    model, numbers = either.model, either.numbers
    unrolled = model.unroll(either.batch, noise=either.noise)
    close(unrolled.latents.transpose(0, 1), numbers["latents"])
    close(model.encode(either.batch).transpose(0, 1), numbers["backward_states"])
    close(unrolled.state.h, numbers["hidden"][-1])
    close(unrolled.prior.log_prob(unrolled.latents).sum(1), numbers["log_pz"])
    close(unrolled.posterior.log_prob(unrolled.latents).sum(1), numbers["log_qz"])


def test_a_missing_released_array_is_named(released: Released) -> None:
    arrays = dict(released.parameters)
    del arrays["inf_mod.2.bias"]
    with pytest.raises(UserError, match=r"missing inf_mod\.2\.bias"):
        load_released(arrays)


def test_an_unknown_released_array_is_named(released: Released) -> None:
    with pytest.raises(UserError, match="extra"):
        load_released(released.parameters | {"extra": torch.zeros(1)})


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("fwd_mod.weight_hh", (5, 20), r"fwd_mod\.weight_hh is \(5, 20\) and should be \(6, 24\)"),
        ("bwd_mod.bias_ih_l0", (25,), r"bwd_mod\.bias_ih_l0 is \(25,\) and should be \(24,\)"),
        ("bwd_mod.bias_hh_l0", (), r"bwd_mod\.bias_hh_l0 is \(\) and should be \(24,\)"),
        ("aux_mod.2.weight", (13, 8), r"aux_mod\.2\.weight is \(13, 8\) and should be \(12, 8\)"),
        ("pri_mod.0.weight", (), r"pri_mod\.0\.weight is \(\); it must be a matrix"),
        ("pri_mod.0.weight", (8, 6, 1), r"pri_mod\.0\.weight is \(8, 6, 1\)"),
        ("pri_mod.2.weight", (5, 8), r"pri_mod\.2\.weight has 5 rows"),
        ("emb_mod.0.weight", (7,), r"emb_mod\.0\.weight is \(7,\)"),
    ],
)
def test_a_misshapen_released_array_is_named_as_theirs(
    released: Released, name: str, shape: tuple[int, ...], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        load_released(released.parameters | {name: torch.zeros(shape)})
    assert "\n" not in str(caught.value)


def test_every_released_array_that_a_wrong_bias_could_hide_behind_is_checked(released: Released) -> None:
    """A scalar would broadcast when two biases are added; one more number would be cut off."""
    for name in ("fwd_mod.bias_ih", "fwd_mod.bias_hh") if "fwd_mod.bias_ih" in released.parameters else ():
        for shape in ((), (1,), (25,)):
            with pytest.raises(UserError, match=f"{name} is"):
                load_released(released.parameters | {name: torch.zeros(shape)})


def test_released_arrays_of_whole_numbers_are_refused(released: Released) -> None:
    whole = {"emb_mod.0.weight": torch.zeros(7, 5, dtype=torch.int64)}
    with pytest.raises(UserError, match=r"emb_mod\.0\.weight holds no floating"):
        load_released(released.parameters | whole)


def test_a_setting_that_the_released_arrays_determine_is_refused(released: Released) -> None:
    with pytest.raises(UserError, match="arrays determine hidden_size: leave it out"):
        load_released(released.parameters, hidden_size=3)
