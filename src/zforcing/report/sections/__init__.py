"""The sections of a page, in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..blocks import Section
from ..subject import Subject
from .citing import citing
from .extremes import extremes
from .forecasts import forecasts
from .latents import latents
from .learning import learning
from .likelihood import likelihood
from .rebuilt import between, rebuilt
from .samples import samples
from .settings import settings

SECTIONS: tuple[Callable[[Sequence[Subject]], Section], ...] = (
    learning,
    likelihood,
    latents,
    samples,
    rebuilt,
    between,
    forecasts,
    extremes,
    settings,
    citing,
)
