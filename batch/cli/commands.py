"""The list of this package's commands: where each is, so that it is imported when it is asked for.

What a command needs to know of its settings takes a twentieth of a second to import, which a
listing of the library would wait for.
"""

_HERE = "editvec.batch.cli"

COMMANDS: dict[str, str] = {
    "batch": f"{_HERE}.groups:batch",
    "learn": f"{_HERE}.learn:learn",
    "discover": f"{_HERE}.discover:discover",
    "evaluate": f"{_HERE}.evaluate:evaluate",
    "disentangle": f"{_HERE}.disentangle:disentangle",
    "train": f"{_HERE}.groups:train",
    "embed": f"{_HERE}.embed:embed",
    "worker": f"{_HERE}.worker:worker",
    "demo": f"{_HERE}.demo:demo",
    "doctor": f"{_HERE}.doctor:doctor",
}
"""By name, in the order of a user's day: module and attribute."""

ATTACHED: dict[str, dict[str, str]] = {
    "registry": {"preview": f"{_HERE}.preview:preview"},
    "model": {
        "add": f"{_HERE}.model.importing:add_model",
        "import": f"{_HERE}.model.importing:import_model",
        "import-members": f"{_HERE}.model.importing:import_members",
        "sample": f"{_HERE}.model.quality:sample_model",
        "compare": f"{_HERE}.model.quality:compare_models",
        "verify": f"{_HERE}.model.quality:verify_models",
    },
}
"""Commands that need networks and belong to the groups of other packages, by the group's name."""
