/** Time passes only when it is read, so that a schedule replays exactly. */
let ticks = 0;

export const nowMs = (): number => ticks++;
