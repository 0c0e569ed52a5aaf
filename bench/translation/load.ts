/** What guests are busy with: short pieces of everything that busybox has, so that much different code is hot, and none of it for long. */

/** Text to work on, about 40 KiB, and what is done with it. */
const TEXT = 'seq 1 4000 | sed "s/$/ lorem ipsum dolor/" > /tmp/t';
const PIECES = [
  'sort -r /tmp/t | sort -n -k1 > /tmp/o',
  'sha256sum /tmp/t',
  'sha512sum /tmp/t',
  'md5sum /tmp/t',
  'sha1sum /tmp/t; cksum /tmp/t',
  'gzip -c /tmp/t | gunzip > /tmp/o',
  'bzip2 -c /tmp/t | bunzip2 > /tmp/o',
  'awk \'{ s += $1 * $1 % 7; n[$2]++ } END { print s, n["lorem"] }\' /tmp/t',
  "sed -e 's/lorem/LOREM/g' -e 's/\\([0-9]*\\) \\(.*\\)/\\2 \\1/' /tmp/t > /tmp/o",
  "grep -E '(1|3)+5.*dolor$' /tmp/t | wc",
  "tr a-z A-Z < /tmp/t | tr -d AEIOU | cut -d' ' -f2- | uniq -c",
  'od -x /tmp/t | tail -n 1; hexdump -C /tmp/t | tail -n 1',
  'base64 /tmp/t | base64 -d | cmp - /tmp/t',
  'tar c /tmp/t | tar t',
  'find / -xdev -name "*a*" | wc -l',
  'i=0; while [ $i -lt 1000 ]; do i=$((i + 1)); [ $((i % 3)) = 0 ] && x="$x$i"; case "$x" in *999*) x=; esac; done',
  'i=0; while [ $i -lt 20 ]; do i=$((i + 1)); (exit 0); ls -l / > /dev/null; done',
  'dd if=/dev/urandom of=/tmp/r bs=4k count=20; dd if=/tmp/r of=/tmp/o bs=512; diff /tmp/r /tmp/o',
  'factor 1234567891011 99999999977; expr 7 \\* 191 % 13; printf "%08.3f %x\\n" 3.25 255',
  'ps; df; free; uptime; mount',
];

/** A command for `sh`, for so many seconds of the guest's clock. Each guest begins at another piece. */
export function busyCommand(guest: number, seconds: number): string {
  const pieces = PIECES.map((_, i) => PIECES[(guest * 7 + i) % PIECES.length]);
  const body = pieces.map((piece) => `{ ${piece}; } > /dev/null 2>&1; [ $(date +%s) -lt $end ] || exit 0`).join('\n');
  return `end=$(($(date +%s) + ${seconds})); ${TEXT}\nwhile :; do\n${body}\ndone`;
}
