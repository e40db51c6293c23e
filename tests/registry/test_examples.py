"""The examples in the docstrings are true."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["composition", "entities", "tables"])
def test_examples_are_true(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"registry.{name}"))

    assert result.failed == 0
    assert result.attempted > 0
