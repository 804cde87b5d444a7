"""`zforcing completion`: commands, recipes, options and settings behind the Tab key."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from typing import Any, Literal

from ..bounds import BOUNDS
from ..data import DATA
from ..models import MODELS
from ..training.runs.config import settings_of
from ..training.runs.recipes import recipes
from .commands import COMMANDS
from .options import command_parser, import_option, take_imports

OPTION = re.compile(r"(?<![\w-])--[a-zA-Z][\w.-]*")
BASH = """# bash: eval "$(zforcing completion bash)" in ~/.bashrc
_zforcing() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" words
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    else
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    [ "${{#COMPREPLY[@]}}" -gt 0 ] || COMPREPLY=($(compgen -f -- "$word"))
}}
complete -o filenames -F _zforcing zforcing"""
ZSH = '# zsh: eval "$(zforcing completion zsh)" in ~/.zshrc\nautoload -U +X bashcompinit && bashcompinit\n'
FISH = "# fish: zforcing completion fish > ~/.config/fish/completions/zforcing.fish"


def completion(argv: Sequence[str]) -> int:
    """Print a shell's completion: zforcing completion bash|zsh|fish.

    It knows the commands, the recipes, all options and all settings, those of your own models too (--import).
    """
    words, _ = take_imports(argv)
    parser = command_parser("completion", completion)
    parser.add_argument("shell", type=Literal["bash", "zsh", "fish"], help="bash, zsh or fish")
    import_option(parser)
    shell = parser.parse_args(words).shell
    print({"bash": bash, "zsh": zsh, "fish": fish}[shell](completed()))
    return 0


def completed() -> dict[str, list[str]]:
    """What may stand behind each command."""
    options = {name: options_of(command.load()) for name, command in COMMANDS.items()}
    options["train"] = [*recipes(), *options["train"], *all_settings()]
    options["table"] += all_settings()
    options["bench"] += [name for name in all_settings() if name.startswith("--model.")]
    options["completion"] += ["bash", "zsh", "fish"]
    return {name: list(dict.fromkeys(words)) for name, words in options.items()}


def options_of(command: Callable[[Sequence[str]], int]) -> list[str]:
    """The options that a command's help lists, which is where it says what it takes."""
    text = io.StringIO()
    with redirect_stdout(text), suppress(SystemExit):
        command(["--help"])
    return [name for line in re.findall("^  -.*", text.getvalue(), flags=re.MULTILINE) for name in OPTION.findall(line)]


def all_settings() -> list[str]:
    """The options of the settings of all data sets, models and bounds."""
    base = {"data": next(iter(DATA)), "model": next(iter(MODELS)), "bound": next(iter(BOUNDS))}
    families: dict[str, Any] = {"data": DATA, "model": MODELS, "bound": BOUNDS}
    chosen = [base | {section: name} for section, family in families.items() for name in family]
    return sorted({f"--{name}" for names in chosen for name in settings_of(names) if name != "recipe"})


def bash(options: dict[str, list[str]]) -> str:
    """For bash."""
    cases = "\n".join(f'            {name}) words="{" ".join(words)}" ;;' for name, words in options.items())
    return BASH.format(commands=" ".join(options), cases=cases)


def zsh(options: dict[str, list[str]]) -> str:
    """For zsh, which can take bash's."""
    return ZSH + bash(options)


def fish(options: dict[str, list[str]]) -> str:
    """For fish."""
    first = [
        f"complete -c zforcing -n __fish_use_subcommand -a {name} -d {quoted(COMMANDS[name].about)}" for name in options
    ]
    rest = [
        f"complete -c zforcing -n '__fish_seen_subcommand_from {name}' -a {quoted(' '.join(words))}"
        for name, words in options.items()
    ]
    return "\n".join([FISH, *first, *rest])


def quoted(text: str) -> str:
    """In fish's single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
