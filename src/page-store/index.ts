/** What other layers may use of the page store: compressed pages in the arena, and the swap file. */
export { StoreReader } from './store-reader.ts';
export { createStoreTable, isStoreHandle, storeCounters } from './store-table.ts';
export { StoreWriter } from './store-writer.ts';
export {
  createSwapFile,
  type OpenSwapFile,
  type StoreSetup,
  SwapFileDevice,
  type SwapOptions,
} from './swap-file.ts';
