/** Regions that have been translated, by content: who asks for one that is known gets the same module. */
import { codeBytesOf, type Flow, findFlow } from './blocks.ts';
import { buildRegions } from './module.ts';
import type { RegionRequest, TranslatedRegion } from './service.ts';

/** Instructions of a region, about. */
const INSTRUCTIONS_MAX = 400;
/** Of the library. What has gone from it lives on where it is loaded. */
const BYTES_MAX = 64 * 2 ** 20;

/** Bytes of a page of code, and what was made of them. */
interface Known {
  readonly domain: number;
  readonly code: Uint8Array;
  readonly regions: Map<number, Made>;
}
type Made = { -readonly [Field in keyof Omit<TranslatedRegion, 'id'>]: TranslatedRegion[Field] };

export class RegionLibrary {
  /** By hash; the oldest first. */
  readonly #known = new Map<number, Known[]>();
  readonly #bytesMax: number;
  #modules = 0;
  /** Of WebAssembly, of all that is known, and of the code that it is known by. */
  bytes = 0;
  /** Regions that were made, and that were there already when they were asked for. */
  regions = 0;
  hits = 0;

  constructor(bytesMax = BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  /** One answer for each request, in order. Those that are new become one module. */
  translate(requests: readonly RegionRequest[]): TranslatedRegion[] {
    const moduleId = this.#modules++;
    const flows: Flow[] = [];
    const made: Made[] = [];
    const answers = requests.map((request): Made => {
      const { regions } = this.#find(request);
      const before = regions.get(request.entry);
      if (before) {
        this.hits++;
        return before;
      }
      const region: Made = { module: null, moduleId, name: '', bytes: 0, codeBytes: 0, vm: request.vm };
      regions.set(request.entry, region);
      const { code, entry } = request;
      const flow = findFlow(new DataView(code.buffer, code.byteOffset, code.length), entry, INSTRUCTIONS_MAX);
      if (flow) {
        region.name = `r${flows.length}`;
        region.codeBytes = codeBytesOf(flow);
        flows.push(flow);
        made.push(region);
      }
      return region;
    });
    const { module, bytes } = build(flows);
    for (const region of made) {
      Object.assign(region, { module, bytes });
      this.regions++;
      this.bytes += bytes;
    }
    while (this.bytes > this.#bytesMax && this.#known.size > 1) this.#forgetOldest();
    return answers.map((region, i) => ({ ...region, id: requests[i].id }));
  }

  #find({ domain, hash, code }: RegionRequest): Known {
    const alike = this.#known.get(hash) ?? [];
    const found = alike.find((known) => known.domain === domain && Buffer.compare(known.code, code) === 0);
    if (found) return found;
    const known = { domain, code, regions: new Map<number, Made>() };
    this.#known.set(hash, [...alike, known]);
    this.bytes += code.length;
    return known;
  }

  #forgetOldest(): void {
    const [oldest] = this.#known;
    if (!oldest) return;
    const [hash, alike] = oldest;
    this.#known.delete(hash);
    for (const { code, regions } of alike) {
      this.bytes -= code.length;
      for (const { bytes } of regions.values()) this.bytes -= bytes;
    }
  }
}

/** `bytes`: of one of the regions, on the average. */
function build(flows: readonly Flow[]): { module: WebAssembly.Module | null; bytes: number } {
  if (flows.length === 0) return { module: null, bytes: 0 };
  const code = buildRegions(flows);
  return { module: new WebAssembly.Module(code), bytes: Math.ceil(code.length / flows.length) };
}
