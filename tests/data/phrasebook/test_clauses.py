"""Clauses: tenses, negation around the verb, questions, agreement of participles."""

import pytest

from regard.data.phrasebook.clauses import Polarity, Predicate, Tense, clause, command, infinitive, question
from regard.data.phrasebook.french import spell
from regard.data.phrasebook.lexicon import NOUNS
from regard.data.phrasebook.nominals import OBJECTS, PRONOUNS, noun_phrase
from regard.data.phrasebook.phrase import EMPTY, Phrase, word
from regard.data.phrasebook.verbs import BE, BE_HAVING, CAN, DOING, GET_UP, NEED, WANT, verb

THE_BREAD = noun_phrase(NOUNS["bread"]).phrase
EAT_BREAD = Predicate(DOING["eat"], THE_BREAD)
SEE_HER = Predicate(verb("see", "voir"), EMPTY, OBJECTS["she"], ("f", False))
ARRIVE = Predicate(verb("arrive", "arriver"))


def written(phrase: Phrase) -> tuple[str, str]:
    return " ".join(phrase.english), " ".join(spell(phrase.french)[0])


@pytest.mark.parametrize(
    ("who", "predicate", "tense", "polarity", "expected"),
    [
        ("she", EAT_BREAD, "simple", "yes", ("she eats the bread", "elle mange le pain")),
        ("we", EAT_BREAD, "simple", "not", ("we don't eat the bread", "nous ne mangeons pas le pain")),
        ("i", EAT_BREAD, "simple", "never", ("i never eat the bread", "je ne mange jamais le pain")),
        ("he", EAT_BREAD, "simple", "anymore", ("he doesn't eat the bread anymore", "il ne mange plus le pain")),
        ("i", EAT_BREAD, "progressive", "yes", ("i am eating the bread", "je mange le pain")),
        ("they", EAT_BREAD, "progressive", "not", ("they are not eating the bread", "ils ne mangent pas le pain")),
        ("you", EAT_BREAD, "past", "yes", ("you ate the bread", "tu as mangé le pain")),
        ("i", EAT_BREAD, "past", "not", ("i didn't eat the bread", "je n'ai pas mangé le pain")),
        ("we", EAT_BREAD, "past", "never", ("we never ate the bread", "nous n'avons jamais mangé le pain")),
        ("he", EAT_BREAD, "going", "yes", ("he is going to eat the bread", "il va manger le pain")),
        ("i", EAT_BREAD, "going", "not", ("i am not going to eat the bread", "je ne vais pas manger le pain")),
        ("she", EAT_BREAD, "just", "yes", ("she just ate the bread", "elle vient de manger le pain")),
        ("i", SEE_HER, "simple", "not", ("i don't see her", "je ne la vois pas")),
        ("i", SEE_HER, "past", "yes", ("i saw her", "je l'ai vue")),
        ("i", SEE_HER, "past", "not", ("i didn't see her", "je ne l'ai pas vue")),
        ("i", SEE_HER, "going", "yes", ("i am going to see her", "je vais la voir")),
        ("she", ARRIVE, "past", "yes", ("she arrived", "elle est arrivée")),
        ("they", ARRIVE, "past", "yes", ("they arrived", "ils sont arrivés")),
        ("he", ARRIVE, "just", "yes", ("he just arrived", "il vient d'arriver")),
        ("we", Predicate(GET_UP), "simple", "yes", ("we get up", "nous nous levons")),
        ("she", Predicate(GET_UP), "past", "yes", ("she got up", "elle s'est levée")),
        ("i", Predicate(GET_UP), "going", "yes", ("i am going to get up", "je vais me lever")),
        ("i", Predicate(BE, word("sad", "triste")), "simple", "not", ("i am not sad", "je ne suis pas triste")),
        ("they", Predicate(BE, word("sad", "tristes")), "past", "yes", ("they were sad", "ils étaient tristes")),
        ("i", Predicate(BE_HAVING, word("hungry", "faim")), "simple", "yes", ("i am hungry", "j'ai faim")),
        (
            "she",
            Predicate(NEED, word("water", "eau")),
            "simple",
            "not",
            ("she doesn't need water", "elle n'a pas besoin d'eau"),
        ),
    ],
)
def test_statements(
    who: str, predicate: Predicate, tense: Tense, polarity: Polarity, expected: tuple[str, str]
) -> None:
    assert written(clause(PRONOUNS[who], predicate, tense, polarity)) == expected


def test_both_words_of_the_negation_are_linked_to_the_english_one() -> None:
    phrase = clause(PRONOUNS["we"], EAT_BREAD, "simple", "not")
    assert [j for i, j in phrase.links if phrase.english[i] == "don't"] == [1, 3]


def test_adverbs_stand_before_the_english_verb_and_behind_the_french() -> None:
    phrase = clause(PRONOUNS["she"], EAT_BREAD, often=word("often", "souvent"))
    assert written(phrase) == ("she often eats the bread", "elle mange souvent le pain")


@pytest.mark.parametrize(
    ("who", "predicate", "tense", "expected"),
    [
        ("you", EAT_BREAD, "simple", ("do you eat the bread ?", "est-ce que tu manges le pain ?")),
        ("he", EAT_BREAD, "progressive", ("is he eating the bread ?", "est-ce qu'il mange le pain ?")),
        ("she", ARRIVE, "past", ("did she arrive ?", "est-ce qu'elle est arrivée ?")),
        ("they", ARRIVE, "going", ("are they going to arrive ?", "est-ce qu'ils vont arriver ?")),
        ("you", Predicate(BE_HAVING, word("cold", "froid")), "simple", ("are you cold ?", "est-ce que tu as froid ?")),
    ],
)
def test_questions(who: str, predicate: Predicate, tense: Tense, expected: tuple[str, str]) -> None:
    assert written(question(PRONOUNS[who], predicate, tense)) == expected


def test_a_question_word_opens_the_question() -> None:
    asked = question(PRONOUNS["she"], Predicate(DOING["eat"]), "progressive", where=word("what", "que"))
    assert written(asked) == ("what is she eating ?", "qu'est-ce qu'elle mange ?")


def test_wishes_take_the_infinitive_with_its_pronoun() -> None:
    she = PRONOUNS["she"]
    wish = Predicate(WANT, infinitive(she, Predicate(GET_UP)))
    assert written(clause(she, wish)) == ("she wants to get up", "elle veut se lever")
    able = Predicate(CAN, infinitive(she, SEE_HER, to=""))
    assert written(clause(she, able, polarity="not")) == ("she can't see her", "elle ne peut pas la voir")


def test_commands_drop_the_s_of_verbs_in_er() -> None:
    assert written(command(EAT_BREAD)) == ("eat the bread", "mange le pain")
    assert written(command(EAT_BREAD, negated=True)) == ("don't eat the bread", "ne mange pas le pain")
    take = Predicate(DOING["take"], noun_phrase(NOUNS["train"]).phrase)
    assert written(command(take)) == ("take the train", "prends le train")
