/** Images: bundles of kernel, initramfs and disk that guests start from. */
export type { ImageFile } from './manifest.ts';
export type { ImageOptions, ImageProgress, ImageStep } from './progress.ts';
export {
  buildImage,
  exportImage,
  IMAGE_RECIPES,
  type ImageInfo,
  importImage,
  listImages,
  type ResolvedImage,
  removeImage,
  resolveImage,
} from './store.ts';
