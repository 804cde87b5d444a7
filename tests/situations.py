"""What is asked of a run beside its batch, and the comparison of the fast backend with the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from conftest import SPECS, Case
from zforcing import SequenceBatch, SequenceModel
from zforcing.models import map_state
from zforcing.observations import is_missing
from zforcing.testing import random_batch
from zforcing.testing.comparison import gradients, noise_for, run_results
from zforcing.testing.particles import Ancestors
from zforcing.training.word_dropout import FedBatch

Backend = Literal["reference", "fast"]
LENGTHS = (7, 4, 1, 6)


@dataclass(frozen=True)
class Situation:
    """What `unroll` is given beside the batch.

    Attributes:
        fed: Whether the state reads other observations than those that are scored (word dropout).
        train: Whether the model is in training, with dropout that is a function of values (`dropout_of_values`).
    """

    spec: str = "real"
    lengths: tuple[int, ...] = LENGTHS
    particles: int = 1
    ancestors: bool = False
    carried: bool = False
    latents: bool = False
    fed: bool = False
    train: bool = False
    dtype: torch.dtype = torch.float64

    def __str__(self) -> str:
        asked = [name for name in ("ancestors", "carried", "latents", "fed", "train") if getattr(self, name)]
        return ", ".join([self.spec, str(self.dtype).removeprefix("torch."), f"{self.particles} particles", *asked])

    def build(self, case: Case) -> SequenceModel:
        settings = {"dropout": DROPOUT} if self.train else {}
        return case.build(SPECS[self.spec], **settings).to(self.dtype).train(self.train)

    def batch(self) -> SequenceBatch:
        spec = SPECS[self.spec]
        batch = random_batch(spec, self.lengths, missing=spec.missing)
        if self.fed:
            other = random_batch(spec, self.lengths, seed=5).x
            batch = FedBatch.of(batch, torch.where(is_missing(batch.read), batch.read, other))
        return batch if self.dtype == torch.float64 else single(batch)


DROPOUT = 0.37  # which no other test uses: what is derived from it holds this dropout


def dropout_of_values(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout that is the same wherever the same numbers are computed, however steps are batched."""
    if not training:
        return x
    kept = (1e4 * x.detach()).frac().abs() > p
    return x * kept.to(x.dtype) / (1 - p)


def results(model: SequenceModel, batch: SequenceBatch, situation: Situation) -> dict[str, Tensor]:
    """All that a run says, all that `resample` is shown, and the gradients of a random combination of what is said: by
    each parameter, by each number of the state that the run started from, by the given latents.
    """
    K, dtype = situation.particles, next(model.parameters()).dtype
    given: dict[str, Any] = {"particles": K}
    leaves: dict[str, Tensor] = {}
    if situation.carried:
        leaves |= {f"state.{name}": v for name, v in carried(model, batch).items() if v.is_floating_point()}
        given["state"] = copies_of(model, batch, leaves, K)
    noise = noise_for(model, batch, particles=K).to(dtype)
    if situation.latents:
        leaves["latents"] = noise.requires_grad_()
    given["latents" if situation.latents else "noise"] = noise
    choose = Ancestors(batch, K)
    if situation.ancestors:
        given["resample"] = choose
    run = model.unroll(batch, **given)
    numbers = run_results(run, batch.repeat(K))
    outputs = [*numbers.values(), run.state.h if hasattr(run.state, "h") else run.state.z]
    slopes = gradients(model, outputs, others={name: v for name, v in leaves.items() if v.numel()})
    if situation.ancestors:
        choose.require_asked()
        numbers |= choose.shown
    return {name: v.detach() for name, v in numbers.items()} | {f"gradient by {n}": v for n, v in slopes.items()}


def carried(model: SequenceModel, batch: SequenceBatch) -> dict[str, Tensor]:
    """The state after a batch that came before, [B, ...], as leaves: of its own data, and nowhere zero."""
    past = replace(batch, x=batch.x.flip(0), lengths=torch.full_like(batch.lengths, batch.x.shape[1]), observed=None)
    noise = noise_for(model, past).flip(0).to(next(model.parameters()).dtype)
    with torch.no_grad():
        state = model.walk(past, noise=noise).state
    return {n: v.requires_grad_() if v.is_floating_point() else v for n, v in state._asdict().items()}


def copies_of(model: SequenceModel, batch: SequenceBatch, leaves: Mapping[str, Tensor], k: int) -> Any:
    """The state of k particles. What latents enter differs between them; what was observed doesn't."""
    state = map_state(lambda v: v.repeat(k, *[1] * (v.dim() - 1)), model.initial_state(len(batch), start=batch.start))
    torch.manual_seed(3)
    for name, leaf in leaves.items():
        name = name.removeprefix("state.")
        value = leaf.repeat(k, *[1] * (leaf.dim() - 1))
        if name in ("h", "c", "z", "z_features", "previous_h"):
            value = value + 0.1 * torch.randn(value.shape, dtype=torch.float64).to(value.dtype)
        state = state._replace(**{name: value})
    return state


def by(backend: Backend, model: SequenceModel) -> SequenceModel:
    model.backend = backend
    return model


def assert_equal(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float) -> None:
    """Each tensor to `tolerance` times its own scale: the largest of its expected numbers, or 1 if they are smaller."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert (found[name].shape, found[name].dtype) == (value.shape, value.dtype), name
        finite = value[value.isfinite()]
        scale = max(1.0, finite.abs().max().item()) if finite.numel() else 1.0
        torch.testing.assert_close(
            found[name], value, rtol=0, atol=tolerance * scale, equal_nan=True, msg=lambda m, n=name: f"{n}: {m}"
        )


def assert_backends_agree(model: SequenceModel, batch: SequenceBatch, situation: Situation) -> None:
    """In float64 each number to 1e-10. In float32 each value to 1e-6 of its tensor's scale, and all gradients, as one
    vector, to 1e-6 of its length: sums that cancel are the reference's own error, in whichever order they are taken.
    """
    fast, reference = (results(by(backend, model), batch, situation) for backend in ("fast", "reference"))
    if situation.dtype == torch.float64:
        assert_equal(fast, reference, 1e-10)
        return
    slopes = [name for name in reference if name.startswith("gradient by")]
    values = [{n: v for n, v in of.items() if n not in slopes} for of in (fast, reference)]
    assert_equal(values[0], values[1], 1e-6)
    found, expected = (torch.cat([of[n].flatten().double() for n in slopes]) for of in (fast, reference))
    # layer norm divides by the spread of W_h h_0 = 0, so by sqrt(1e-5), and makes 300 times as much of each rounding
    tolerance = 1e-5 if getattr(model.config, "cell", None) == "layer_norm" else 1e-6
    assert (found - expected).norm() < tolerance * expected.norm()


def single(batch: SequenceBatch) -> SequenceBatch:
    """The batch in float32; categories as they are."""
    tensors = {n: v.float() if v is not None and v.is_floating_point() else v for n, v in batch.tensors.items()}
    return type(batch)(**tensors)
