#!/usr/bin/env python3
"""Sends the requests whose KV events are recorded: prompts with shared beginnings, two salts, and more blocks than fit.

    requests.py URL FROM TO      requests FROM..TO of a fixed list, one after the other

Only the standard library is needed. The list is the same every time, so that every engine has the same blocks.
"""
import json
import random
import sys
import urllib.request


def prompts():
    """Prompts of token numbers, each with the salt of its client."""
    draw = random.Random(7)
    token = lambda: draw.randrange(300, 4000)
    system = [token() for _ in range(256)]
    chats = [[token() for _ in range(draw.randrange(100, 900))] for _ in range(10)]
    for turn in range(40):
        chat = draw.choice(chats)
        if turn % 5 == 4:
            chat.extend(token() for _ in range(draw.randrange(40, 200)))
        salt = {7: "tenantA", 8: "tenantB"}.get(turn % 10)
        yield system + list(chat), salt


def main():
    url, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    for number, (prompt, salt) in enumerate(prompts()):
        if not first <= number < last:
            continue
        body = {"model": "tiny", "prompt": prompt, "max_tokens": 4, "temperature": 0, "ignore_eos": True}
        if salt:
            body["cache_salt"] = salt
        request = urllib.request.Request(
            url + "/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            assert answer.status == 200
            answer.read()


main()
