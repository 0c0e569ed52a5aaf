/**
 * The snapshots that the I/O thread reads pages of. Each is opened once, and keeps its packs open, so that nobody who removes or prunes takes anything from a
 * machine. A page that cannot be read fails its operation alone; the next one opens the snapshot anew, should the pack be back.
 */
import { assert } from '../../base/assert.ts';
import { ShoalError } from '../../base/errors.ts';
import { PAGE_SIZE } from '../../base/numbers.ts';
import { type SnapshotReader, SnapshotStore } from '../../snapshot/index.ts';
import type { FromIo } from './channel.ts';

interface Place {
  readonly folder: string;
  readonly id: string;
}

interface Open extends Place {
  reader: SnapshotReader;
}

export class SnapshotReads {
  readonly #open = new Map<number, Open>();

  /** Whatever is wrong with it fails this one alone: the thread serves all machines. */
  open({ file, folder, id }: Place & { readonly file: number }): Pick<FromIo, 'error'> {
    try {
      this.#open.set(file, { folder, id, reader: readerOf({ folder, id }) });
      return {};
    } catch (error) {
      const problem =
        error instanceof ShoalError
          ? error
          : new ShoalError('bad-snapshot', `The snapshot ${id} cannot be opened: ${String(error)}.`);
      return { error: { code: problem.code, message: problem.message } };
    }
  }

  close(file: number): void {
    this.#open.get(file)?.reader.close();
    this.#open.delete(file);
  }

  /** Fills whole pages from byte `offset` on. @throws ShoalError `bad-snapshot`, never wrong bytes; `bad-argument` beyond its end; `not-found` */
  read(file: number, offset: number, pages: readonly Uint8Array[]): void {
    const open = this.#open.get(file);
    if (!open) throw new ShoalError('not-found', 'A snapshot is read that is not open.');
    for (const [i, into] of pages.entries()) {
      assert(into.length === PAGE_SIZE, 'a snapshot is read page by page');
      try {
        fill(open.reader, offset / PAGE_SIZE + i, into);
      } catch (error) {
        if (!(error instanceof ShoalError) || error.code !== 'bad-snapshot') throw error;
        this.#reopen(open, error);
        fill(open.reader, offset / PAGE_SIZE + i, into);
      }
    }
  }

  /** Its files may have been put back since they were opened. @throws what was wrong before when they were not */
  #reopen(open: Open, problem: ShoalError): void {
    let reader: SnapshotReader;
    try {
      reader = readerOf(open);
    } catch {
      throw problem;
    }
    open.reader.close();
    open.reader = reader;
  }
}

const readerOf = ({ folder, id }: Place): SnapshotReader => SnapshotStore.open(folder, { create: false, tidy: false }).read(id);

function fill(reader: SnapshotReader, page: number, into: Uint8Array): void {
  const location = reader.pageAt(page);
  if (typeof location === 'string') into.fill(0);
  else into.set(reader.readPage(location));
}
