/** What other layers may use of the disks: image files and their shared pages, writable layers, and the I/O thread. */
export { Disk, indexInSaved, type SavedPart } from './disk.ts';
export { ImageStore } from './image-store.ts';
export { type Doorbell, type IoChannel, KIND_READ } from './io/channel.ts';
export { IoClient } from './io/client.ts';
export { fileCheck } from './io/file-check.ts';
export { IoThread } from './io/thread.ts';
export { createLayer, type LayerFile, type SealedLayer } from './layer.ts';
export { mergeLayers } from './merge-layers.ts';
export { PageCache } from './page-cache.ts';
export {
  imagePageCount,
  pageOfNumber,
  releaseUnmapped,
  replaceFrame,
  residentPages,
  type SharedImage,
  takeUnmapped,
} from './shared-image.ts';
