/** Regions that have been translated, by content: who asks for one that is known gets the same module. */
import { type Flow, findFlow } from './blocks.ts';
import { buildRegions } from './module.ts';
import type { RegionRequest, TranslatedRegion } from './service.ts';

/** Instructions of a region, about. */
const INSTRUCTIONS_MAX = 400;
/** Of WebAssembly in the library. What has gone from it lives on where it is loaded. */
const BYTES_MAX = 64 * 2 ** 20;

/** Bytes of a page of code, and what was made of them. */
interface Known {
  readonly domain: number;
  readonly code: Uint8Array;
  readonly regions: Map<number, Made>;
}
type Made = Omit<TranslatedRegion, 'id'>;

export class RegionLibrary {
  /** By hash; the oldest first. */
  readonly #known = new Map<number, Known[]>();
  readonly #bytesMax: number;
  #modules = 0;
  /** Of WebAssembly, of all that is known. */
  bytes = 0;
  /** Regions that were made, and that were there already when they were asked for. */
  regions = 0;
  hits = 0;

  constructor(bytesMax = BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  /** One answer for each request, in order. Those that are new become one module. */
  translate(requests: readonly RegionRequest[]): TranslatedRegion[] {
    const flows: Flow[] = [];
    const moduleId = this.#modules++;
    const made = requests.map((request): Made | number => {
      const known = this.#find(request).regions.get(request.entry);
      if (known) {
        this.hits++;
        return known;
      }
      const { code, entry } = request;
      const flow = findFlow(new DataView(code.buffer, code.byteOffset, code.length), entry, INSTRUCTIONS_MAX);
      return flow ? flows.push(flow) - 1 : { module: null, moduleId, name: '', bytes: 0 };
    });
    const { module, bytes } = build(flows);
    const answers = requests.map((request, i) => {
      const one = made[i] as Made | number;
      if (typeof one !== 'number') return { id: request.id, ...one };
      const region = { module, moduleId, name: `r${one}`, bytes };
      this.#find(request).regions.set(request.entry, region);
      this.regions++;
      this.bytes += bytes;
      return { id: request.id, ...region };
    });
    while (this.bytes > this.#bytesMax && this.#known.size > 1) this.#forgetOldest();
    return answers;
  }

  #find({ domain, hash, code }: RegionRequest): Known {
    const alike = this.#known.get(hash) ?? [];
    const found = alike.find((known) => known.domain === domain && Buffer.compare(known.code, code) === 0);
    if (found) return found;
    const known = { domain, code, regions: new Map<number, Made>() };
    this.#known.set(hash, [...alike, known]);
    return known;
  }

  #forgetOldest(): void {
    const [oldest] = this.#known;
    if (!oldest) return;
    const [hash, alike] = oldest;
    this.#known.delete(hash);
    for (const { regions } of alike) for (const { bytes } of regions.values()) this.bytes -= bytes;
  }
}

/** `bytes`: of one of the regions, on the average. */
function build(flows: readonly Flow[]): { module: WebAssembly.Module | null; bytes: number } {
  if (flows.length === 0) return { module: null, bytes: 0 };
  const code = buildRegions(flows);
  return { module: new WebAssembly.Module(code), bytes: Math.ceil(code.length / flows.length) };
}
