/**
 * What passes between a vCPU thread that wants regions translated and whoever translates them. All of it can be posted to another thread.
 *
 * A region is named by content: the domain, the bytes of its page, and the offset of its entry.
 */
export interface RegionRequest {
  /** The caller's; comes back with the answer. */
  readonly id: number;
  readonly domain: number;
  /** Of the bytes, to find them; they are compared. */
  readonly hash: number;
  /** 4096 bytes of code. */
  readonly code: Uint8Array<ArrayBuffer>;
  readonly entry: number;
  /** Who needs it. Only for counting. */
  readonly vm: number;
  /** It may be needed soon, by this one or another: to be made when there is time, and not to be answered. */
  readonly ahead: boolean;
}

export interface TranslatedRegion {
  readonly id: number;
  /** Null: nothing at this entry can be translated. */
  readonly module: WebAssembly.Module | null;
  /** The same for all answers with the same module. */
  readonly moduleId: number;
  /** Its export. */
  readonly name: string;
  /** Of WebAssembly, this region's part; of guest code. */
  readonly bytes: number;
  readonly codeBytes: number;
  /** The VM that it was made for. */
  readonly vm: number;
}

/** Answers come in any order, some time later. */
export interface TranslationService {
  request(request: RegionRequest): void;
  readonly hasAnswer: boolean;
  /** The next answer, if there is one. */
  take(): TranslatedRegion | undefined;
}
