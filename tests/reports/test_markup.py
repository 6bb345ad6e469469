"""Markup that is made of text."""

import html
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from trio_pipecat.reports._markup import Markup, joined, short, tag
from trio_pipecat.reports._words import printable

TEXTS = st.text(st.characters(), max_size=20)


@given(TEXTS, TEXTS)
def test_text_is_text(content: str, attribute: str) -> None:
    """Whatever it is, it comes out of the markup as it went in."""
    made = tag("p", content, title=attribute)
    inside = made[made.index(">") + 1 : -len("</p>")]
    assert printable(content) == html.unescape(inside)
    assert not {"<", ">", '"'} & set(inside)
    element = ET.fromstring(made)
    assert "p" == element.tag
    assert {"title"} == set(element.attrib)


def test_markup_is_markup() -> None:
    """It is not escaped again."""
    assert "<p>a &lt; <b>c</b></p>" == tag("p", "a < ", tag("b", "c"))
    assert "<b>&amp;</b>" == joined([Markup("<b>"), "&", Markup("</b>")])


def test_what_is_none_is_left_out() -> None:
    """Of the content, and of the attributes."""
    assert '<p id="a">b</p>' == tag("p", None, "b", id="a", title=None)
    assert "" == joined([None])


def test_attributes_are_called_as_python_can() -> None:
    """And are called what they shall be."""
    assert '<g class="a" text-anchor="end" viewBox="0"></g>' == tag(
        "g", class_="a", text_anchor="end", viewBox="0"
    )


def test_some_elements_have_no_end() -> None:
    """In HTML; in XML all have one."""
    assert '<meta charset="utf-8"/>' == tag("meta", charset="utf-8")


def test_short_numbers() -> None:
    """Are short."""
    shorts = [short(number) for number in (0.0, -0.001, 1.0, 1.5, 1.005, 10, 100.129)]
    assert ["0", "0", "1", "1.5", "1", "10", "100.13"] == shorts
