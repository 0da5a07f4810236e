"""Cutting a text that is too long for a model into parts that are not, at the best places there are."""

import re
from collections.abc import Sequence
from itertools import islice

from regard.data.text import WORD, split_words
from regard.data.tokenizers import Tokenizer

ENDS = [".!?。！？", ";:；：", ",、，"]
"""What a part ends with, the best first; after these any blank, and in a word that is too long any character."""


SENTENCE = re.compile(r".*?(?:[.!?](?= )|[。！？]|\Z) *", re.DOTALL)
"""A sentence with the blanks behind it."""


def split_text(text: str, tokenizer: Tokenizer, max_length: int, usual_length: int | None = None) -> list[str]:
    """Return parts of at most `max_length` tokens; what has more than `usual_length` is cut into its sentences.

    A model of which `usual_length` is the longest source that it learned from, mostly of single sentences, stops in
    the middle of longer ones: of 36 short sentences in a line the demo's model translated two. A sentence that is
    longer stays whole, as long as the model can read it.
    """
    parts = split_long(text, tokenizer, max_length)
    if usual_length is None:
        return parts
    return [shorter for part in parts for shorter in split_sentences(part, tokenizer, usual_length)]


def split_sentences(text: str, tokenizer: Tokenizer, usual_length: int) -> list[str]:
    """Cut a text of more than `usual_length` tokens behind each sentence."""
    if len(tokenizer.encode(text).ids) <= usual_length:
        return [text]
    sentences = [sentence for sentence in SENTENCE.findall(text) if sentence]
    return [*(sentence.rstrip(" ") for sentence in sentences[:-1]), sentences[-1]]


def split_long(text: str, tokenizer: Tokenizer, max_length: int) -> list[str]:
    """Return parts of at most `max_length` tokens; a text that is short enough is one part.

    A cut falls behind the last sentence end that fits, else behind a semicolon or comma, else between words, else
    within a word. The blank at a cut is dropped. The work grows with the text's length, not with its square.
    """
    parts: list[str] = []
    start = 0
    while start < len(text) or not parts:
        end = longest_fit(text, start, tokenizer, max_length)
        if end < len(text):
            end = start + best_cut(text[start : end + 2], end - start)
        parts.append(text[start:end] if end == len(text) else text[start:end].rstrip(" "))
        start = end
        while text[start : start + 1] == " ":
            start += 1
    return parts


def longest_fit(text: str, start: int, tokenizer: Tokenizer, max_length: int) -> int:
    """Return where the longest piece from `start` ends that has at most `max_length` tokens: behind a word, if it can.

    A piece has one character at least.
    """
    size = 8 * max_length
    while True:
        window = text[start : start + size]
        encoding = tokenizer.encode(window)
        if len(encoding.ids) > max_length:
            break
        if start + size >= len(text):
            return len(text)
        size *= 2
    whole = encoding.words[max_length]  # so many words stand before the first token that is too many
    if whole > 0:
        end = next(islice(WORD.finditer(window), whole - 1, None)).end()
        if len(tokenizer.encode(window[:end]).ids) <= max_length:
            return start + end
    return start + longest_beginning(window, tokenizer, max_length)


def longest_beginning(text: str, tokenizer: Tokenizer, max_length: int) -> int:
    """Return how many characters, at least one, of a text that is too long have at most `max_length` tokens."""
    fits, too_many = 1, len(text)
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


def first_words(text: str, parts: Sequence[str]) -> list[int]:
    """Return for each part, of those that a text was cut into, which word of the text its first word is."""
    numbers: list[int] = []
    words = place = 0
    for part in parts:
        start = text.index(part, place)
        inside = bool(part) and start > 0 and WORD.fullmatch(text, start - 1, start + 1) is not None
        numbers.append(words - inside)
        words = numbers[-1] + len(split_words(part))
        place = start + len(part)
    return numbers
