"""What a model keeps of the data that it was trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import UserError
from .checks import is_size
from .formats import Format, TableFormat, format_from_json, format_of_version_1
from .normalization import Normalization
from .spec import ObservationSpec


@dataclass(frozen=True)
class DataDescription:
    """What a model keeps of the data that it was trained on; saved with its weights.

    Attributes:
        name: the data set's name.
        spec: kind and size of an observation.
        longest: scored steps of the longest training sequence, the default length of samples.
        normalization: mean and standard deviation of real observations, or None; of mixed ones 0 and 1 for all
            columns but the real ones.
        format: what the numbers stand for, and how files are read and written.
        input_normalization: mean and standard deviation of the known inputs, or None.

    Example:
        DataDescription("waves", ObservationSpec("real", 2), longest=100)
    """

    name: str
    spec: ObservationSpec
    longest: int
    normalization: Normalization | None = None
    format: Format = field(default_factory=TableFormat)
    input_normalization: Normalization | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "name": self.name,
            "spec": self.spec.to_json(),
            "longest": self.longest,
            "normalization": None if self.normalization is None else asdict(self.normalization),
            "format": self.format.to_json(),
            "input_normalization": None if self.input_normalization is None else asdict(self.input_normalization),
        }

    def brief(self) -> dict[str, Any]:
        """A short `to_json`, in which what is long of the format is counted."""
        return self.to_json() | {"format": self.format.brief()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> DataDescription:
        """The inverse of `to_json`, also for format version 1, which had a field for each kind of observation.

        Args:
            values: what `to_json` returned.

        Returns:
            The description.

        Raises:
            UserError: values are missing or don't fit each other.
        """
        try:
            name: object = values["name"]
            description = cls(
                name=values["name"],
                spec=ObservationSpec.from_json(values["spec"]),
                longest=values["longest"],
                normalization=_normalization(values["normalization"]),
                format=format_from_json(values["format"]) if "format" in values else format_of_version_1(values),
                input_normalization=_normalization(values.get("input_normalization")),
            )
        except KeyError as error:
            raise UserError(f"the data's description has no {error}") from None
        except TypeError as error:
            raise UserError(f"the data's description doesn't fit: {error}") from None
        problems = description.problems()
        if not isinstance(name, str):
            problems.insert(0, f"data.name is {name!r}; it must be text")
        if problems:
            raise UserError("; ".join(problems))
        return description

    def problems(self) -> list[str]:
        """Messages about parts that don't fit each other; empty if there are none."""
        problems, spec, scaling = [], self.spec, self.normalization
        if not is_size(self.longest):
            problems.append(f"data.longest is {self.longest!r}; it must be a whole number, 1 or more")
        if scaling is not None and (spec.kind not in ("real", "mixed") or len(scaling.mean) != spec.size):
            problems.append(
                f"data.normalization has {len(scaling.mean)} means for {spec.kind} observations of size {spec.size}; "
                "it must have one for each of their numbers if they are real or mixed, or be null"
            )
        known = self.input_normalization
        if known is not None and len(known.mean) != spec.inputs:
            problems.append(
                f"data.input_normalization has {len(known.mean)} means for {spec.inputs} inputs; it must have one for "
                "each, or be null"
            )
        return problems + self.format.problems(spec)


def _normalization(values: dict[str, Any] | None) -> Normalization | None:
    return None if values is None else Normalization(tuple(values["mean"]), tuple(values["std"]))
