"""Which proposal a particle filter takes: the mixture with the model's posterior, where it can be had for one step."""

from __future__ import annotations

import warnings
from typing import Literal, get_args

import torch

from ..errors import UserError
from ..models import SequenceModel
from ..models.proposal import Mixture
from ..models.stepper import Walk
from ..runtime.device import place_of

Proposal = Literal["prior", "mixture"]
MIXTURE = Mixture(one_in=4)


def check_proposal(proposal: str) -> None:
    """Raise UserError where there is no such proposal."""
    if proposal not in get_args(Proposal):
        raise UserError(f"proposal is {proposal!r}; it must be prior or mixture (of prior and posterior)")


def mixture_for(model: SequenceModel, proposal: Proposal) -> Mixture | None:
    """What latents are drawn from once x_t is known; None draws them from the prior alone.

    A RuntimeWarning says so where the mixture is asked for and the model has no posterior for one step.
    """
    if proposal == "prior" or not model.latent_size:
        return None
    reason = why_not(model)
    if reason is None:
        return MIXTURE
    warnings.warn(
        f"the particles of {model.name} are drawn from its prior alone, for its posterior can't be had for one step: "
        f"{reason}",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def proposal_of(model: SequenceModel, wanted: Proposal) -> Proposal | None:
    """The proposal that a filter takes where this one is wanted, see `mixture_for`; None without latents."""
    if not model.latent_size:
        return None
    return "prior" if mixture_for(model, wanted) is None else wanted


@torch.no_grad()
def why_not(model: SequenceModel) -> str | None:
    """Why the posterior can't be had for one step, by trying it; None if it can."""
    device, dtype = place_of(model)
    weight = next(model.parameters())
    blank = model.spec.blank(2, device=device, dtype=dtype or torch.float32)
    u = weight.new_zeros(2, model.spec.inputs) if model.spec.inputs else None
    noise, by_prior = weight.new_zeros(2, model.latent_size), torch.tensor([False, True], device=device)
    x = torch.zeros_like(blank)  # a category, 0 or 1, a number: all may be 0
    try:
        walk = Walk(model, model.initial_state(2, start=blank), proposal=MIXTURE)
        walk.begin(u)
        found = walk.weigh(x, noise, by_prior)
    except Exception as error:  # noqa: BLE001  # of a stranger's model, which may raise any
        said = str(error).strip().splitlines()
        return said[0] if said else type(error).__name__
    return None if found.shape[0] == 2 else f"its log-weights are {list(found.shape)}"
