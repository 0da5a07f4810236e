"""Links between words: from weights, from word tables, judged by gold."""
