import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from regard.errors import DataError
from regard.inspection.alignments.alignment_site import AlignmentSite, SiteName, choose_site, rate_sites
from regard.inspection.alignments.links import Links, parse_pharaoh

GOLD = [parse_pharaoh(line) for line in ("0-0 1-1", "0-1 1-0 2p2")]


MEAN = SiteName("decoder.0.cross", None)
HEAD = SiteName("decoder.1.cross", 3, "reading")
OTHER = SiteName("decoder.1.cross", 3)


def candidates() -> Iterator[dict[SiteName, Links]]:
    lines = [("0-0 0-1", "0-0 1-1", "1-0"), ("0-1", "0-1 1-0 2-2", "1-0")]
    for line in lines:
        yield {name: parse_pharaoh(text).sure for name, text in zip((MEAN, HEAD, OTHER), line, strict=True)}


def test_the_candidate_with_the_lowest_error_rate_is_chosen() -> None:
    site = choose_site(candidates(), GOLD, chosen_by="gold")
    assert site == AlignmentSite("decoder.1.cross", 3, "gold", 0.0, "reading")


def test_every_candidate_is_rated_over_the_corpus() -> None:
    rates = rate_sites(candidates(), GOLD)
    assert rates[MEAN].error_rate == pytest.approx(1 - 4 / 7)
    assert rates[OTHER].error_rate == pytest.approx(1 - 2 / 6)


def test_the_first_of_equals_is_chosen() -> None:
    sentence = {SiteName("b", None): frozenset({(0, 0)}), SiteName("a", 0): frozenset({(0, 0)})}
    assert choose_site([sentence], [frozenset({(0, 0)})], chosen_by="word table").layer == "b"


def test_no_candidate_is_refused() -> None:
    with pytest.raises(DataError, match="There is no candidate to choose an alignment from"):
        choose_site([], [], chosen_by="gold")


def test_links_and_gold_of_unequal_counts_are_refused() -> None:
    with pytest.raises(DataError, match="There are 2 sentences of links and 1 of gold"):
        choose_site(candidates(), GOLD[:1], chosen_by="gold")


def test_a_site_goes_through_json() -> None:
    site = AlignmentSite("decoder.2.cross", None, "word table", 0.25)
    assert AlignmentSite(**json.loads(json.dumps(asdict(site)))) == site


def test_a_site_says_what_it_is() -> None:
    site = AlignmentSite("decoder.2.cross", 1, "gold", 0.0625, "reading")
    assert str(site) == "decoder.2.cross, head 1, reading step (by gold, AER 6.2%)"
    assert str(AlignmentSite("decoder", None, "user")) == "decoder, mean over heads, emitting step (by user)"
