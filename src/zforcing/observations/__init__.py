"""What is observed: its specification, batches of it, and what a model keeps of the data it was trained on."""

from .audio import LEVELS, decode, encode, mulaw_decode, mulaw_encode, read_recording, shorter_than, to_samples
from .description import AudioFormat, DataDescription, MusicFormat, Normalization
from .example import Example, collate
from .sentences import prepare, split_sentences, split_words
from .sequences import SequenceBatch, between, is_missing, masked_sum, reverse, reverse_time_first
from .spec import ObservationSpec, missing_mark
from .vocabulary import END, Tokens, Vocabulary, build_vocabulary

__all__ = [
    "END",
    "LEVELS",
    "AudioFormat",
    "DataDescription",
    "Example",
    "MusicFormat",
    "Normalization",
    "ObservationSpec",
    "SequenceBatch",
    "Tokens",
    "Vocabulary",
    "between",
    "build_vocabulary",
    "collate",
    "decode",
    "encode",
    "is_missing",
    "masked_sum",
    "missing_mark",
    "mulaw_decode",
    "mulaw_encode",
    "prepare",
    "read_recording",
    "reverse",
    "reverse_time_first",
    "shorter_than",
    "split_sentences",
    "split_words",
    "to_samples",
]
