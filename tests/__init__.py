"""The tests; a package, because some libraries install one of this name too."""
