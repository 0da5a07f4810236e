"""Cutting a text that is too long for a model into parts that are not, at the best places there are."""

from regard.data.tokenizers import Tokenizer

ENDS = [".!?。！？", ";:；：", ",、，"]
"""What a part ends with, the best first; after these any blank, and in a word that is too long any character."""


def split_long(text: str, tokenizer: Tokenizer, max_length: int) -> list[str]:
    """Return parts of at most `max_length` tokens; a text that is short enough is one part.

    A cut falls behind the last sentence end that fits, else behind a semicolon or comma, else between words, else
    within a word. The blank at a cut is dropped.
    """
    parts = []
    while len(tokenizer.encode(text).ids) > max_length:
        cut = best_cut(text, longest_fit(text, tokenizer, max_length))
        parts.append(text[:cut].rstrip(" "))
        text = text[cut:].lstrip(" ")
    return [*parts, text] if text or not parts else parts


def longest_fit(text: str, tokenizer: Tokenizer, max_length: int) -> int:
    """Return how many characters, at least one, have at most `max_length` tokens."""
    fits, too_many = 1, len(text)
    step = max_length
    while fits + step < too_many:  # look ahead in growing steps, so that a huge text is not encoded again and again
        if len(tokenizer.encode(text[: fits + step]).ids) > max_length:
            too_many = fits + step
            break
        fits += step
        step *= 2
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if len(tokenizer.encode(text[:middle]).ids) > max_length:
            too_many = middle
        else:
            fits = middle
    return fits


def best_cut(text: str, end: int) -> int:
    """Return the best place to cut before `end`, but not in the first half of what would fit."""
    for ends in ENDS:
        places = [
            place + 1
            for place in range(end // 2, end)
            if text[place] in ends and text[place + 1 : place + 2] in (" ", "")
        ]
        if places:
            return places[-1]
    blank = text.rfind(" ", 1, end + 1)
    return blank if blank > 0 else end
