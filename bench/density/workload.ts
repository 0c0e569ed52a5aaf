/** What the guests of the density benchmark do, the same in both systems: guest/programs/json-server.py. */
import { readFileSync } from 'node:fs';

export const GUEST_MIB = 256;
/** Of parsed JSON in each guest: alike everywhere, and its own. */
const ALIKE_MIB = 16;
const UNIQUE_MIB = 8;
/** Guests that boot at the same time. */
export const BATCH = 4;
/** Boot, making and parsing the JSON, first answers: longest for one batch. */
export const START_TIMEOUT_MS = 180_000;

export const PROGRAM_PATH = '/root/json-server.py';
export const program = (): Buffer => readFileSync(new URL('../../guest/programs/json-server.py', import.meta.url));

/** Shell: starts the program in the background. */
export const startCommand = (guest: string): string =>
  `ifconfig lo 127.0.0.1 up; setsid python3 ${PROGRAM_PATH} ${guest} ${ALIKE_MIB} ${UNIQUE_MIB} </dev/null >/run/json-server.log 2>&1 &`;
/** Shell: prints how many requests were answered; nothing before the first. */
export const SERVED_COMMAND = 'cat /run/served 2>/dev/null; true';

/** A system with some guests in it. All figures are bytes. */
export interface Population {
  readonly guests: number;
  /** Host memory that holds guest memory. */
  readonly guestBytes: number;
  /** Summed proportional set size of all processes of the system. */
  readonly processBytes: number;
  /** Requests that the guests answered, per guest and second. */
  readonly answersPerSecond: number;
}

/** Guests that one more GiB has room for, from two populations. */
export function guestsPerGib([few, many]: readonly [Population, Population]): number {
  return 2 ** 30 / ((many.processBytes - few.processBytes) / (many.guests - few.guests));
}

export const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
export const say = (text: string): void =>
  void process.stderr.write(`${(performance.now() / 1000).toFixed(0).padStart(5)} s  ${text}\n`);
