/** The demo's picture: bars of memory, a row per guest, the last events. Text in, text out; who prints it is not its business. */
import { styleText } from 'node:util';
import { formatSize } from '../../host/size.ts';
import { checksumsOk, type DemoModel, type GuestView } from './model.ts';

const BAR_WIDTH = 40;
const EVENTS_SHOWN = 8;

/** Lines of at most `columns` visible characters. */
export function renderScreen(model: DemoModel, columns: number): string {
  const lines = [
    styleText('bold', headline(model)),
    '',
    ...renderBars(model),
    '',
    renderHeader(),
    ...model.guests.map(renderGuest),
    '',
  ];
  for (const event of model.events.slice(-EVENTS_SHOWN)) lines.push(event.slice(0, columns - 1));
  return lines.join('\n');
}

function headline(model: DemoModel): string {
  const up = model.guests.filter((guest) => guest.firstLineMs !== undefined).length;
  const seconds = ((performance.now() - model.startedAtMs) / 1000).toFixed(0);
  return `shoal: ${up} of ${model.guests.length} Linux guests up in one process · ${seconds} s`;
}

function renderBars(model: DemoModel): string[] {
  const { pool } = model;
  if (pool === undefined) return ['opening the pool…'];
  const rows: [string, number, 'cyan' | 'blue' | 'green' | 'magenta'][] = [
    ['promised', pool.promisedBytes, 'cyan'],
    ['pool', pool.poolBytes, 'blue'],
    ['in use', pool.framesInUse * 4096, 'green'],
    ['host RSS', pool.residentBytes, 'magenta'],
  ];
  const scale = Math.max(...rows.map(([, bytes]) => bytes), 1);
  return rows.map(([label, bytes, colour]) => `${label.padEnd(9)} ${bar(bytes / scale, colour)} ${formatSize(bytes)}`);
}

function bar(share: number, colour: 'cyan' | 'blue' | 'green' | 'magenta'): string {
  const filled = Math.min(BAR_WIDTH, Math.round(share * BAR_WIDTH));
  return styleText(colour, '█'.repeat(filled)) + styleText('dim', '░'.repeat(BAR_WIDTH - filled));
}

function renderHeader(): string {
  return styleText(
    'dim',
    `${'guest'.padEnd(6)}${'state'.padEnd(11)}${['private', 'shared', 'zero', 'returned'].map((word) => word.padStart(10)).join('')}  proof`,
  );
}

function renderGuest(guest: GuestView): string {
  const memory = guest.memory;
  const cells =
    memory === undefined
      ? ['', '', '', '']
      : [memory.privateBytes, memory.sharedBytes, memory.zeroBytes, memory.returnedBytes].map(formatSize);
  return `${guest.name.padEnd(6)}${guest.phase.padEnd(11)}${cells.map((cell) => cell.padStart(10)).join('')}  ${proof(guest)}`;
}

function proof(guest: GuestView): string {
  if (guest.phase === 'failed') return styleText('red', 'failed');
  if (checksumsOk(guest)) return styleText('green', '✓ busybox ✓ 32 MiB');
  return guest.busyboxOk ? styleText('green', '✓ busybox') : '';
}
