// Commands as streams: input from the host, output as it comes, a deadline, and exit codes that are results.
import { Host } from 'shoal';

await using host = await Host.open({ memory: '512M' });
await using vm = await host.run({ memory: '256M' });

const sorted = await vm.exec('sort -n | uniq -c', { stdin: '3\n1\n3\n' });
console.log(sorted.stdout);

const counting = vm.exec('for i in 1 2 3; do echo $i; done');
for await (const chunk of counting.stdout) console.log('came:', Buffer.from(chunk).toString().trim().replaceAll('\n', ' '));
console.log('exit code', (await counting).exitCode);

const endless = await vm.exec(['sleep', '1000'], { timeoutMs: 500 });
console.log('stopped by its deadline:', endless.timedOut);

const missing = await vm.exec('no-such-command');
console.log(missing.exitCode, missing.stderr.trim());
