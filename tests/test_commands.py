"""All commands as one user meets them: one word for one thing, a path behind -o, and JSON."""

from collections import defaultdict

import click
import pytest

from tests.support.command_tree import commands

PLAIN = ("worker", "completion")
"""A service, and scripts for a shell: neither has a result that a program would read."""

GONE = ("--out", "--batch", "--psi", "--from-operation")

DIFFERENT = {
    "--attribute": {"NAME", "NAME=ATTRIBUTE"},  # of one vector, and of several
    "--count": {None, "K"},
    "--embed": {"encoder|steps:N|target:DB", "steps:N|target:DB"},  # `embed` is for the others
    "--image": {None, "NAME"},  # a picture, and the name of one in a file of annotations
    "--masks": {"DIR", "PATH"},
    "--mirror": {None, "left-right|top-bottom"},
    "--output": {"DIR", "PNG"},
    "--remove": {None, "TAG"},
    "--scale": {None, "F|FxF"},
}
"""What stands behind the same word in different commands."""


COMMANDS = dict(commands())


def options_of(command: click.Command) -> dict[str, click.Option]:
    return {
        word: one
        for one in command.params
        if isinstance(one, click.Option)
        for word in (*one.opts, *one.secondary_opts)
    }


@pytest.mark.parametrize("path", COMMANDS)
def test_words_that_are_gone_are_of_no_command(path: str) -> None:
    assert {*GONE}.isdisjoint(options_of(COMMANDS[path]))


@pytest.mark.parametrize("path", COMMANDS)
def test_output_is_a_path_and_has_a_short_word(path: str) -> None:
    words = options_of(COMMANDS[path])

    assert ("-o" in words) == ("--output" in words)
    if "-o" in words:
        assert words["-o"] is words["--output"]
        assert isinstance(words["-o"].type, click.Path)


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_with_a_result_has_json(path: str) -> None:
    words = options_of(COMMANDS[path])

    assert ("--json" in words) == (path not in PLAIN)
    if "--json" in words:
        assert words["--json"].is_flag
        assert words["--json"].help == "Print JSON."


def test_one_word_takes_one_thing_in_all_commands() -> None:
    found: dict[str, set[str | None]] = defaultdict(set)
    for command in COMMANDS.values():
        for word, option in options_of(command).items():
            found[word].add(option.metavar)
    found.pop("-o")

    assert {word: shown for word, shown in found.items() if len(shown) > 1} == DIFFERENT


def test_how_many_at_a_time_has_one_word() -> None:
    words = {
        word
        for command in COMMANDS.values()
        for word, option in options_of(command).items()
        if option.name == "batch_size"
    }

    assert words == {"--batch-size", "--pixels"}, "pixels are no images"
