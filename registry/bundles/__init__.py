"""The bundle of a class, as the library sees it: its bundle.json and its files."""
