"""The item `python`: what scripts do with dictionaries, text, lists and JSON. Prints as items does (main.c)."""

import json
import time

ROUNDS = 10
RECORDS = 1500


def make_records(seed):
    """Records as a log has them, the same on every machine."""
    records = []
    for number in range(RECORDS):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        user = "user%d" % (seed % 97)
        words = ["w%x" % (seed >> shift & 255) for shift in (3, 7, 11, 15)]
        records.append({"id": number, "user": user, "bytes": seed % 5000, "tags": words[: 1 + seed % 4], "text": " ".join(words)})
    return records


def count_words(records):
    counts = {}
    for record in records:
        for word in record["text"].split():
            counts[word] = counts.get(word, 0) + 1
    return counts


class Totals:
    def __init__(self):
        self.bytes = {}
        self.tags = set()

    def add(self, record):
        self.bytes[record["user"]] = self.bytes.get(record["user"], 0) + record["bytes"]
        self.tags.update(record["tags"])


def primes(limit):
    sieve = [True] * limit
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            for multiple in range(number * number, limit, number):
                sieve[multiple] = False
    return sum(sieve)


def work():
    checksum = 0
    for number in range(ROUNDS):
        text = json.dumps(make_records(number + 1))
        records = json.loads(text)
        totals = Totals()
        for record in records:
            totals.add(record)
        counts = count_words(records)
        ranking = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
        line = "|".join("%s=%d" % (word.upper(), count) for word, count in ranking[:200])
        for value in (len(text), sum(totals.bytes.values()), len(totals.tags), len(line.replace("W", "word ").split()), primes(5000)):
            checksum = (checksum * 31 + value) & 0xFFFFFFFFFFFFFFFF
        for character in line:
            checksum = (checksum * 31 + ord(character)) & 0xFFFFFFFFFFFFFFFF
    return checksum


print("begin python", flush=True)
start = time.monotonic_ns()
result = work()
taken = time.monotonic_ns() - start
print("end python %d %016x" % (taken, result), flush=True)
