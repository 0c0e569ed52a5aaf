"""What a guest of the density benchmark does: holds parsed JSON, and answers one request a second about it.

    python3 json-server.py GUEST ALIKE_MIB UNIQUE_MIB

Everything is of Python's standard library, and the same in every system that is compared. The JSON is made here, part by part, from
seeds: ALIKE_MIB of it from seeds that all guests have, UNIQUE_MIB from seeds of this guest's own. A part is a text of 1 MiB; it is parsed
by json.loads and dropped, so what stays is the objects. A record is a dictionary with a few short fields and one text of 16 KiB,
hexadecimal of pseudo-random bytes: no two are alike, and none can be compressed to less than half.

There is no network in the guest, so the client is a loop here too: a request over 127.0.0.1 each second, for the next record. The number of
those that were answered right stands in /run/served.
"""

import http.client
import http.server
import json
import os
import random
import sys
import threading
import time

PART_BYTES = 1 << 20
BODY_BYTES = 16 << 10
PORT = 8080


def make_part(seed):
    """Text of 1 MiB: a list of records."""
    source = random.Random(seed)
    records = []
    for number in range(PART_BYTES // BODY_BYTES):
        record = '{"id":"%s-%d","kind":"note","size":%d,"tags":["part","%s"],"body":"%s"}'
        records.append(record % (seed, number, BODY_BYTES, seed, source.randbytes(BODY_BYTES // 2).hex()))
    return "[" + ",".join(records) + "]"


guest, alike, unique = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
seeds = ["all-%d" % part for part in range(alike)] + ["%s-%d" % (guest, part) for part in range(unique)]
records = [record for seed in seeds for record in json.loads(make_part(seed))]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answer = json.dumps(records[int(self.path[1:])]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", PORT), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
served = os.open("/run/served", os.O_RDWR | os.O_CREAT)
count = 0
while True:
    os.pwrite(served, b"%d\n" % count, 0)
    time.sleep(1)
    number = count % len(records)
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    connection.request("GET", "/%d" % number)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    if len(answer["body"]) != BODY_BYTES:
        sys.exit("a record came back wrong")
    count += 1
