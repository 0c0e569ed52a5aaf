/** What the user of the screen has chosen by keys: the column to sort by, which way round, how far down. */
import { SORT_KEYS, type SortKey } from './columns.ts';

export class Choice {
  sort: SortKey;
  reverse = false;
  offset = 0;

  constructor(sort: SortKey) {
    this.sort = sort;
  }

  /** False: the key means nothing here. */
  onKey(key: string, machines: number): boolean {
    switch (key) {
      case 's':
      case 'right':
        this.sort = SORT_KEYS[(SORT_KEYS.indexOf(this.sort) + 1) % SORT_KEYS.length];
        return true;
      case 'shift-s':
      case 'left':
        this.sort = SORT_KEYS.at(SORT_KEYS.indexOf(this.sort) - 1) as SortKey;
        return true;
      case 'r':
        this.reverse = !this.reverse;
        return true;
      case 'down':
      case 'j':
        this.offset = Math.min(this.offset + 1, Math.max(0, machines - 1));
        return true;
      case 'up':
      case 'k':
        this.offset = Math.max(0, this.offset - 1);
        return true;
      default:
        return false;
    }
  }
}
