"""The words of the phrasebook as tables: nouns, adjectives, names, numbers, and which adjectives fit which nouns."""

from typing import NamedTuple

from regard.data.phrasebook import english, french


class Noun(NamedTuple):
    """A noun in both languages; `kind` says what can be done with it."""

    english: str
    english_plural: str
    french: str
    french_plural: str
    gender: str
    kind: str


class Adjective(NamedTuple):
    """An adjective in both languages, French in the masculine singular.

    Attributes:
        precedes: True if it stands before a French noun; most stand behind it.
        graded: True if there is more and less of it: very big, but not very red.
    """

    english: str
    french: str
    precedes: bool
    graded: bool


# One kind a row: English noun, French noun, gender.
_NOUNS = {
    "food": "bread pain m, cheese fromage m, meat viande f, rice riz m, fish poisson m, chocolate chocolat m",
    "meal": "soup soupe f, salad salade f",
    "fruit": "apple pomme f, orange orange f, banana banane f, pear poire f, tomato tomate f",
    "snack": "cake gâteau m, sandwich sandwich m, egg œuf m",
    "drink": "water eau f, milk lait m, coffee café m, tea thé m, wine vin m, beer bière f",
    "reading": "book livre m, newspaper journal m, letter lettre f, novel roman m, poem poème m",
    "clothes": "shirt chemise f, dress robe f, hat chapeau m, coat manteau m, skirt jupe f, scarf écharpe f",
    "pair": "shoe chaussure f, glove gant m",
    "vehicle": "car voiture f, truck camion m, boat bateau m, bicycle vélo m",
    "transport": "train train m, taxi taxi m, bus bus m",
    "animal": "dog chien m, cat chat m, horse cheval m, bird oiseau m, cow vache f",
    "luggage": "bag sac m, box boîte f, suitcase valise f",
    "furniture": "table table f, chair chaise f, bed lit m, lamp lampe f",
    "gadget": "phone téléphone m, computer ordinateur m, umbrella parapluie m, ring bague f, photo photo f",
    "small": "key clé f, ticket billet m",
    "dishes": "cup tasse f, plate assiette f, bottle bouteille f, glass verre m",
    "opening": "door porte f, window fenêtre f",
    "plant": "flower fleur f, tree arbre m",
    "gift": "gift cadeau m",
    "show": "film film m, song chanson f",
    "instrument": "guitar guitare f, piano piano m",
    "building": "house maison f, hotel hôtel m, church église f, school école f, museum musée m, castle château m",
    "room": "kitchen cuisine f, bedroom chambre f, garden jardin m, garage garage m",
    "town": "city ville f, village village m, street rue f, park parc m, bridge pont m",
    "place": "station gare f, market marché m, restaurant restaurant m, beach plage f, hospital hôpital m, "
    "library bibliothèque f, office bureau m, store magasin m, forest forêt f, river rivière f",
    "person": "man homme m, woman femme f, boy garçon m, girl fille f, child enfant m",
    "worker": "teacher professeur m, doctor médecin m, baker boulanger m, farmer fermier m, singer chanteur m, "
    "student étudiant m, neighbor voisin m",
    "kin": "father père m, mother mère f, brother frère m, sister sœur f, son fils m, daughter fille f, "
    "uncle oncle m, aunt tante f, husband mari m, wife femme f, friend ami m",
    "body": "head tête f, back dos m, stomach ventre m, throat gorge f",
    "limb": "foot pied m, hand main f, eye œil m, leg jambe f, arm bras m, tooth dent f, knee genou m",
    "language": "french français m, english anglais m, german allemand m, spanish espagnol m, italian italien m",
    "time": "day jour m, week semaine f, month mois m, year an m, hour heure f, minute minute f",
}


def _noun(entry: str, kind: str) -> Noun:
    name, translation, gender = entry.split()
    return Noun(name, english.plural(name), translation, french.plural(translation), gender, kind)


KINDS = {kind: tuple(_noun(entry, kind) for entry in row.split(", ")) for kind, row in _NOUNS.items()}
NOUNS = {noun.english: noun for nouns in KINDS.values() for noun in nouns}


def nouns(names: str) -> tuple[Noun, ...]:
    """Look up nouns by kind or by English name: "food apple" gives all food and the apple."""
    return tuple(noun for name in names.split() for noun in KINDS.get(name) or (NOUNS[name],))


