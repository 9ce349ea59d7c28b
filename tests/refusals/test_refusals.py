"""Every bad input that was tried gets the message in the table, which names what was wrong and what to do."""

from __future__ import annotations

import pytest

from helpers.refusals import AREAS, Tried, answer, of_area, read_table

ALL = [(area, bad) for area in AREAS for bad in of_area(area)]
RAW = ("AttributeError", "IndexError", "KeyError", "AssertionError", "RuntimeError", "ZeroDivisionError")


@pytest.mark.parametrize(("area", "bad"), ALL, ids=[bad.words for _, bad in ALL])
def test_it_is_answered_as_in_the_table(area: str, bad: Tried, tmp_path, own_home):
    assert answer(bad, tmp_path) == read_table(area)[bad.words]


@pytest.mark.parametrize("area", AREAS)
def test_a_table_has_what_is_tried_and_no_more(area):
    words = [bad.words for bad in of_area(area)]
    assert list(read_table(area)) == words
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("area", AREAS)
def test_every_answer_is_in_words(area):
    for words, text in read_table(area).items():
        assert text != "nothing was said", words
        assert text.partition(":")[0] not in RAW, words
        assert "Traceback" not in text, words
        assert len(text) <= 700, words


def test_there_are_at_least_120_kinds():
    assert len(ALL) >= 120
