"""What every model is: a density p(x) = ∫ p(x | z) p(z) dz with an approximate posterior q(z | x), and draws from it.

Nothing here is about time. The ELBO, the importance-weighted bounds, `evaluate` and `fit` need no more than this;
`SequenceModel` adds the steps, the state and the particle filter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, NoReturn, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import row_noise
from ..errors import UserError
from ..observations import DataDescription, Example, ObservationSpec, SequenceBatch
from ..settings import plain

C = TypeVar("C")
Term = Callable[[], Tensor]


class HasDescription(Protocol):
    """What `for_data` asks of data."""

    @property
    def description(self) -> DataDescription:
        """What a model keeps of the data."""


@runtime_checkable
class Examples(Protocol):
    """Training sequences, one by one."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, index: int) -> Example:
        """The sequence with this number."""


class Draws:
    """Latents z ~ q(z | x) of a batch, K for each of B rows, and the terms of bounds on log p(x), in nats.

    N is K B: row i + j B is copy j of row i. A term is computed at its first access, with the parameters and in the
    autocast and gradient modes of that moment, so that a bound pays for what it uses; sums are in float64.

    Args:
        latents: z [N, ...].
        log_px: Returns log p(x | z) [N].
        log_pz: Returns log p(z) [N].
        log_qz: Returns log q(z | x) [N].
        kl_parts: Returns KL(q(z | x) || p(z)), in closed form (then >= 0) or of the draws, by groups of latents that
            add up, [N, G]: a time step each in a model of sequences, all latents together ([N, 1]) in a plain one. Free
            bits act on a group.
        parts_exist: [N, G] bool, False for groups that a row doesn't have (padding); None: all do.
        costs: Functions that return extra terms [N] which training maximizes, by the names in the model's `cost_names`.
        state: Returns the state after the last step, of a model that has one.
    """

    def __init__(
        self,
        latents: Tensor,
        *,
        log_px: Term,
        log_pz: Term,
        log_qz: Term,
        kl_parts: Term,
        parts_exist: Tensor | None = None,
        costs: Mapping[str, Term] | None = None,
        state: Callable[[], Any] | None = None,
    ):
        self.latents, self.parts_exist = latents, parts_exist
        self._log_px, self._log_pz, self._log_qz, self._kl_parts = log_px, log_pz, log_qz, kl_parts
        self._costs, self._state = dict(costs or {}), state

    @cached_property
    def log_px(self) -> Tensor:
        """log p(x | z) [N]."""
        return self._log_px().double()

    @cached_property
    def log_pz(self) -> Tensor:
        """log p(z) [N]."""
        return self._log_pz().double()

    @cached_property
    def log_ratio(self) -> Tensor:
        """log p(z) - log q(z | x) [N]: minus the KL in expectation, of either sign in a draw."""
        return self.log_pz - self._log_qz().double()

    @cached_property
    def kl_parts(self) -> Tensor:
        """KL(q(z | x) || p(z)) by groups of latents, [N, G]; given the sampled past, in a model of sequences."""
        return self._kl_parts()

    @cached_property
    def kl(self) -> Tensor:
        """KL(q(z | x) || p(z)), the sum of its parts, [N]."""
        return self._total(self.kl_parts)

    def kl_above(self, free_nats: float) -> Tensor:
        """The KL where each part costs at least `free_nats` nats, [N]."""
        return self._total(self.kl_parts.clamp(min=free_nats))

    def cost(self, name: str) -> Tensor:
        """An extra term [N] of the model. Raises UserError where it has none of this name."""
        if name not in self._costs:
            raise UserError(f"the model has no cost {name}; it has {', '.join(self._costs) or 'none'}")
        return self._costs[name]().double()

    @cached_property
    def state(self) -> Any:
        """The model's state after each row's last step, N rows; None without one."""
        return None if self._state is None else self._state()

    def _total(self, parts: Tensor) -> Tensor:
        exist = self.parts_exist
        parts = parts if exist is None else torch.where(exist, parts, torch.zeros_like(parts))
        return parts.sum(dim=1, dtype=torch.float64)


@dataclass(frozen=True)
class Generated:
    """Observations that a model generated.

    Attributes:
        x: Observations, [n, T, D], or [n, T] int64 for categories, as the model reads them.
        latents: z, [n, T, Z].
        emission: p(x_t | z_<=t, x_<t) at every step, batch shape [n, T].
    """

    x: Tensor
    latents: Tensor
    emission: Distribution


