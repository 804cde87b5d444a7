"""What the four sets of polyphonic music hold, to recognize swapped, mixed and changed splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...errors import UserError
from ...files.rolls import Roll
from ..splits import Split

Content = tuple[int, int, int]  # sequences, steps, notes that sound in them
# Boulanger-Lewandowski's sequences; the SRNN authors' in their windows and in their 16 streams, the step before each
# sequence included.
KNOWN: Mapping[Content, tuple[str, Split]] = {
    (229, 13807, 53824): ("JSB chorales", "train"),
    (76, 4602, 17811): ("JSB chorales", "valid"),
    (77, 4725, 18367): ("JSB chorales", "test"),
    (524, 245202, 856543): ("MuseData", "train"),
    (135, 82755, 287893): ("MuseData", "valid"),
    (124, 64339, 211857): ("MuseData", "test"),
    (694, 176561, 699403): ("Nottingham", "train"),
    (173, 45513, 180192): ("Nottingham", "valid"),
    (170, 44463, 177421): ("Nottingham", "test"),
    (87, 75911, 231089): ("Piano-midi.de", "train"),
    (12, 8540, 27623): ("Piano-midi.de", "valid"),
    (25, 19036, 56067): ("Piano-midi.de", "test"),
    (272, 27472, 107023): ("resampled JSB chorales", "train"),
    (80, 8080, 31221): ("resampled JSB chorales", "valid"),
    (2480, 250480, 945377): ("resampled MuseData", "train"),
    (784, 79184, 296936): ("resampled MuseData", "valid"),
    (1472, 148672, 589789): ("resampled Nottingham", "train"),
    (368, 37168, 147197): ("resampled Nottingham", "valid"),
    (704, 71104, 271354): ("resampled Piano-midi.de", "train"),
    (96, 9696, 35965): ("resampled Piano-midi.de", "valid"),
    (16, 27216, 106030): ("resampled JSB chorales", "train"),
    (16, 8016, 30967): ("resampled JSB chorales", "valid"),
    (77, 9473, 36824): ("resampled JSB chorales", "test"),
    (16, 248016, 936069): ("resampled MuseData", "train"),
    (16, 78416, 294001): ("resampled MuseData", "valid"),
    (124, 67515, 248141): ("resampled MuseData", "test"),
    (16, 147216, 584026): ("resampled Nottingham", "train"),
    (16, 36816, 145802): ("resampled Nottingham", "valid"),
    (170, 37232, 148914): ("resampled Nottingham", "test"),
    (16, 70416, 268643): ("resampled Piano-midi.de", "train"),
    (16, 9616, 35666): ("resampled Piano-midi.de", "valid"),
    (25, 17353, 66945): ("resampled Piano-midi.de", "test"),
}


def content_of(rolls: Sequence[Roll]) -> Content:
    """Of one split."""
    return len(rolls), sum(map(len, rolls)), sum(int(np.count_nonzero(roll)) for roll in rolls)


def compare_with_known(splits: Mapping[Split, Sequence[Roll]], source: str) -> dict[Split, str]:
    """What a reader of each split should know: that a known set was changed; nothing where none was recognized.

    Raises UserError about a known set's split under another split's name, or together with another set's.
    """
    contents = {split: content_of(rolls) for split, rolls in splits.items()}
    recognized = {split: KNOWN.get(content) for split, content in contents.items()}
    for split, known in recognized.items():
        if known is not None and known[1] != split:
            raise UserError(f"{source}: its {split} split is the {known[1]} split of the {known[0]}; rename it")
    sets = {known[0]: split for split, known in recognized.items() if known is not None}
    if len(sets) > 1:
        mixed = " and ".join(f"its {split} split is of the {name}" for name, split in sets.items())
        raise UserError(f"{source}: {mixed}; put the splits of one set together")
    changed = {
        split: _difference(contents[split], name, split)
        for name in sets
        for split in recognized
        if recognized[split] is None
    }
    return changed | {"test": "; ".join(changed.values())}  # by which numbers are judged


def _difference(content: Content, name: str, split: Split) -> str:
    expected = [known for known, which in KNOWN.items() if which == (name, split)]
    nearest = min(expected, key=lambda known: abs(known[0] - content[0]))  # in windows, or in streams
    actual, published = ("{} sequences of {} steps with {} notes".format(*numbers) for numbers in (content, nearest))
    return f"the {split} split isn't that of the {name}: {actual}, not {published}"
