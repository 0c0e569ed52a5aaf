/**
 * Operations that can stop between any two accesses to shared memory.
 *
 * A multi-step operation is a generator that yields the name of the point it stands at, just before it touches what
 * others may change. Production runs it to the end (`HostMemory.run`); the seeded simulator decides at each point who
 * goes next. Names are `subject:what`, and a simulator's report counts visits by name.
 */
export type Steps<Result> = Generator<string, Result, void>;

/** Yielded while a mutex is not to be had; the driver blocks on its word. */
export const WAIT_ACCOUNTS = 'accounts:wait';
export const WAIT_CHUNKS = 'chunks:wait';
