/** The end of the demo on a terminal: one more guest, and a shell in it for whoever presses Enter. */
import type { Host, Vm } from '../../host/index.ts';
import { ESCAPE_HINT } from '../escape-key.ts';
import { lendTerminal, terminalSize } from '../terminal.ts';

const OFFER_MS = 10_000;

/** Offers a shell for ten seconds; the guest boots meanwhile. */
export async function offerShell(host: Host, guest: { image: string; memory: number; name: string }): Promise<void> {
  const starting = host.run(guest);
  starting.catch(() => {});
  process.stdout.write(`\nEnter: shell in guest ${guest.name.slice(1)} · q: quit `);
  const wanted = await askKey();
  process.stdout.write('\n');
  if (wanted) await openShell(await starting);
}

/** True for Enter, false for q, Ctrl-C, or no key in time. */
function askKey(): Promise<boolean> {
  const { stdin } = process;
  return new Promise((resolve) => {
    const finish = (wanted: boolean): void => {
      clearTimeout(timer);
      stdin.off('data', onKey);
      stdin.setRawMode(false);
      stdin.pause();
      resolve(wanted);
    };
    const onKey = (key: Buffer): void => {
      const text = key.toString();
      if (/[\r\n]/.test(text)) finish(true);
      else if (/[q\x03\x04\x1b]/i.test(text)) finish(false);
    };
    const timer = setTimeout(() => finish(false), OFFER_MS);
    stdin.setRawMode(true);
    stdin.on('data', onKey);
    stdin.resume();
  });
}

async function openShell(vm: Vm): Promise<void> {
  process.stdout.write(`${vm.name} is booting; “exit” ends the shell, ${ESCAPE_HINT}\n`);
  const shell = vm.exec(['sh', '-l'], { stdin: 'pipe', tty: terminalSize() });
  await shell.started;
  await lendTerminal({
    output: shell.stdout,
    write: (data) => shell.stdin.write(data),
    resize: (columns, rows) => void shell.resize(columns, rows).catch(() => {}),
  });
  process.stdout.write('\r\n');
}
