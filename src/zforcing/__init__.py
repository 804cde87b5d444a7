"""zforcing: stochastic recurrent networks, trained, measured and used.

import zforcing as zf
history = zf.fit(model, train, valid)                # data in memory; the best weights are in the model afterwards
zf.evaluate(model, test, bound=zf.IWAE(64))          # nats per sequence
model = zf.load("runs/digits-zforcing-aux")          # a trained model, in eval mode
images = zf.sample(model, 16, steps=64, seed=0).x    # [16, 64, 1]

All names are those of `zforcing.api`, which is imported, and torch with it, when the first one is used: the help of the
command line needs neither.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as type checkers know it; to import typing takes a moment, in which Ctrl-C is a traceback
if TYPE_CHECKING:
    from typing import Any

    from .api import *  # noqa: F403  # what type checkers see: each name stands there once


def __getattr__(name: str) -> Any:
    """A public name, or a package of ours that the public names have imported."""
    if name.startswith("__") and name not in ("__all__", "__version__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    api = import_module(".api", __name__)
    if hasattr(api, name):
        return getattr(api, name)
    if name in globals():  # bounds, models and the like, which importing the public names has imported
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    names: list[str] = import_module(".api", __name__).__all__
    return names
