"""Where and when: places, aims, cities and countries, times and adverbs, as ready phrases."""

from regard.data.phrasebook.lexicon import NOUNS, NUMBERS
from regard.data.phrasebook.nominals import noun_phrase
from regard.data.phrasebook.phrase import Phrase, compose, word


def _at(name: str, preposition: str, translation: str, *, determiner: str = "the") -> Phrase:
    """Put a preposition before a place: in the kitchen, dans la cuisine."""
    place = noun_phrase(NOUNS[name], determiner).phrase
    return compose("{at}¹ {place}", "{à}¹ {place}", at=preposition, à=translation, place=place)


_INSIDE = ["kitchen", "garden", "bedroom", "garage", "park", "street", "forest", "river", "village"]
_NEARBY = ["station", "market", "restaurant", "hotel", "office", "hospital", "library", "museum", "store"]
_INSTITUTIONS = ["school", "church"]  # English leaves out the article: at school, à l'école

PLACES = (
    {name: _at(name, "in", "dans") for name in _INSIDE}
    | {name: _at(name, "at", "à") for name in _NEARBY}
    | {name: _at(name, "at", "à", determiner="general") for name in _INSTITUTIONS}
    | {"train": _at("train", "on", "dans"), "beach": _at("beach", "on", "sur")}
)
TO_PLACES = {name: _at(name, "to", "à") for name in [*_NEARBY, "beach"]} | {
    name: _at(name, "to", "à", determiner="general") for name in _INSTITUTIONS
}
FROM_PLACES = {name: _at(name, "from", "de") for name in [*_NEARBY, "beach"]} | {
    name: _at(name, "from", "de", determiner="general") for name in _INSTITUTIONS
}
AT_HOME = compose("at¹ home²", "à¹ la² maison²")

CITIES = tuple(
    word(*names) for names in (("paris", "paris"), ("lyon", "lyon"), ("london", "londres"), ("rome", "rome"))
)
IN_CITIES = tuple(compose("in¹ {paris}", "à¹ {paris}", paris=city) for city in CITIES)
TO_CITIES = tuple(compose("to¹ {paris}", "à¹ {paris}", paris=city) for city in CITIES)
FROM_CITIES = tuple(compose("from¹ {paris}", "de¹ {paris}", paris=city) for city in CITIES)

# A feminine country goes without an article: en france, de france, but au canada, du canada.
_COUNTRIES = (
    ("france", "france", "en", "de"),
    ("italy", "italie", "en", "de"),
    ("spain", "espagne", "en", "de"),
    ("canada", "canada", "à le", "de le"),
    ("japan", "japon", "à le", "de le"),
)


def _countries(preposition: str) -> tuple[Phrase, ...]:
    return tuple(
        compose(
            "{in_}¹ {france}²",
            "{en}¹ {pays}²",
            in_=preposition,
            france=country,
            en=source if preposition == "from" else aim,
            pays=pays,
        )
        for country, pays, aim, source in _COUNTRIES
    )


IN_COUNTRIES, TO_COUNTRIES, FROM_COUNTRIES = _countries("in"), _countries("to"), _countries("from")

# --- Times ------------------------------------------------------------------------------------------------------

TODAY = word("today", "aujourd'hui")
TONIGHT = word("tonight", "ce soir")
TOMORROW = word("tomorrow", "demain")
YESTERDAY = word("yesterday", "hier")
THIS_MORNING = compose("this¹ morning²", "ce¹ matin²")

_WEEK = (
    "monday lundi, tuesday mardi, wednesday mercredi, thursday jeudi, friday vendredi, saturday samedi, sunday dimanche"
)
_DAYS = {day: jour for day, _, jour in (entry.partition(" ") for entry in _WEEK.split(", "))}
ON_DAYS = tuple(compose("on {monday}¹", "{lundi}¹", monday=day, lundi=jour) for day, jour in _DAYS.items())
ON_EVERY_DAY = tuple(
    compose("on {mondays}¹", "le¹ {lundi}¹", mondays=day + "s", lundi=jour) for day, jour in _DAYS.items()
)
SEASONS = tuple(
    compose("in¹ {winter}²", "{en}¹ {hiver}²", winter=season, en=preposition, hiver=saison)
    for season, preposition, saison in (
        ("winter", "en", "hiver"),
        ("summer", "en", "été"),
        ("spring", "à le", "printemps"),
    )
)
HOURS = tuple(
    compose("{eight}¹ o'clock²", "{huit}¹ heures²", eight=number, huit=nombre)
    for number, nombre in NUMBERS.items()
    if number not in ("twenty", "thirty", "forty", "twelve")
)
AT_HOURS = tuple(compose("at¹ {hour}", "à¹ {hour}", hour=hour) for hour in HOURS)

LAST_NIGHT = compose("last¹ night²", "hier¹ soir²")
LAST_WEEK = compose("last¹ week²", "la² semaine² dernière¹")
LAST_YEAR = compose("last¹ year²", "la² année² dernière¹")
NEXT_WEEK = compose("next¹ week²", "la² semaine² prochaine¹")
TOMORROW_MORNING = compose("tomorrow¹ morning²", "demain¹ matin²")

EVERY_DAY = compose("every¹ day²", "tous¹ les¹ jours²")
EVERY_MORNING = compose("every¹ morning²", "tous¹ les¹ matins²")
EVERY_WEEK = compose("every¹ week²", "toutes¹ les¹ semaines²")
IN_THE_EVENING = compose("in the¹ evening²", "le¹ soir²")
WINTER, SUMMER, SPRING = SEASONS

# When things happened, will happen and happen again; the longer rows for what is told after years.
RECENT = (YESTERDAY, THIS_MORNING, LAST_NIGHT)
LONG_AGO = (YESTERDAY, LAST_WEEK, LAST_YEAR)
SOON = (TODAY, TONIGHT, TOMORROW, TOMORROW_MORNING)
FUTURE = (TODAY, TOMORROW, NEXT_WEEK, *ON_DAYS)
DAILY = (EVERY_DAY, EVERY_MORNING, IN_THE_EVENING)
REGULAR = (*DAILY, *ON_EVERY_DAY, *SEASONS)

# --- Adverbs ----------------------------------------------------------------------------------------------------

OFTEN = tuple(
    word(*pair)
    for pair in (("often", "souvent"), ("always", "toujours"), ("sometimes", "parfois"), ("rarely", "rarement"))
)
STILL = word("still", "encore")
ALREADY = word("already", "déjà")
VERY = word("very", "très")
TOO = word("too", "trop")
EARLY = word("early", "tôt")
LATE = word("late", "tard")
