"""How French words change, and what happens where two meet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.phrasebook.french import agree, before, conjugate, plural, spell


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("pomme", "pommes"),
        ("bras", "bras"),
        ("gâteau", "gâteaux"),
        ("genou", "genoux"),
        ("journal", "journaux"),
        ("cheval", "chevaux"),
        ("œil", "yeux"),
        ("heureux", "heureux"),
    ],
)
def test_plurals(word: str, expected: str) -> None:
    assert plural(word) == expected


@pytest.mark.parametrize(
    "forms",
    [
        "grand grande grands grandes",
        "rouge rouge rouges rouges",
        "beau belle beaux belles",
        "nouveau nouvelle nouveaux nouvelles",
        "vieux vieille vieux vieilles",
        "blanc blanche blancs blanches",
        "heureux heureuse heureux heureuses",
        "jaloux jalouse jaloux jalouses",
        "gris grise gris grises",
        "gentil gentille gentils gentilles",
        "cher chère chers chères",
        "intéressant intéressante intéressants intéressantes",
        "cassé cassée cassés cassées",
    ],
)
def test_adjectives_agree(forms: str) -> None:
    masculine, *_ = expected = forms.split()
    assert [agree(masculine, gender, many) for many in (False, True) for gender in "mf"] == expected


@pytest.mark.parametrize(
    ("word", "following", "expected"),
    [
        ("ma", "amie", "mon"),
        ("ma", "sœur", "ma"),
        ("sa", "écharpe", "son"),
        ("ce", "homme", "cet"),
        ("ce", "chien", "ce"),
        ("vieux", "ami", "vieil"),
        ("nouveau", "hôtel", "nouvel"),
        ("beau", "arbre", "bel"),
        ("beau", "château", "beau"),
        ("grand", "arbre", "grand"),
    ],
)
def test_words_that_change_before_a_vowel(word: str, following: str, expected: str) -> None:
    assert before(word, following) == expected


@pytest.mark.parametrize(
    ("infinitive", "present", "participle", "imperative"),
    [
        ("parler", "parle parles parle parlons parlent", "parlé", "parle"),
        ("manger", "mange manges mange mangeons mangent", "mangé", "mange"),
        ("acheter", "achète achètes achète achetons achètent", "acheté", "achète"),
        ("appeler", "appelle appelles appelle appelons appellent", "appelé", "appelle"),
        ("préférer", "préfère préfères préfère préférons préfèrent", "préféré", "préfère"),
        ("nettoyer", "nettoie nettoies nettoie nettoyons nettoient", "nettoyé", "nettoie"),
        ("fermer", "ferme fermes ferme fermons ferment", "fermé", "ferme"),
        ("vendre", "vends vends vend vendons vendent", "vendu", "vends"),
        ("apprendre", "apprends apprends apprend apprenons apprennent", "appris", "apprends"),
        ("revenir", "reviens reviens revient revenons reviennent", "revenu", "reviens"),
        ("ouvrir", "ouvre ouvres ouvre ouvrons ouvrent", "ouvert", "ouvre"),
        ("boire", "bois bois boit buvons boivent", "bu", "bois"),
    ],
)
def test_conjugation(infinitive: str, present: str, participle: str, imperative: str) -> None:
    forms = conjugate(infinitive)
    assert (" ".join(forms.present), forms.participle, forms.imperative) == (present, participle, imperative)


def test_the_imperfect_has_its_own_endings() -> None:
    assert conjugate("être").imperfect == ("étais", "étais", "était", "étions", "étaient")
    assert conjugate("faire").imperfect == ("faisais", "faisais", "faisait", "faisions", "faisaient")


@pytest.mark.parametrize(
    ("whole", "written"),
    [
        ("je ai mal à les pieds", "j'ai mal aux pieds"),
        ("le ami de le homme", "l'ami de l'homme"),
        ("la porte de le jardin", "la porte du jardin"),
        ("il ne y a pas de eau", "il n'y a pas d'eau"),
        ("si il pleut", "s'il pleut"),
        ("si elle vient", "si elle vient"),
        ("parce que ils ont faim", "parce qu'ils ont faim"),
        ("que est-ce que elle achète", "qu'est-ce qu'elle achète"),
        ("ce est la école", "c'est l'école"),
        ("je me appelle alice", "je m'appelle alice"),
        ("à huit heures de le soir", "à huit heures du soir"),
        ("le onze", "le onze"),
        ("il la a vue", "il l'a vue"),
    ],
)
def test_elision_and_contraction(whole: str, written: str) -> None:
    assert " ".join(spell(tuple(whole.split()))[0]) == written


def test_every_whole_word_finds_its_place() -> None:
    words, place = spell(("je", "ai", "mal", "à", "les", "pieds"))
    assert words == ["j'ai", "mal", "aux", "pieds"]
    assert place == [0, 0, 1, 2, 2, 3]


SHORT_WORDS = ("je", "ne", "le", "la", "de", "à", "les", "que", "ami", "eau", "pain", "il", "si", "y", "huit")


@given(st.lists(st.sampled_from(SHORT_WORDS)))
def test_spelling_moves_no_word_and_loses_none(words: list[str]) -> None:
    written, place = spell(tuple(words))
    assert place == sorted(place)
    assert set(place) == set(range(len(written)))