class DensityModel(nn.Module, ABC):
    """Base class of models of a density p(x), with or without latents z.

    A subclass defines `name`, `Config` and `draw`, and is constructed as `Model(spec, config)`. To a
    model without time, data are sequences of one step: x is [B, 1, D].

    Attributes:
        name: The name in recipes, saved files and reports.
        Config: A frozen dataclass with the model's settings.
        cost_names: The extra terms that `Draws.cost` gives, which training may weight by these names.
        capturable: Whether a CUDA graph can hold the model (it never waits for a value from the GPU).
        paper: What to cite, as in `A. Author, B. Author, "Title", NIPS 2017, arXiv 1711.05411`, several apart by "; ";
            "" where there is nothing. `zforcing.sharing.bibtex` reads it.
        spec: What one observation is.
        config: The settings.
        description: What the model was trained on, with which the user's units become what it reads, and back; None
            where nobody said.
        starts: First observations of training sequences, [n, D] or [n], with which samples of a model that conditions
            on them begin; None where it has kept none.
    """

    name: ClassVar[str]
    Config: ClassVar[type[Any]]
    cost_names: ClassVar[tuple[str, ...]] = ()
    capturable: bool = True
    paper: ClassVar[str] = ""

    def __init__(self, spec: ObservationSpec, config: Any):
        super().__init__()
        self.spec = spec
        self.config = config
        self.description: DataDescription | None = None
        self.starts: Tensor | None = None

    @classmethod
    def for_data(cls, data: HasDescription, **settings: Any) -> Self:
        """A new model of some data, which keeps the data's description. Its parameters come from torch's generator.

        Args:
            data: has a `description`, such as training sequences.
            **settings: those of the model's `Config` that differ from the defaults.

        Raises:
            UserError: the data has no description, or a setting is unknown or out of range.

        Example:
            model = ZForcing.for_data(train, hidden_size=64)
        """
        description = getattr(data, "description", None)
        if not isinstance(description, DataDescription):
            raise UserError(
                f"data is a {type(data).__name__}, which doesn't say what an observation is; it must be Sequences, or "
                f"another data set with a description ({cls.__name__}(spec, config) needs none)"
            )
        model = cls(description.spec, cls.make_config(None, settings))
        model.description = description
        if isinstance(data, Examples):
            model.begin_with(data)
        return model

    @classmethod
    def make_config(cls, config: C | None, settings: Mapping[str, Any]) -> C:
        """The settings that a model was given: a `Config`, or some of its fields by name. Raises UserError for both, or
        for a field that there isn't.
        """
        if config is not None:
            if settings:
                raise UserError(f"model {cls.name} is given config and {', '.join(settings)}: put them into the config")
            return config
        known = {field.name for field in fields(cls.Config)}
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise UserError(f"model {cls.name} has no setting {', '.join(unknown)}; it has {', '.join(sorted(known))}")
        made: C = cls.Config(**{name: plain(value) for name, value in settings.items()})
        return made

    @classmethod
    def check_costs(cls, names: Iterable[str]) -> None:
        """Raise UserError where the model has no extra term of one of these names."""
        unknown = [name for name in names if name not in cls.cost_names]
        if unknown:
            known = ", ".join(cls.cost_names) or "none"
            raise UserError(f"weights.{unknown[0]}: model {cls.name} has no cost {unknown[0]}; it has {known}")

    @classmethod
    def check_bound(cls, name: str) -> None:
        """Raise UserError where the model can't have one of the package's bounds, by its name; by default nowhere."""

    @property
    def label(self) -> str:
        """The name in reports: `name`, and in parentheses how this model differs from the paper's."""
        return self.name

    @property
    def latent_size(self) -> int:
        """Z, the size of z (of a step), by default the setting of this name; 0 without latents: `Exact` measures it."""
        size: int = self.config.latent_size
        return size

    @property
    def infers_latents(self) -> bool:
        """Whether its latents have a posterior, so that their KL says what they carry; by default where it has any."""
        return bool(self.latent_size)

    @property
    def is_exact(self) -> bool:
        """Whether `log_likelihood` gives log p(x): without latents, or where they can be integrated out."""
        return not self.latent_size

    @abstractmethod
    def draw(
        self, batch: SequenceBatch, *, particles: int = 1, noise: Tensor | None = None, latents: Tensor | None = None
    ) -> Draws:
        """Draw latents from the posterior, and give the terms of bounds on log p(x).

        Args:
            batch: B rows.
            particles: K, the draws for each row; copy after copy of the batch, N = K B rows.
            noise: What `draw_noise` returned, N rows; None draws it.
            latents: z itself, N rows, instead of noise. Gradients reach it.

        Returns:
            The draws. A model without latents gives the exact log p(x) as `log_px`, and a KL of 0.
        """

    def begin_with(self, data: Examples) -> None:
        """Set what training data says of the parameters before their first update, such as biases; by default nothing.

        Args:
            data: Training sequences, as the model reads them.
        """

    def draw_noise(self, batch: SequenceBatch, *, particles: int = 1) -> Tensor:
        """Draw the standard normal noise of `draw` from torch's global generator, or each row's by its seed where the
        batch has `seeds`; in eval mode `draw` needs no other.

        Args:
            batch: B rows of T steps.
            particles: K, the copies of each row.

        Returns:
            Tensor [K B, T, Z], with the dtype and on the device of the parameters.
        """
        self.check_batch(batch)
        reference = next(self.parameters())
        steps, rows = (batch.x.shape[1], self.latent_size), particles * len(batch)
        if batch.seeds is not None:
            return row_noise.normal(row_noise.copies(batch.seeds, particles), steps, dtype=reference.dtype)
        return torch.randn((rows, *steps), device=reference.device, dtype=reference.dtype)

    def forward(self, batch: SequenceBatch) -> Tensor:
        """Compute log p(x) of each row, or its lower bound log p(x | z) - KL(q || p) with one sample z.

        Args:
            batch: B rows.

        Returns:
            Tensor [B], in nats, float64, with gradient: `log_likelihood` if it is exact, else the ELBO.
        """
        if self.is_exact:
            return self.log_likelihood(batch).double()
        draws = self.draw(batch)
        return draws.log_px - draws.kl

    def log_likelihood(self, batch: SequenceBatch) -> Tensor:
        """Compute the exact log p(x) of each row.

        Args:
            batch: B rows.

        Returns:
            Tensor [B], in nats. A mixture (MADE with several masks) gives it in eval mode; in train mode it is that of
            one member, drawn at random.

        Raises:
            UserError: The model has latents, and no exact likelihood.
        """
        if not self.is_exact:
            refuse_exact(self.name)
        return self.draw(batch).log_px

    def sample(self, num_samples: int) -> Generated:
        """Draw observations from a p(x) without time, by torch's global generator. `zforcing.sample` seeds it, and
        draws from models of sequences too.

        Args:
            num_samples: n.

        Returns:
            n observations of one step.

        Raises:
            UserError: The model doesn't define it.
        """
        raise UserError(f"model {self.name} doesn't define `sample`; zforcing.sample draws from models of sequences")

    def complete(self, batch: SequenceBatch) -> Generated:
        """Draw what is missing of observations without time from p(missing | observed), by torch's global generator.
        `zforcing.impute` seeds it, and fills gaps of sequences too.

        Args:
            batch: B rows of one step.

        Returns:
            B whole observations.

        Raises:
            UserError: The model can't, or not these gaps.
        """
        raise UserError(f"model {self.name} has no time steps, and doesn't say how to draw a part of an observation")

    def check_batch(self, batch: SequenceBatch) -> None:
        """Check that a batch fits the model's spec. Only shapes and types are checked, not values.

        Raises:
            ValueError: The batch has observations of another kind or size, or other inputs.
        """
        x, spec = batch.x, self.spec
        size = None if x.dim() == 2 else x.shape[2]
        if spec.kind == "categorical":
            fits, expected = size is None and not x.is_floating_point(), "[B, T] int64"
        else:
            fits, expected = size == spec.size and x.is_floating_point(), f"[B, T, {spec.size}] float"
        if not fits:
            raise ValueError(f"x is {x.dtype} {list(x.shape)}; a model of {spec.kind} observations reads {expected}")
        inputs = 0 if batch.inputs is None else batch.inputs.shape[2]
        if inputs != spec.inputs:
            raise ValueError(f"the batch has {inputs} inputs at a step; the model reads {spec.inputs}")


def refuse_exact(name: str) -> NoReturn:
    """Raise UserError: the likelihood of a model of this name isn't known exactly."""
    raise UserError(f"model {name} has no exact likelihood: take the bound that trains it (of most, elbo)")
