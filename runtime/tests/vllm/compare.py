#!/usr/bin/env python3
"""Sends prompts with shared beginnings through the gateway, and some of them to an engine directly.

    compare.py GATEWAY ENGINE ENGINE REQUESTS

Prints how many answers equal the engine's own, and what the engines say of their prompts' tokens. Only the standard
library is needed.
"""
import json
import random
import re
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor


def complete(url, prompt, salt=None):
    body = {"model": "tiny", "prompt": prompt, "max_tokens": 8, "temperature": 0, "stream": True, "ignore_eos": True,
            "stream_options": {"include_usage": True}}
    if salt:
        body["cache_salt"] = salt
    request = urllib.request.Request(
        url + "/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"})
    text, usage, began, first = "", {}, time.time(), None
    with urllib.request.urlopen(request, timeout=300) as answer:
        for line in answer:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            for choice in chunk["choices"]:
                first = first or time.time() - began
                text += choice["text"]
            usage = chunk.get("usage") or usage
    return text, usage, first


def sources(url):
    text = urllib.request.urlopen(url + "/metrics", timeout=30).read().decode()
    found = re.findall(r'vllm:prompt_tokens_by_source_total\{[^}]*source="(\w+)"[^}]*\} (\S+)', text)
    return {source: float(value) for source, value in found}


def main():
    gateway, engines, count = sys.argv[1], sys.argv[2:4], int(sys.argv[4])
    draw = random.Random(11)
    token = lambda: draw.randrange(300, 4000)
    systems = [[token() for _ in range(256)] for _ in range(3)]
    chats = [draw.choice(systems) + [token() for _ in range(draw.randrange(50, 400))] for _ in range(40)]
    prompts = []
    for number in range(count):
        chat = draw.choice(chats)
        chat.extend(token() for _ in range(draw.randrange(5, 60)))
        prompts.append((list(chat[:3000]), "tenantA" if number % 10 == 9 else None))
    before = [sources(engine) for engine in engines]
    began = time.time()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda prompt: complete(gateway, *prompt), prompts))
    took = time.time() - began
    first = sorted(answer[2] for answer in answers)
    cached = sum(usage["prompt_tokens_details"]["cached_tokens"] for _, usage, _ in answers)
    asked = sum(usage["prompt_tokens"] for _, usage, _ in answers)
    print(f"{count} requests in {took:.0f} s, time to first token p50 {first[count // 2]:.3f} s, p90 {first[count * 9 // 10]:.3f} s")
    print(f"the gateway thought {cached} of {asked} prompt tokens cached")
    after = [sources(engine) for engine in engines]
    for engine, old, new in zip(engines, before, after):
        print(engine, {source: int(new[source] - old.get(source, 0)) for source in new})
    said = sum(new.get("local_cache_hit", 0) - old.get("local_cache_hit", 0) for old, new in zip(before, after))
    print(f"the engines say {int(said)} were")
    sample = list(range(0, count, max(1, count // 20)))
    same = sum(complete(engines[0], *prompts[number])[0] == answers[number][0] for number in sample)
    print(f"{same} of {len(sample)} answers equal one engine's own")
    assert all(len(text) > 0 for text, _, _ in answers)


main()
