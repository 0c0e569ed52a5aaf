/** Shows a running demo: a live screen on a terminal, plain lines elsewhere, nothing but lines on stderr for --json. */
import type { Host, Vm } from '../../host/index.ts';
import type { DemoModel } from './model.ts';
import { renderScreen } from './screen.ts';

const SAMPLE_MS = 200;

export interface Display {
  /** Something happened. */
  emit(event: string): void;
  /** Last picture; nothing is drawn afterwards. */
  stop(): Promise<void>;
}

/** Samples memory of the host and its machines into `model` and draws it until stopped. */
export async function startDisplay(host: Host, model: DemoModel, mode: 'live' | 'lines' | 'json'): Promise<Display> {
  // No other command waits for this to be loaded.
  const { createLogUpdate } = await import('log-update');
  const screen = createLogUpdate(process.stdout);
  const stream = mode === 'json' ? process.stderr : process.stdout;
  let vms: Vm[] = [];
  let sampling: Promise<void> | undefined;
  const sample = async (): Promise<void> => {
    if (vms.length < model.guests.length) vms = await host.vms();
    model.pool = await host.memory();
    model.residentPeakBytes = Math.max(model.residentPeakBytes, model.pool.residentBytes);
    for (const guest of model.guests) guest.memory = await vms.find((vm) => vm.name === guest.name)?.memory();
    if (mode === 'live') screen(renderScreen(model, process.stdout.columns || 80));
  };
  const tick = (): void => {
    // A sample that takes longer than the interval is not overtaken.
    sampling ??= sample()
      .catch(() => {})
      .finally(() => {
        sampling = undefined;
      });
  };
  const timer = setInterval(tick, SAMPLE_MS);
  tick();
  return {
    emit: (event) => {
      const seconds = ((performance.now() - model.startedAtMs) / 1000).toFixed(1).padStart(5);
      const line = `${seconds} s  ${event}`;
      model.events.push(line);
      if (mode !== 'live') stream.write(`${line}\n`);
    },
    stop: async () => {
      clearInterval(timer);
      await sampling;
      await sample().catch(() => {});
      if (mode === 'live') screen.done();
    },
  };
}
