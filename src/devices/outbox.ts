/**
 * The way out of a machine: every effect that the world could see (console output, disk writes) is posted here first.
 *
 * Normally an effect happens at once. While the outbox is held, effects queue in order and happen at the release:
 * a mirrored machine must show nothing that its copy could not repeat. A sink that has no room stalls its own
 * stream and no other.
 */

/** Does the effect, or returns false: no room now. */
export type Effect = () => boolean;

/** Bytes that one stream may have queued; then it refuses, and its guest waits. */
export const STREAM_BYTES_MAX = 1024 * 1024;

interface Entry {
  readonly stream: OutboxStream;
  readonly bytes: number;
  readonly effect: Effect;
}

export class Outbox {
  #held = false;
  #queue: Entry[] = [];

  get held(): boolean {
    return this.#held;
  }

  /** Effects that were posted and have not happened. */
  get queued(): number {
    return this.#queue.length;
  }

  /** A stream keeps its own order. `onRoom` is called after a refusal, when posting is worth trying again. */
  stream(onRoom: () => void): OutboxStream {
    return new OutboxStream(this, onRoom);
  }

  hold(): void {
    this.#held = true;
  }

  release(): void {
    this.#held = false;
    this.deliver();
  }

  /** Forgets what is queued: the machine was reset or powered off before it was released. */
  clear(): void {
    for (const entry of this.#queue) entry.stream.reset();
    this.#queue = [];
  }

  /** @internal The stream's half of `post`. */
  enqueue(entry: Entry): void {
    this.#queue.push(entry);
  }

  /** @internal Lets queued effects happen, oldest first; a stalled stream is passed over. */
  deliver(): void {
    if (this.#held || this.#queue.length === 0) return;
    const stalled = new Set<OutboxStream>();
    const done = new Set<OutboxStream>();
    this.#queue = this.#queue.filter((entry) => {
      if (stalled.has(entry.stream)) return true;
      if (!entry.effect()) {
        stalled.add(entry.stream);
        return true;
      }
      entry.stream.queuedBytes -= entry.bytes;
      done.add(entry.stream);
      return false;
    });
    for (const stream of done) if (!stalled.has(stream)) stream.room();
  }
}

export class OutboxStream {
  /** @internal */
  queuedBytes = 0;
  readonly #outbox: Outbox;
  readonly #onRoom: () => void;
  #queuedCount = 0;
  #refused = false;

  constructor(outbox: Outbox, onRoom: () => void) {
    this.#outbox = outbox;
    this.#onRoom = onRoom;
  }

  /** Does the effect now or later. False: neither, there is no room; `onRoom` says when to try again. */
  post(bytes: number, effect: Effect): boolean {
    if (!this.#outbox.held && this.#queuedCount === 0) {
      if (effect()) return true;
      this.#refused = true;
      return false;
    }
    if (this.queuedBytes + bytes > STREAM_BYTES_MAX) {
      this.#refused = true;
      return false;
    }
    this.queuedBytes += bytes;
    this.#queuedCount++;
    this.#outbox.enqueue({ stream: this, bytes, effect: () => this.#happen(effect) });
    return true;
  }

  /** The sink has room again. */
  resume(): void {
    if (this.#queuedCount > 0) this.#outbox.deliver();
    else this.room();
  }

  /** @internal Its effects were forgotten. */
  reset(): void {
    this.#queuedCount = 0;
    this.queuedBytes = 0;
    this.#refused = false;
  }

  /** @internal */
  room(): void {
    if (!this.#refused || this.#queuedCount > 0) return;
    this.#refused = false;
    this.#onRoom();
  }

  #happen(effect: Effect): boolean {
    if (!effect()) return false;
    this.#queuedCount--;
    return true;
  }
}