# English, French. Opinion, age and size precede the French noun; the rest follows it.
_PRECEDING = (
    "big grand, small petit, new nouveau, old vieux, young jeune, beautiful beau, pretty joli, good bon, "
    "long long, kind gentil"
)
_FOLLOWING = (
    "heavy lourd, expensive cher, modern moderne, dirty sale, quiet calme, fast rapide, cold froid, hot chaud, "
    "fresh frais, famous célèbre, interesting intéressant, boring ennuyeux, difficult difficile, "
    "intelligent intelligent, shy timide, strong fort, "
    "tired fatigué, happy heureux, sad triste, sick malade, tall grand, jealous jaloux, nervous nerveux"
)
_UNGRADED = (
    "red rouge, blue bleu, green vert, black noir, white blanc, yellow jaune, gray gris, "
    "open ouvert, closed fermé, empty vide, full plein, broken cassé"
)


def _adjectives(row: str, *, precedes: bool = False, graded: bool = True) -> dict[str, Adjective]:
    pairs = (entry.split() for entry in row.split(", "))
    return {name: Adjective(name, translation, precedes, graded) for name, translation in pairs}


ADJECTIVES = _adjectives(_PRECEDING, precedes=True) | _adjectives(_FOLLOWING) | _adjectives(_UNGRADED, graded=False)
COLORS = tuple(ADJECTIVES[name] for name in ("red", "blue", "green", "black", "white", "yellow", "gray"))

# Which adjectives fit a kind of noun, or one noun, beside it (a new car) and after the verb (the car is expensive).
_COLORED = {"clothes", "pair", "vehicle", "luggage", "furniture", "opening"}
_BESIDE = {
    "cake": "good small",
    "sandwich": "good",
    "reading": "new old interesting",
    "letter": "long",
    "clothes": "new old beautiful",
    "pair": "new old",
    "vehicle": "new old beautiful big",
    "animal": "small old beautiful black white",
    "luggage": "big small new heavy",
    "furniture": "big small new old",
    "gadget": "new old expensive",
    "photo": "old beautiful",
    "dishes": "small pretty",
    "opening": "small big old",
    "plant": "beautiful pretty",
    "gift": "beautiful small",
    "show": "good beautiful long",
    "instrument": "new old beautiful",
    "building": "big small new old beautiful modern",
    "room": "big small beautiful",
    "garage": "big small",
    "town": "small beautiful quiet",
    "place": "big small new",
    "person": "young old",
    "worker": "young old kind",
    "singer": "young famous",
    "friend": "old",
}
_PREDICATED = {
    "food": "good fresh expensive",
    "soup": "good hot cold",
    "salad": "good fresh",
    "fruit": "good fresh expensive",
    "snack": "good fresh",
    "drink": "hot cold",
    "wine": "good expensive",
    "beer": "good cold",
    "reading": "interesting boring difficult long",
    "clothes": "old dirty expensive pretty",
    "pair": "old dirty expensive",
    "vehicle": "fast expensive dirty old",
    "boat": "fast expensive",
    "animal": "young beautiful sick small",
    "luggage": "heavy empty full",
    "furniture": "old heavy expensive",
    "gadget": "old expensive broken",
    "photo": "old beautiful",
    "ring": "beautiful expensive",
    "dishes": "empty dirty broken",
    "opening": "open closed broken",
    "plant": "beautiful small",
    "show": "long boring beautiful",
    "instrument": "old beautiful expensive",
    "building": "big modern beautiful closed",
    "house": "big modern beautiful",
    "room": "big small dirty quiet",
    "town": "big quiet beautiful",
    "bridge": "long old",
    "place": "big modern",
    "beach": "beautiful long",
    "forest": "beautiful quiet",
    "river": "long beautiful",
    "person": "tired happy sad sick kind strong young shy",
    "worker": "tired happy sick famous kind strong young jealous nervous",
    "kin": "tired happy sad sick kind strong shy tall jealous nervous",
}


def _fitting(table: dict[str, str], noun: Noun) -> tuple[Adjective, ...]:
    names = table.get(noun.english, table.get(noun.kind, ""))
    return tuple(ADJECTIVES[name] for name in names.split())


_ALL = tuple(NOUNS.values())
BESIDE = {noun: _fitting(_BESIDE, noun) for noun in _ALL}
PREDICATED = {noun: _fitting(_PREDICATED, noun) for noun in _ALL}
COLORED = frozenset(noun for noun in _ALL if noun.kind in _COLORED and noun.english != "window")

# First names with the gender that agreement needs.
NAMES = {"paul": "m", "marc": "m", "louis": "m", "lucas": "m", "marie": "f", "julie": "f", "anne": "f", "alice": "f"}

_NUMBERS = (
    "two deux, three trois, four quatre, five cinq, six six, seven sept, eight huit, nine neuf, ten dix, eleven onze, "
    "twelve douze, twenty vingt, thirty trente, forty quarante"
)
NUMBERS = {name: translation for name, _, translation in (entry.partition(" ") for entry in _NUMBERS.split(", "))}
