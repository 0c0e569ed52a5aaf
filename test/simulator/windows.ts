/** The races that must have been played: points where somebody stood between two accesses to what others share, while others went on. */
export const RACE_WINDOWS: readonly { readonly at: string; readonly race: string }[] = [
  { at: 'fault:look', race: 'a fault has its leaf, and has not yet looked at the entry' },
  { at: 'fault:stamp', race: 'a frame is filled, and the page not yet stamped' },
  { at: 'fault:publish-zero', race: 'a zero page is stamped, and its entry not yet changed' },
  { at: 'fault:publish-copy', race: 'a shared page is copied, and its entry not yet changed' },
  { at: 'fault:drop-grants', race: 'the entry has changed, and old grants are still there' },
  { at: 'page:lose', race: 'a page is about to lose its content' },
  { at: 'page:drop-grants', race: 'the entry has lost its frame, and grants are still there' },
  { at: 'page:free', race: 'grants are gone, and the frame is in hands' },
  { at: 'refill:start', race: 'a VM has run out of handy frames' },
  { at: 'owner:waiting', race: 'a VM waits for memory' },
  { at: 'frame:retain-swap', race: 'a reference count was read, and not yet raised' },
  { at: 'frame:release-swap', race: 'a reference count was read, and not yet lowered' },
  { at: 'frame:convert-swap', race: 'a frame has one reference, and is not yet private' },
  { at: 'leaf:look', race: 'a shared leaf is about to be un-shared' },
  { at: 'leaf:drop', race: 'the copy of a leaf is in place, and the old one still referenced' },
  { at: 'hold:page', race: 'a hold has some of its pages' },
  { at: 'hold:release', race: 'a device is done, and its pages still held' },
  { at: 'io:dma', race: 'a device is about to write a held page' },
  { at: 'write:bytes', race: 'a page is secured for a loader, and not yet written' },
  { at: 'guest:store', race: 'a write grant was given, and not yet used' },
  { at: 'epoch:publish', race: 'held pages have the new stamp, and the epoch is the old one' },
  { at: 'epoch:drop-grants', race: 'the epoch is new, and old write grants are still there' },
  { at: 'absent:publish', race: 'an absent page has its bytes back, and its entry is still absent' },
  { at: 'return:system-call', race: 'frames are marked, and not yet given back to the host' },
  { at: 'accounts:wait', race: 'somebody waits for the accounts' },
  { at: 'chunks:wait', race: 'somebody waits for the chunk set' },
  { at: 'death:start', race: 'a VM is dying, and holds all it had' },
  { at: 'observe:again', race: 'a reader without locks has read a page, and not yet looked at its stamp again' },
];

export const VISITS_MIN = 1000;
export const SWITCHES_MEDIAN_MIN = 50;
