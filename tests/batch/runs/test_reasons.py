import pytest

from editvec.batch.runs.progress import general_reason


@pytest.mark.parametrize(
    ("reason", "source", "general"),
    [
        ("leakage 0.123 over 0.02", "a.png", "leakage # over #"),
        ("in/a.png: cannot be decoded (cut)", "a.png", "cannot be decoded (cut)"),
        ("b/7.png: 3 bytes", "b/7.png", "# bytes"),
        ("1.5e-07", "a.png", "#"),
        (": nothing", "", ": nothing"),
        ("", "", ""),
    ],
)
def test_a_reason_loses_what_is_its_own(reason: str, source: str, general: str) -> None:
    assert general_reason(reason, source) == general
