/** Image files, writable layers and sharing domains of a pool's machines. Runs on the main thread. */
import { ShoalError } from '../base/errors.ts';
import type { ImageStore, LayerFile, SharedImage } from '../disk/index.ts';
import { DOMAIN_MAX } from '../host-memory/index.ts';
import { KERNEL_HEADER_BYTES, kernelImageSize } from './boot/kernel-image.ts';
import { createRequestQueue } from './request-queue.ts';
import type { Opened } from './snapshot-thread/messages.ts';
import { SpareLayers } from './spare-layers.ts';
import type { VmConfig } from './types.ts';
import type { DiskSpec, MachineSpec } from './vcpu-thread/messages.ts';

/** What is open for one machine. */
export interface MachineFiles {
  readonly images: readonly SharedImage[];
  readonly layers: LayerFile[];
}

/** A snapshot that a machine is restored from. */
export interface SnapshotSource {
  readonly folder: string;
  readonly opened: Opened;
  /** It stays open when its machines are gone. */
  readonly keepOpen: boolean;
}

export class PoolFiles {
  readonly images: ImageStore;
  readonly layers = new SpareLayers();
  readonly #drop: (image: SharedImage) => void;
  readonly #domains = new Map<string, number>();
  /** A snapshot that stays open. */
  #kept: SharedImage | null = null;
  #onImages: (images: readonly SharedImage[]) => void = () => {};

  /** `drop` has a vCPU thread let go of an image's cached pages. */
  constructor(images: ImageStore, drop: (image: SharedImage) => void) {
    this.images = images;
    this.#drop = drop;
  }

  /** `listener` is called with the open images, now and whenever they change. */
  onImages(listener: (images: readonly SharedImage[]) => void): void {
    this.#onImages = listener;
    listener(this.images.all());
  }

  /** The number of a sharing domain. @throws ShoalError `bad-argument` when there are too many */
  domain(name: string): number {
    const known = this.#domains.get(name);
    if (known !== undefined) return known;
    const number = this.#domains.size;
    if (number > DOMAIN_MAX) throw new ShoalError('bad-argument', `A pool has at most ${DOMAIN_MAX + 1} sharing domains.`);
    this.#domains.set(name, number);
    return number;
  }

  /**
   * Opens all that a machine is made of, and makes its writable layers. Nothing is left open when that fails.
   * @throws ShoalError `bad-disk`, `bad-argument`, `no-space`; `no-memory` for more pages of images than can be numbered
   */
  async open(vm: number, config: VmConfig, source?: SnapshotSource): Promise<MachineFiles & { readonly spec: MachineSpec }> {
    const domain = this.domain(config.domain);
    const images: SharedImage[] = [];
    const layers: LayerFile[] = [];
    const open = (path: string): SharedImage => {
      const image = this.images.open(path, domain);
      images.push(image);
      return image;
    };
    try {
      const kernel = open(config.kernel);
      const header = this.images.readHeader(kernel, KERNEL_HEADER_BYTES);
      const snapshot = source && (await this.#openSnapshot(source, domain));
      if (snapshot) images.push(snapshot);
      const disks = config.disks.map((disk, index): DiskSpec => {
        const image = open(disk.image);
        if (!disk.writable) return { image };
        const layer = this.layers.take(image.bytes);
        layers.push(layer);
        const saved = source?.opened.disks[index];
        return { image, layer, ...(snapshot && saved && { saved: { image: snapshot, ...saved } }) };
      });
      const spec: MachineSpec = {
        vm,
        memoryBytes: config.memoryBytes,
        kernel,
        kernelImageSize: kernelImageSize(header, kernel.bytes, config.kernel),
        ...(config.initrd && { initrd: open(config.initrd) }),
        commandLine: config.commandLine,
        disks,
        ...(snapshot && { snapshot }),
        domain,
        requests: createRequestQueue(),
      };
      this.#onImages(this.images.all());
      return { spec, images, layers };
    } catch (error) {
      this.close({ images, layers });
      throw error;
    }
  }

  async #openSnapshot({ folder, opened, keepOpen }: SnapshotSource, domain: number): Promise<SharedImage> {
    const snapshot = await this.images.openSnapshot(folder, opened.id, opened.pages, domain);
    if (snapshot.firstNumber >= 0) {
      if (keepOpen) this.#keep(snapshot);
      return snapshot;
    }
    this.close({ images: [snapshot], layers: [] });
    throw new ShoalError('no-memory', 'So many images and snapshots are open that this one cannot be, too; remove a machine.');
  }

  #keep(snapshot: SharedImage): void {
    if (this.#kept === snapshot) return;
    this.images.share(snapshot);
    this.#releaseKept();
    this.#kept = snapshot;
  }

  /** Nothing stays open that no machine uses. */
  release(): void {
    this.layers.release();
    this.#releaseKept();
  }

  #releaseKept(): void {
    const kept = this.#kept;
    this.#kept = null;
    if (kept) this.close({ images: [kept], layers: [] });
  }

  close({ images, layers }: MachineFiles): void {
    for (const layer of layers) layer.close();
    for (const image of images) {
      if (!this.images.close(image)) continue;
      this.#drop(image);
      this.images.forget(image);
    }
    this.#onImages(this.images.all());
  }
}
