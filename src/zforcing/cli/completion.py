"""`zforcing completion`: commands, recipes, options and settings behind the Tab key. It imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..training.runs.recipes import GROUPS, names
from .commands import COMMANDS
from .index import TRAIN, Index, answers, made_index, read_index
from .parser import Parser
from .train import train_parser
from .words import import_option, take_imports

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
    words, imports = take_imports(argv)
    parser = Parser("zforcing completion", description=completion.__doc__)
    parser.add_argument("shell", type=Literal["bash", "zsh", "fish"], help="bash, zsh or fish")
    import_option(parser)
    shell = parser.parse_args(words).shell
    listed = read_index() if answers() and not imports else made_index()
    print({"bash": bash, "zsh": zsh, "fish": fish}[shell](completed(listed)))
    return 0


def completed(listed: Index) -> dict[str, list[str]]:
    """What may stand behind each command."""
    settings = sorted({f"--{one[0]}" for part in listed.parts.values() for one in part if one[0] != "recipe"})
    options = {name: long_options(listed.parser(name)) for name in listed.commands}
    tables = [name for name in options if name not in COMMANDS]  # `table speech`
    options[TRAIN] = [*names(), *long_options(train_parser()), *settings]
    options["recipes"] += GROUPS[1:]  # the first is two words
    options["table"] += [*(name.split()[1] for name in tables), *(one for name in tables for one in options[name])]
    options["table"] += settings
    options["bench"] += [name for name in settings if name.startswith("--model.")]
    options["completion"] += ["bash", "zsh", "fish"]
    return {name: list(dict.fromkeys(options[name])) for name in COMMANDS}


def long_options(parser: Parser) -> list[str]:
    """The options of a parser by their long names."""
    return [name for name in parser.options() if name.startswith("--")]


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
