"""The commands by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class Command:
    """A command, imported when it runs: `zforcing --help` needs no torch.

    about: its docstring's first line; less: what to ask for where the memory isn't enough.
    """

    module: str
    function: str
    about: str
    less: str = "ask for less at a time"

    def load(self) -> Callable[[Sequence[str]], int]:
        """The function that takes the words behind the command's name and gives the exit code."""
        function: Callable[[Sequence[str]], int] = getattr(import_module(f".{self.module}", __package__), self.function)
        return function


COMMANDS = {
    "train": Command(
        "train",
        "train",
        "Train a model: zforcing train RECIPE_OR_FILE [--dotted.setting value ...] [--run-dir DIR] [--resume].",
        "take a smaller --training.batch_size; of long sequences --training.truncated_bptt_steps 500",
    ),
    "evaluate": Command(
        "evaluate",
        "evaluate",
        "Measure a trained model on a split of its data, or on your own: zforcing evaluate RUN [FILE_OR_FOLDER].",
        "take a smaller --batch-size; of long sequences --chunk-steps 500 --look-ahead 500, or fewer --particles",
    ),
    "compare": Command(
        "compare",
        "compare",
        "Say which of two runs explains the same data better, and how sure that is: zforcing compare RUN RUN.",
        "take a smaller --batch-size, or fewer --particles",
    ),
    "score": Command(
        "score",
        "score",
        "Score every step of a file or of a split, in nats: zforcing score RUN [FILE_OR_FOLDER] [--out FILE].",
        "take a smaller --batch-size or fewer --particles",
    ),
    "stream": Command(
        "stream", "stream", "Score rows as they come, a JSON line for each: tail -f data.csv | zforcing stream RUN."
    ),
    "encode": Command(
        "encode",
        "encode",
        "Infer the latents of a file or of a split: zforcing encode RUN [FILE] [--num 0] [--out z.npz].",
        "take a smaller --batch-size, fewer --num, or shorter sequences",
    ),
    "reconstruct": Command(
        "reconstruct",
        "reconstruct",
        "Rebuild sequences from their latents: zforcing reconstruct RUN [FILE] [--mode mean] [--past own].",
        "take a smaller --batch-size, or shorter sequences",
    ),
    "forecast": Command(
        "forecast",
        "forecast",
        "Draw what comes after the end of each sequence: zforcing forecast RUN [FILE_OR_FOLDER] [--steps 24].",
        "take a smaller --batch-size, fewer --particles or a smaller --num",
    ),
    "impute": Command(
        "impute",
        "impute",
        "Fill the gaps of a file or of a split: zforcing impute RUN [FILE] [--out filled.csv].",
        "take a smaller --batch-size or fewer --particles",
    ),
    "sample": Command(
        "sample",
        "sample",
        "Draw sequences from a trained model: zforcing sample RUN [--num 64] [--steps N].",
        "take a smaller --num, or fewer --steps",
    ),
    "continue": Command(
        "sample",
        "continue_",
        "Go on from the beginning of a sequence: zforcing continue RUN PREFIX [--num 4] [--steps N].",
    ),
    "interpolate": Command(
        "interpolate",
        "interpolate",
        "From one sequence to another, through their latents: zforcing interpolate RUN A B [--num 7].",
    ),
    "share": Command(
        "share",
        "share",
        "Make a folder to hand a model over, with its card: zforcing share RUN [--out FOLDER] [--push USER/NAME].",
    ),
    "export": Command(
        "export",
        "export",
        "Write a model's step for programs without zforcing: zforcing export RUN [--out model.onnx] [--particles 64].",
    ),
    "cite": Command(
        "cite",
        "cite",
        "Print BibTeX of what a run used, its software, model, bounds and data: zforcing cite RUN > run.bib.",
    ),
    "recipes": Command(
        "recipes", "recipes", "List the recipes, or those of a group or with some words: zforcing recipes [WORD ...]."
    ),
    "info": Command(
        "info",
        "info",
        "Say what a run folder holds: zforcing info RUN; without RUN, which models, bounds and data sets there are.",
    ),
    "table": Command(
        "table",
        "table",
        "Compare evaluated runs, or fill a paper's table: "
        "zforcing table RUN [RUN ...] | NAME [--data.root FOLDER ...].",
    ),
    "plot": Command("plot", "plot", "Draw learning curves as PNG: zforcing plot RUN [RUN ...] [--out curves.png]."),
    "report": Command(
        "report", "report", "Make one page about runs, side by side: zforcing report RUN [RUN ...] [--out report.html]."
    ),
    "bench": Command(
        "bench",
        "bench",
        "Time training beside torch's own LSTMs: zforcing bench [SIZE ...] [--model NAME] [--model.setting value ...].",
    ),
    "completion": Command("completion", "completion", "Print a shell's completion: zforcing completion bash|zsh|fish."),
}
