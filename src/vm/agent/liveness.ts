/**
 * Ends waits that nobody else would end: whoever waits for something of a guest is rejected when the guest, or the process
 * in it, is gone. Unlike a race of promises it leaves nothing behind on the promise that lives long.
 */
export class Liveness {
  private error: Error | undefined;
  private readonly waiting = new Set<(error: Error) => void>();

  get failure(): Error | undefined {
    return this.error;
  }

  /** The first call wins; all that wait now or later are rejected with this error. */
  fail(error: Error): void {
    if (this.error !== undefined) return;
    this.error = error;
    for (const reject of this.waiting) reject(error);
    this.waiting.clear();
  }

  guard<T>(promise: Promise<T>): Promise<T> {
    if (this.error !== undefined) {
      promise.catch(() => {});
      return Promise.reject(this.error);
    }
    return new Promise((resolve, reject) => {
      this.waiting.add(reject);
      promise.then(resolve, reject).finally(() => this.waiting.delete(reject));
    });
  }
}
