/**
 * As much of telnet (RFC 854) as the guest's pseudo-terminal server speaks over its port: 255 is doubled, a lone carriage
 * return is followed by NUL, window sizes go as an option (RFC 1073), and its own negotiation is swallowed.
 */
const IAC = 255;
const SUB_NEGOTIATION = 250;
const SUB_NEGOTIATION_END = 240;
const WILL = 251;
const DONT = 254;
const WINDOW_SIZE = 31;
const CARRIAGE_RETURN = 13;

export function encodeTerminalInput(data: Uint8Array): Uint8Array {
  let extra = 0;
  for (const byte of data) if (byte === IAC || byte === CARRIAGE_RETURN) extra++;
  if (extra === 0) return data;
  const encoded = new Uint8Array(data.length + extra);
  let at = 0;
  for (const byte of data) {
    encoded[at++] = byte;
    if (byte === IAC) encoded[at++] = IAC;
    else if (byte === CARRIAGE_RETURN) encoded[at++] = 0;
  }
  return encoded;
}

export function encodeWindowSize(columns: number, rows: number): Uint8Array {
  // A byte of 255 would have to be doubled, which busybox does not undo here: one character less does no harm.
  const size = [columns >> 8, columns & 255, rows >> 8, rows & 255].map((byte) => Math.min(byte, IAC - 1));
  return Uint8Array.from([IAC, SUB_NEGOTIATION, WINDOW_SIZE, ...size, IAC, SUB_NEGOTIATION_END]);
}

/** The server greets with an empty line, which is not the command's. */
const GREETING = [13, 13, 10];

/** Takes the terminal's bytes out of the stream; a command may be split over chunks. */
export class TelnetDecoder {
  private state: 'data' | 'command' | 'option' | 'sub' | 'sub-command' = 'data';
  private greetingBytes = 0;

  decode(chunk: Uint8Array): Uint8Array {
    if (this.state === 'data' && this.greetingBytes >= GREETING.length && !chunk.includes(IAC)) return chunk;
    const out = new Uint8Array(chunk.length);
    let length = 0;
    for (const byte of chunk) if (this.step(byte)) out[length++] = byte;
    return out.subarray(0, length);
  }

  /** True when the byte is the terminal's. */
  private step(byte: number): boolean {
    switch (this.state) {
      case 'data':
        if (byte === IAC) this.state = 'command';
        return byte !== IAC && !this.isGreeting(byte);
      case 'command':
        if (byte >= WILL && byte <= DONT) this.state = 'option';
        else this.state = byte === SUB_NEGOTIATION ? 'sub' : 'data';
        return byte === IAC;
      case 'option':
        this.state = 'data';
        return false;
      case 'sub':
        if (byte === IAC) this.state = 'sub-command';
        return false;
      case 'sub-command':
        this.state = byte === SUB_NEGOTIATION_END ? 'data' : 'sub';
        return false;
    }
  }

  private isGreeting(byte: number): boolean {
    if (byte === GREETING[this.greetingBytes]) {
      this.greetingBytes++;
      return true;
    }
    this.greetingBytes = GREETING.length;
    return false;
  }
}
