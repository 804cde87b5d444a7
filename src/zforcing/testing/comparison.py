"""What the checks share: their environment, the results and gradients of a run, and comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from ..models.density import DensityModel
from ..models.sequence import SequenceModel
from ..models.unroll import Unroll
from ..observations import SequenceBatch
from ..runtime.threads import cpu_threads

Check = Callable[[SequenceModel, SequenceBatch], None]


def model_check(check: Check) -> Check:
    """Decorate a check of a model: it runs within `checking`, under its own name."""

    @wraps(check)
    def run(model: SequenceModel, batch: SequenceBatch) -> None:
        with checking(check.__name__, model):
            check(model, batch)

    return run


@contextmanager
def checking(name: str, model: DensityModel) -> Iterator[None]:
    """Run a check in eval mode, with few threads and a fixed seed, and restore all of it afterwards.

    Args:
        name: Begins the messages of failures.
        model: The model, in float64.

    Raises:
        AssertionError: Anything raised within.
        ValueError: The model isn't in float64.
    """
    dtypes = {p.dtype for p in model.parameters()}
    if dtypes != {torch.float64}:
        raise ValueError(f"the parameters are {dtypes or 'none'}; the checks compare in float64: call model.double()")
    was_training = model.training
    try:
        with torch.random.fork_rng(devices=[]), cpu_threads(model):
            seed(0)
            model.eval()
            yield
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from None
    except Exception as error:
        raise AssertionError(f"{name}: raised {type(error).__name__}: {error}") from error
    finally:
        model.train(was_training)


def seed(number: int) -> None:
    """Seed torch's global generator on the CPU, where checks run, and no other device's."""
    torch.default_generator.manual_seed(number)


def noise_for(model: SequenceModel, batch: SequenceBatch, *, particles: int = 1) -> Tensor:
    """Standard normal noise [K B, T, Z], the same at every call."""
    generator = torch.Generator().manual_seed(2)
    size = (particles * len(batch), batch.x.shape[1], model.latent_size)
    return torch.randn(size, generator=generator, dtype=torch.float64)


def loop_of(model: SequenceModel) -> Callable[..., Unroll]:
    """The reference loop, `SequenceModel.walk`, whatever `unroll` does."""
    return lambda batch, **given: SequenceModel.walk(model, batch, **given)


def terms(run: Unroll) -> dict[str, Tensor]:
    """log p(x_t | .), the KL and the model's extra terms of all steps, [N, T] each, by name."""
    return {"log_px": run.log_px, "kl": run.kl} | {name: run.cost(name) for name in run.cost_names}


def run_results(run: Unroll, batch: SequenceBatch) -> dict[str, Tensor]:
    """The results of a run outside of the padding, by name: terms (0 in the padding), densities, the last state."""
    exists = batch.mask
    numbers = terms(run)
    numbers["latents"] = run.latents[exists]
    for name, density in (("prior", run.prior), ("posterior", run.posterior)):
        numbers[f"the {name}'s mean"] = density.mean[exists]
        numbers[f"the {name}'s standard deviation"] = density.stddev[exists]
        numbers[f"the {name}'s log-density of the latents"] = density.log_prob(run.latents)[exists]
    numbers["the emission's log-density of x"] = run.emission.log_prob(batch.x)[exists]
    return numbers | {f"state.{name}": value for name, value in run.state._asdict().items()}


def gradients(
    model: SequenceModel, outputs: Iterable[Tensor], *, others: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Compute gradients of a fixed random combination of outputs.

    Args:
        model: Its parameters are differentiated.
        outputs: Tensors; those without a gradient are skipped.
        others: More tensors to differentiate, by name.

    Returns:
        The gradient of each parameter and other tensor by name; zeros where the outputs don't depend on it.

    Raises:
        AssertionError: No output has a gradient.
    """
    total = torch.zeros((), dtype=torch.float64)
    for number, output in enumerate(outputs):
        if output.requires_grad:
            generator = torch.Generator().manual_seed(number)
            weights = torch.randn(output.shape, generator=generator, dtype=torch.float64)
            total = total + (weights * output).sum()
    require(total.requires_grad, "no result of a run has a gradient: is it detached, or under no_grad?")
    learned: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.requires_grad}
    learned |= others or {}
    computed: tuple[Tensor | None, ...] = torch.autograd.grad(total, list(learned.values()), allow_unused=True)
    pairs = zip(learned.items(), computed, strict=True)
    return {name: torch.zeros_like(p) if gradient is None else gradient for (name, p), gradient in pairs}


def run_gradients(model: SequenceModel, run: Unroll) -> dict[str, Tensor]:
    """The gradient of each parameter by name, for a fixed random combination of the run's terms and its last state."""
    return gradients(model, [*terms(run).values(), *run.state])


def require(condition: bool, message: str) -> None:
    """Like `assert`, also under `python -O`."""
    if not condition:
        raise AssertionError(message)


def assert_same(actual: Tensor, expected: Tensor, what: str, *, tolerance: float = 1e-10) -> None:
    """Require two tensors to be equal up to rounding; `what` says what a difference means."""
    limits: dict[str, Any] = {"rtol": tolerance, "atol": tolerance, "equal_nan": True}
    alike = (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    if not (alike and torch.allclose(actual, expected, **limits)):  # ten times as fast as assert_close
        torch.testing.assert_close(actual, expected, **limits, msg=lambda detail: f"{what}\n{detail}")


def assert_same_numbers(
    actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str, *, tolerance: float = 1e-10
) -> None:
    """Require tensors to be equal, by name (`assert_same`)."""
    for name, value in expected.items():
        assert_same(actual[name], value, f"{name} {what}", tolerance=tolerance)
