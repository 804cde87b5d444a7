"""Read .parquet tables, as those of .csv."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .cells import names_nothing
from .labels import cells_of_arrow, encoded
from .reading import Array, readable
from .rows import Layout, Rows
from .size_limit import refuse_larger
from .tables import features, refuse_twins, rows_of_table
from .times import of_arrow

TEXT = ("string", "large_string")


def parquet_columns(file: Path, source: str) -> list[str]:
    """Read the names of all columns from the header."""
    with _open_parquet(file, source) as parquet:
        names: list[str] = parquet.schema_arrow.names
        return names


def parquet_features(file: Path, layout: Layout, source: str) -> tuple[str, ...]:
    """Read the names of the features from the header."""
    with _open_parquet(file, source) as parquet:
        return features(parquet.schema_arrow.names, layout, source)


def read_parquet(file: Path, layout: Layout, source: str) -> Rows:
    """Read the sequences of a Parquet file; nulls become NaN. See `read` in sequences.py."""
    with _open_parquet(file, source, encoded=_columns_of_text(file, source)) as parquet:
        header = parquet.schema_arrow.names
        refuse_twins(header, source)
        columns = features(header, layout, source)
        read = (*columns, *layout.input_columns)
        needed = [*read, *filter(None, [layout.sequence, layout.order])]
        _refuse_larger(parquet, needed, file, source)
        with readable(source):
            table = parquet.read(columns=needed)
            table.validate(full=True)  # text in UTF-8, numbers of what there is
    text = {name: encoded(cells_of_arrow(table[name])) for name in read if _holds_text(table[name], name, layout)}
    values = [text[name].codes if name in text else _numbers(table[name], name, source) for name in read]
    sequences, names = None, np.empty(0)
    if layout.sequence is not None:
        sequences, names = _encoded(table[layout.sequence], layout.sequence, source)
    return rows_of_table(
        source,
        _joined(values),
        columns,
        layout=layout,
        sequences=sequences,
        names=names,
        times=None if layout.order is None else of_arrow(table[layout.order], layout.order, source),
        text=text,
    )


def _joined(columns: Sequence[Array]) -> Array:
    """[R, D]. Some NaNs of damaged files make NumPy warn; all are NaN."""
    with np.errstate(invalid="ignore"):
        return np.column_stack(columns)


def _open_parquet(file: Path, source: str, *, encoded: Sequence[str] = ()) -> Any:
    """encoded: columns that stay numbers of what is in them, as in the file: text that is repeated is there once."""
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UserError(f"{source}: reading Parquet needs pyarrow; pip install zforcing[parquet]") from error
    with readable(source):
        return ParquetFile(file, read_dictionary=encoded)


def _columns_of_text(file: Path, source: str) -> list[str]:
    with _open_parquet(file, source) as parquet:
        return [field.name for field in parquet.schema_arrow if str(field.type) in TEXT]


def _refuse_larger(parquet: Any, names: Sequence[str], file: Path, source: str) -> None:
    """Raise UserError where what the header says of these columns is too much, see size_limit.py."""
    with readable(source):
        content = parquet.metadata
        groups = [content.row_group(number) for number in range(content.num_row_groups)]
        # not of these columns alone: pyarrow ends Python by a signal where it can't read what is said of a column
        packed = sum(max(0, group.total_byte_size) for group in groups)
        rows = sum(max(0, group.num_rows) for group in groups)
    refuse_larger(max(packed, 8 * rows * len(names)), file, source)  # a repeated number takes a bit each


def _holds_text(column: Any, name: str, layout: Layout) -> bool:
    """Whether a column is read as text: where the layout lets it hold some, or says that it does."""
    is_text = str(column.type).startswith((*TEXT, "dictionary<values=string"))
    return name in layout.labelled or (is_text and layout.text and name not in layout.input_columns)


def _numbers(column: Any, name: str, source: str) -> Array:
    """A column [R] as numbers: float32 unchanged, all others as float64."""
    kind = str(column.type)
    if not kind.startswith(("bool", "int", "uint", "halffloat", "float", "double", "decimal")):
        held = column.type.value_type if kind.startswith("dictionary") else kind
        raise UserError(
            f"{source}: column {name!r} holds {held}, not numbers; leave it out of data.columns and data.inputs"
        )
    # Integers have no NaN for nulls.
    numbers: Array = (column if kind == "float" else column.cast("float64", safe=False)).to_numpy()
    return numbers


def _encoded(column: Any, name: str, source: str) -> tuple[NDArray[np.int64], Array]:
    """Encode names [R] as numbers [R], with the name of each number."""
    _refuse_absent(column.is_null(nan_is_null=True).to_numpy(), name, source)
    if column.type.num_fields:
        raise UserError(f"{source}: column {name!r} holds {column.type}; name sequences by numbers or strings")
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()  # also of one that is encoded
    numbers, names = encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_numpy(zero_copy_only=False)
    nothing = [number for number, text in enumerate(names) if isinstance(text, str) and names_nothing(text)]
    _refuse_absent(np.isin(numbers, nothing), name, source)
    return numbers, names


def _refuse_absent(absent: NDArray[np.bool_], name: str, source: str) -> None:
    """Raise UserError about the rows [R] without the name of a sequence."""
    if absent.any():
        raise UserError(
            f"{source}: column {name!r} names no sequence in {absent.sum()} rows, row {absent.argmax()} the first "
            f"(counted from 0); every row must name its sequence"
        )


def read_whole(file: Path) -> Any:
    """All columns of a file that was read before, as an Arrow table."""
    with _open_parquet(file, str(file)) as parquet:
        return parquet.read()


def write_whole(file: Path, table: Any, columns: dict[str, list[Any]]) -> None:
    """Write a table with these columns in place of its own of these names, of their types where the values fit."""
    import pyarrow as pa
    from pyarrow import parquet

    for name, cells in columns.items():
        place, own = table.column_names.index(name), table.schema.field(name)
        try:
            column = pa.array([_like(cell, own.type) for cell in cells], type=own.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):  # fractions in whole numbers, say
            text = any(isinstance(cell, str) for cell in cells)
            column = pa.array(cells if text else [None if c is None else float(c) for c in cells])
        table = table.set_column(place, name, column)
    parquet.write_table(table, file)


def _like(cell: Any, kind: Any) -> Any:
    """A cell, a float being as a column of an Arrow type holds it: of decimals rounded to their digits."""
    from pyarrow import types

    if isinstance(cell, float) and types.is_decimal(kind):
        return round(Decimal(cell), kind.scale)
    if isinstance(cell, float) and types.is_boolean(kind) and cell in (0, 1):
        return bool(cell)
    return cell
