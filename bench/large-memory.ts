/** What a promise of 32 GiB costs: the stock kernel in a 4 GiB arena, from its boot to 64 MiB that a program wrote and verified. */
import { install, noCompiler } from '../test/guests/guest-programs.ts';
import { MIB, openMachines, PAGE } from '../test/guests/machines.ts';
import { patternSum } from '../test/guests/pattern.ts';
import { report } from './report.ts';

const WRITTEN_MIB = 64;

await using machines = await openMachines({ memory: '4G' });
const [vm] = await machines.boot(1, '32G');
const totalKib = Number(/MemTotal:\s+(\d+) kB/.exec((await vm.exec('cat /proc/meminfo')).stdout)?.[1]);
const booted = await machines.host.memory();
const account = await vm.memory();
let physical = noCompiler ?? '';
if (noCompiler === undefined) {
  await install(vm, 'physical');
  const { exitCode, stdout } = await vm.exec(`physical ${WRITTEN_MIB} 7`);
  physical = stdout;
  if (exitCode !== 0 || !stdout.includes(`sum ${patternSum(WRITTEN_MIB, 7)}\n`)) {
    process.stderr.write(`the guest's memory is not what was written: ${stdout}\n`);
    process.exitCode = 1;
  }
}
report(
  'a guest that is promised 32 GiB',
  [
    { name: 'MemTotal', value: totalKib / 2 ** 20, unit: 'GiB', bar: 31, atMost: false },
    { name: 'frames in use after its boot', value: (booted.framesInUse * PAGE) / MIB, unit: 'MiB', bar: 900, atMost: true },
  ],
  { poolBytes: booted.poolBytes, framesPeak: booted.framesPeak, memory: account, physical: physical.trim().split('\n') },
);
