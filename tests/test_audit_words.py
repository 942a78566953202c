"""The audit in words: one careful headline, and terminal lines that a terminal can't act on."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearhead.audits.phrases import listed
from clearhead.audits.section import DataAudit, Section
from clearhead.deliver.audit_words import MOST_NOTES, headline, plain, summary
from clearhead.types import Finding
from oracles import manifest_of

MANIFEST = manifest_of(
    Path("heads"),
    ("tumour", "healthy"),
    source=["1.png", "2.png", "3.png", "4.png"],
    label=["tumour", "tumour", "healthy", None],
    error=[None, None, None, "empty"],
    copy=[0, 0, 1, 2],
    group=[0, 0, 1, 2],
)


def audit(*findings: Finding) -> DataAudit:
    return DataAudit(MANIFEST, (Section("s", "S", findings),))


def failing(*checks: str) -> DataAudit:
    return audit(*(Finding(check, "fail", f"{check} says so") for check in checks))


# --- Headline -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checks", "words"),
    [
        (
            ("leak.facts", "leak.border"),
            "This data set gives its label away: it can be read from file facts and the outer "
            "border.",
        ),
        (
            ("leak.facts", "leak.border", "leak.rim", "leak.shape", "copies.across"),
            "This data set gives its label away: it can be read from file facts, the outer border, "
            "scalp and skull and 1 more place; pictures of one split have copies in another.",
        ),
        (
            ("copies.contradicting",),
            "This data set can't be believed as it is: copies of one picture carry different "
            "labels.",
        ),
        (("leak.telling",), "This data set gives its label away."),
        (
            ("new.check",),
            "This data set can't be believed as it is: the check new.check failed.",
        ),
    ],
)
def test_headline_names_what_failed(checks: tuple[str, ...], words: str) -> None:
    assert headline(failing(*checks)) == words


def test_headline_counts_faults_that_it_has_no_room_for() -> None:
    words = headline(
        failing("copies.across", "split.shuffle", "junk.changed", "balance.test", "copies.against")
    )
    assert words.endswith("; 2 more faults.")
    assert words.count(";") == 3


def test_a_fault_is_named_once() -> None:
    assert headline(failing("copies.across", "copies.across")).count("copies in another") == 1


def test_where_nothing_failed_the_headline_says_no_more_than_that() -> None:
    warned = Finding("junk.text", "warn", "look")
    noted = Finding("copies.distinct", "info", "4")
    assert headline(audit(warned, warned, noted)).replace("\u00a0", " ") == (
        "No check failed; 2 findings want a look."
    )
    assert "1 finding wants a look" in headline(audit(warned)).replace("\u00a0", " ")
    assert headline(audit(noted)) == headline(audit()) == "No check failed."
    for words in (headline(audit(warned)), headline(audit())):
        assert not {"fine", "clean", "good"} & set(words.lower().split())
    assert headline(DataAudit(MANIFEST, ())) == "Nothing was checked."


def test_a_warning_is_never_told_as_a_failure() -> None:
    words = headline(audit(Finding("leak.facts", "warn", "perhaps")))
    assert "gives its label away" not in words


# --- Terminal -------------------------------------------------------------------------------


def test_summary_is_worst_first_and_each_finding_is_one_line() -> None:
    lines = summary(
        audit(
            Finding("a", "info", "third"),
            Finding("b", "warn", "second"),
            Finding("c", "fail", "first. Not on a terminal"),
        ),
        page=Path("out/audit.html"),
    )
    told = [line for line in lines if line[:6] in ("FAIL  ", "warn  ", "info  ")]
    assert told == ["FAIL  c: first.", "warn  b: second", "info  a: third"]
    assert lines[0].startswith("This data set can't be believed")
    assert lines[-1] == f"Page: {Path('out/audit.html')}"
    assert not any("Page" in line for line in summary(audit()))


def test_summary_says_what_was_audited() -> None:
    line = summary(audit())[1].replace("\u00a0", " ")
    assert line == "4 files (tumour 2, healthy 1, no label 1), 2 distinct pictures, 1 unreadable"


def test_notes_are_counted_where_there_are_many_but_nothing_worse_is_left_out() -> None:
    notes = [Finding("n", "info", f"note {number}") for number in range(9)]
    warnings = [Finding("w", "warn", f"warning {number}") for number in range(30)]
    lines = [line.replace("\u00a0", " ") for line in summary(audit(*notes, *warnings))]
    assert sum(line.startswith("warn  ") for line in lines) == 30
    assert sum(line.startswith("info  n: note") for line in lines) == MOST_NOTES
    assert f"info  and {9 - MOST_NOTES} more notes on the page" in lines


def test_names_from_users_cannot_steer_the_terminal() -> None:
    nasty = "a\x1b[2Jb\nc\u202ed\r.png"
    lines = summary(audit(Finding("junk.names", "warn", f"{nasty} twice")), page=nasty)
    assert all(each.isprintable() or each == "\u00a0" for line in lines for each in line)
    assert r"a\x1b[2Jb\nc\u202ed\r.png twice" in lines[-3]


def test_plain_keeps_letters_of_every_script() -> None:
    assert plain("Tumör 脑 – 5\u00a0%") == "Tumör 脑 – 5\u00a0%"


@pytest.mark.parametrize(
    ("names", "words"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_lists_read_as_sentences(names: list[str], words: str) -> None:
    assert listed(names) == words
