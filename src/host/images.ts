/** Images for the layers above, loaded when first used: a client that only talks to a host pays nothing for the builder. */
import type {
  buildImage as Build,
  exportImage as Export,
  importImage as Import,
  listImages as List,
  removeImage as Remove,
  resolveImage as Resolve,
} from '../images/index.ts';

const load = () => import('../images/index.ts');

export const buildImage: typeof Build = async (...args) => (await load()).buildImage(...args);
export const listImages: typeof List = async (...args) => (await load()).listImages(...args);
export const importImage: typeof Import = async (...args) => (await load()).importImage(...args);
export const exportImage: typeof Export = async (...args) => (await load()).exportImage(...args);
export const resolveImage: typeof Resolve = async (...args) => (await load()).resolveImage(...args);
export const removeImage: typeof Remove = async (...args) => (await load()).removeImage(...args);

/** What can be built. */
export async function imageRecipes(): Promise<readonly { readonly name: string; readonly description: string }[]> {
  return (await load()).IMAGE_RECIPES;
}
