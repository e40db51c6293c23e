"""Shell completion: the command that prints the scripts, and what completes a parameter.

click's own scripts split a line where bash does, at `@` and `=` too, cut values at their commas,
and end every word with a blank. These pass the line up to the cursor as it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

if TYPE_CHECKING:
    from editvec.registry.cli.suggestions import Subject

PROGRAM = "editvec"
VARIABLE = "_EDITVEC_COMPLETE"
LINE_VARIABLE = "_EDITVEC_LINE"
WORD_VARIABLE = "_EDITVEC_WORD"
OPEN = "open"
"""Type of an item after which the word goes on: no blank follows it."""

_MEANING_LENGTH = 60

_BASH = """\
%(complete_func)s() {
    local response type value
    response=$(_EDITVEC_LINE="${COMP_LINE:0:COMP_POINT}" _EDITVEC_WORD="$2" \
%(complete_var)s=bash_complete "$1" 2>/dev/null)
    while IFS=, read -r type value; do
        case $type in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            open) compopt -o nospace; COMPREPLY+=("$value") ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done <<< "$response"
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a line plain open response
    local type value meaning
    line=("${(@)words[1,CURRENT]}")
    [[ $PREFIX == -*=* ]] && compset -P 1 '*='
    response=("${(@f)$(_EDITVEC_LINE="${(j: :)line}" \
%(complete_var)s=zsh_complete ${~words[1]} 2>/dev/null)}")
    for type value meaning in "${response[@]}"; do
        [[ $meaning == _ ]] || value+=":$meaning"
        case $type in
            plain) plain+=("$value") ;;
            open) open+=("$value") ;;
            dir) _path_files -/ ;;
            file) _path_files -f ;;
        esac
    done
    (( $#plain )) && _describe -V '%(prog_name)s' plain
    (( $#open )) && _describe -V '%(prog_name)s' open -S ''
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = """\
function %(complete_func)s
    for line in (_EDITVEC_LINE=(commandline -cp) %(complete_var)s=fish_complete \
%(prog_name)s 2>/dev/null)
        set -l item (string split --max 1 , -- $line)
        switch $item[1]
            case dir
                __fish_complete_directories (commandline -ct)
            case file
                __fish_complete_path (commandline -ct)
            case plain open
                echo $item[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""


class LineComplete(ShellComplete):
    """Completion of a whole line up to the cursor."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The complete words after the program's name, and the one at the cursor.

        Of `--class=av` the value is at the cursor.
        """
        # a letter at the cursor makes a word there, whatever quote or blank stands before it
        *words, begun = split_arg_string(f"{os.environ.get(LINE_VARIABLE, '')}x")
        places = [place for place, word in enumerate(words) if Path(word).name == self.prog_name]
        words = words[places[0] + 1 if places else 1 :]
        option, equals, value = begun[:-1].partition("=")
        if equals and option.startswith("-"):
            return [*words, option], value
        return words, begun[:-1]


@add_completion_class
class BashComplete(LineComplete):
    """bash replaces what stands behind the last of its word breaks only, such as `@` and `=`."""

    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = _BASH

    def format_completion(self, item: CompletionItem[str]) -> str:
        """`type,value`, the value without what bash leaves alone."""
        _, begun = self.get_completion_args()
        replaced = os.environ.get(WORD_VARIABLE, begun)
        left_alone = len(begun) - len(replaced) if begun.endswith(replaced) else 0
        return f"{item.type},{item.value[left_alone:]}"


@add_completion_class
class ZshComplete(LineComplete):
    """zsh shows what each value means."""

    name: ClassVar[str] = "zsh"
    source_template: ClassVar[str] = _ZSH

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Three lines: type, value with escaped colons, meaning."""
        value = item.value.replace("\\", "\\\\").replace(":", "\\:")
        return f"{item.type}\n{value}\n{_one_line(item.help) or '_'}"


@add_completion_class
class FishComplete(LineComplete):
    """fish shows what each value means, and leaves out the blank behind `=` by itself.

    It wants the whole word, with the option of `--class=avatars`.
    """

    name: ClassVar[str] = "fish"
    source_template: ClassVar[str] = _FISH

    def format_completion(self, item: CompletionItem[str]) -> str:
        """`type,value`, a tab and the meaning."""
        words, begun = self.get_completion_args()
        line = os.environ.get(LINE_VARIABLE, "")
        option = f"{words[-1]}=" if words and line.endswith(f" {words[-1]}={begun}") else ""
        return f"{item.type},{option}{item.value}\t{_one_line(item.help)}"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, /, *, shell: str) -> None:
    """Print the script that lets SHELL complete commands, vectors, classes and parts.

    \b
    bash: echo 'eval "$(editvec completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(editvec completion zsh)"' >> ~/.zshrc
    fish: editvec completion fish > ~/.config/fish/completions/editvec.fish
    """  # noqa: D301 (click reads the backspace)
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, PROGRAM, VARIABLE).source(), nl=False)


# --- what completes a parameter ---


class Completer:
    """Completes what the library holds; a `shell_complete=` of a parameter.

    Whatever goes wrong, it has nothing to complete: a shell must not be disturbed.
    """

    def __init__(self, subject: Subject, *, ends_word: bool = True) -> None:
        """Makes a completer.

        Args:
            subject: what it completes, as `editvec.registry.cli.suggestions` names it.
            ends_word: False where something else follows in the same word.
        """
        self._subject = subject
        self._type = "plain" if ends_word else OPEN

    def __call__(
        self, ctx: click.Context, _parameter: click.Parameter, typed: str
    ) -> list[CompletionItem[str]]:
        """What may stand at the cursor."""
        try:
            from editvec.registry.cli.suggestions import suggest
            from editvec.registry.config import RegistryConfig

            config = RegistryConfig.from_environment(ctx.find_root().params.get("home"))
            found = suggest(self._subject, config, typed, class_name=ctx.params.get("class_name"))
        except Exception:  # noqa: BLE001 (of a locked database, a wrong URL, a missing driver)
            return []
        return [CompletionItem(text, type=self._type, help=meaning) for text, meaning in found]


complete_class = Completer("class")
complete_address = Completer("address")
complete_retired = Completer("retired")
complete_parts = Completer("part")
complete_tag = Completer("tag")
complete_metric = Completer("metric", ends_word=False)
_complete_vector = Completer("address", ends_word=False)


def complete_term(
    ctx: click.Context, parameter: click.Parameter, typed: str
) -> list[CompletionItem[str]]:
    """The vector of `smile=0.5` and of `smile[4:9]=0.5`, with its `=`."""
    if "=" in typed or "[" in typed:
        return []
    found = _complete_vector(ctx, parameter, typed)
    return [CompletionItem(f"{item.value}=", type=item.type, help=item.help) for item in found]


def _one_line(text: str | None) -> str:
    """A meaning that fits beside its value."""
    line = "".join(char if char.isprintable() else " " for char in " ".join((text or "").split()))
    return line if len(line) <= _MEANING_LENGTH else f"{line[: _MEANING_LENGTH - 3]}..."
