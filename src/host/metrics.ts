/**
 * The host's numbers in Prometheus' text format. Made anew for each scrape from one overview, so a machine that is gone has no series and a
 * counter is what its owner counted. Base units: bytes and seconds. Labels: machines (a pool has at most 256) and fixed words.
 *
 * Names are a promise to whoever has built a dashboard on them.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import type { HostInfo, HostOverview } from './protocol.ts';
import type { HostService } from './service.ts';

const PAGE_BYTES = 4096;

/** Value, or value by label values in the order of the label names. */
type Sample = readonly [value: number, ...labels: string[]];

class Page {
  readonly #registry = new Registry();

  gauge(name: string, help: string, samples: number | readonly Sample[], ...labelNames: string[]): void {
    const gauge = new Gauge({ name, help, labelNames, registers: [this.#registry] });
    for (const [value, ...labels] of typeof samples === 'number' ? [[samples] as const] : samples)
      gauge.labels(...labels).set(value);
  }

  counter(name: string, help: string, samples: number | readonly Sample[], ...labelNames: string[]): void {
    const counter = new Counter({ name, help, labelNames, registers: [this.#registry] });
    for (const [value, ...labels] of typeof samples === 'number' ? [[samples] as const] : samples)
      counter.labels(...labels).inc(value);
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

export async function metricsText(service: HostService): Promise<string> {
  const [info, overview] = await Promise.all([service.info(), service.overview()]);
  const page = new Page();
  addProcess(page, info, overview);
  addPool(page, overview);
  addManager(page, overview);
  addTranslation(page, overview);
  addMachines(page, overview);
  return page.text();
}

function addProcess(page: Page, info: HostInfo, { memory }: HostOverview): void {
  const { user, system } = process.cpuUsage();
  page.gauge('shoal_build_info', 'Always 1; the version of the host.', [[1, info.version]], 'version');
  page.gauge('process_start_time_seconds', 'When the host was started, in seconds since 1970.', info.startedAtMs / 1000);
  page.counter('process_cpu_seconds_total', 'CPU time of the host process.', (user + system) / 1e6);
  page.gauge('process_resident_memory_bytes', 'Resident memory of the host process.', memory.residentBytes);
}

function addPool(page: Page, { memory }: HostOverview): void {
  const { framesByState: frames } = memory;
  page.gauge('shoal_pool_size_bytes', 'Guest frames that the pool may hold.', memory.poolBytes);
  page.gauge('shoal_pool_promised_bytes', 'RAM that all machines were promised.', memory.promisedBytes);
  page.gauge(
    'shoal_pool_frames_bytes',
    'Frames of the pool by state.',
    [
      [frames.private * PAGE_BYTES, 'private'],
      [frames.shared * PAGE_BYTES, 'shared'],
      [frames.handy * PAGE_BYTES, 'handy'],
      [frames.free * PAGE_BYTES, 'free'],
    ],
    'state',
  );
  page.gauge('shoal_pool_used_bytes', 'Frames taken from the pool.', memory.framesInUse * PAGE_BYTES);
  page.gauge('shoal_pool_used_peak_bytes', 'Most frames that were ever taken from the pool.', memory.framesPeak * PAGE_BYTES);
  page.gauge('shoal_pool_tables_bytes', 'Page tables of all machines.', memory.tableBytes);
}

function addManager(page: Page, { memory: { manager } }: HostOverview): void {
  const pages = (count: number): number => count * PAGE_BYTES;
  page.counter('shoal_manager_cpu_seconds_total', 'CPU time spent on finding memory to win.', manager.cpuMs / 1000);
  page.counter(
    'shoal_manager_fusion_cpu_seconds_total',
    'The part of it for finding and merging equal pages.',
    manager.fusionCpuMs / 1000,
  );
  page.counter('shoal_manager_scanned_bytes_total', 'Guest pages hashed or tested for zero.', manager.scannedBytes);
  page.counter('shoal_manager_compared_bytes_total', 'Guest pages compared with one that looked equal.', manager.comparedBytes);
  page.counter('shoal_manager_passes_total', 'Whole passes over the pages of all machines.', manager.passes);
  page.counter(
    'shoal_manager_reclaimed_bytes_total',
    'Guest pages whose frame was won, by how.',
    [
      [pages(manager.zeroedPages), 'zero'],
      [pages(manager.mergedPages), 'share'],
      [pages(manager.droppedPages), 'drop'],
      [pages(manager.balloonedPages), 'balloon'],
      [pages(manager.compressedPages), 'compress'],
      [pages(manager.swappedPages), 'swap'],
    ],
    'action',
  );
  page.counter('shoal_manager_moved_bytes_total', 'Pages moved so that a chunk becomes free.', pages(manager.movedPages));
  page.counter('shoal_manager_brought_bytes_total', 'Absent pages that came back at a touch.', pages(manager.broughtPages));
  page.counter('shoal_manager_broken_merges_total', 'Merged pages that were written afterwards.', manager.brokenMerges);
  page.counter('shoal_manager_refused_nominations_total', 'Pages that their owner refused to treat.', manager.refusedNominations);
  page.gauge('shoal_store_compressed_bytes', 'Compressed pages in the page store.', manager.storeBytes);
  page.gauge('shoal_store_frames_bytes', 'Frames of the pool that the page store takes.', pages(manager.storeFrames));
  page.gauge('shoal_swap_used_bytes', 'Bytes in use of the swap file.', manager.swapBytes);
  page.gauge('shoal_swap_size_bytes', 'Size of the swap file; 0 when there is none.', manager.swapCapacityBytes);
}

/** Nothing where nothing is translated. */
function addTranslation(page: Page, { translation }: HostOverview): void {
  if (translation === null) return;
  const { asked, answered, known, inherited } = translation;
  page.counter('shoal_translation_lookups_total', 'Regions that machines came to need.', asked + inherited);
  page.counter(
    'shoal_translation_shared_lookups_total',
    'The part of them that had been made for another machine.',
    known + inherited,
  );
  page.gauge('shoal_translation_pending_regions', 'Regions that were asked for and have not come yet.', asked - answered);
  page.counter('shoal_translation_made_regions_total', 'Regions that were translated.', translation.madeRegions);
  page.counter('shoal_translation_evicted_regions_total', 'Regions that a vCPU thread let go of.', translation.evicted);
  page.gauge('shoal_translation_regions', 'Regions that vCPU threads can enter.', translation.regions);
  page.gauge('shoal_translation_webassembly_bytes', 'Their WebAssembly.', translation.bytes);
  page.gauge('shoal_translation_code_bytes', 'The guest code that they were made of.', translation.codeBytes);
  page.gauge('shoal_translation_library_bytes', 'WebAssembly and guest code that the library keeps.', translation.libraryBytes);
  page.counter(
    'shoal_translation_seconds_total',
    'Time that vCPU threads spent on taking regions and letting go of them.',
    translation.workMs / 1000,
  );
  page.counter('shoal_translation_pauses_total', 'How many times they spent it.', translation.intervals);
  page.gauge('shoal_translation_longest_pause_seconds', 'The longest of these times.', translation.longestMs / 1000);
}

function addMachines(page: Page, { machines }: HostOverview): void {
  const states = ['created', 'running', 'paused', 'waiting', 'stopped', 'failed'] as const;
  page.gauge(
    'shoal_machines',
    'Machines by state.',
    states.map((state) => [machines.filter((machine) => machine.state === state).length, state]),
    'state',
  );
  page.gauge(
    'shoal_vm_memory_bytes',
    'Guest memory of a machine by state, and frames kept handy for it and its page tables.',
    machines.flatMap(({ name, memory }): Sample[] => [
      [memory.zeroBytes, name, 'zero'],
      [memory.privateBytes, name, 'private'],
      [memory.sharedBytes, name, 'shared'],
      [memory.balloonedBytes, name, 'ballooned'],
      [memory.absentBytes, name, 'absent'],
      [memory.handyBytes, name, 'handy'],
      [memory.tableBytes, name, 'tables'],
    ]),
    'vm',
    'state',
  );
  page.gauge(
    'shoal_vm_promised_bytes',
    'RAM that a machine believes it has.',
    machines.map(({ name, memory }) => [memory.promisedBytes, name]),
    'vm',
  );
  page.counter(
    'shoal_vm_returned_bytes_total',
    'Memory that a machine gave back (balloon, free page reporting, reset).',
    machines.map(({ name, memory }) => [memory.returnedBytes, name]),
    'vm',
  );
  page.counter(
    'shoal_vm_cpu_seconds_total',
    'CPU time that the hart of a machine took.',
    machines.map(({ name, memory }) => [memory.cpuMs / 1000, name]),
    'vm',
  );
  page.gauge(
    'shoal_vm_minimum_bytes',
    'Memory that reclaim leaves a machine; 0 for no minimum.',
    machines.map(({ name, memory }) => [memory.minimumBytes, name]),
    'vm',
  );
  page.gauge(
    'shoal_vm_maximum_bytes',
    'Memory beyond which a machine is the first to give; 0 for no maximum.',
    machines.map(({ name, memory }) => [memory.maximumBytes, name]),
    'vm',
  );
  page.gauge(
    'shoal_vm_shares',
    'Weight of a machine when there is not enough memory for all.',
    machines.map(({ name, memory }) => [memory.shares, name]),
    'vm',
  );
  page.gauge(
    'shoal_vm_waiting',
    '1 while a machine waits for memory.',
    machines.map(({ name, state }) => [state === 'waiting' ? 1 : 0, name]),
    'vm',
  );
}
