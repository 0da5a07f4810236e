"""The phrasebook: a small English-French grammar that draws sentence pairs with gold word alignments.

    >>> from regard.data.phrasebook import splits
    >>> example = splits(train=0, valid=0, test=1).test[0]
    >>> example.source, example.target
    ('my feet hurt', "j'ai mal aux pieds")
    >>> sorted(example.alignment)
    [(0, 0), (1, 2), (1, 3), (2, 0), (2, 1)]

Text is lower case, words are separated by single blanks, " ," and " ?" are words of their own, there is no final
period, and an apostrophe keeps its word together: j'ai, don't, brother's.

Alignment follows one convention, written into the templates of the grammar and never computed:

- Words that translate each other are linked, wherever they stand: red - rouge behind its noun, not - ne and pas.
- An expression that has to be taken as a whole is linked as a whole: hungry - faim, hurts - ai and mal,
  wait for - attendre, a lot of - beaucoup de.
- A French word that English leaves out belongs to the word that asks for it: an article or de to its noun
  (bread - du pain, feet - aux pieds), est-ce que to the auxiliary that asks (do, is, can), se to its verb.
- A word written together keeps the links of its parts: j'ai - i and have, l'ami - the and friend, du - of and the.
- So every French word has a link. An English word has none if French says it by no word: am, is, are, have and has
  of compound tenses, to before an infinitive, a before a profession, on and in before days and evenings, do and does
  before a price.

Every English sentence has one translation. Where French must know more than English says, it is settled: you is tu,
they is ils, the speaker, the hearer and the baker are
masculine.
"""

from regard.data.phrasebook.corpus import HELD_OUT, Example, Splits, draw, splits
from regard.data.phrasebook.grammar import CONSTRUCTIONS

__all__ = ["CONSTRUCTIONS", "HELD_OUT", "Example", "Splits", "draw", "splits"]
