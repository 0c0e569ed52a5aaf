import { Host } from 'shoal';

await using host = await Host.open({ memory: '1G' }); // the pool that all machines of this process share
await using one = await host.run({ memory: '256M', name: 'one' });
await using two = await host.run({ memory: '256M', name: 'two' });

const [first, second] = await Promise.all([one.exec('uname -srm'), two.exec(['cat', '/proc/uptime'])]);
console.log(first.stdout.trim(), '|', second.exitCode);

await one.files.write('/tmp/words', 'a shoal of small machines\n');
const count = await one.exec('wc -w < /tmp/words');
console.log(`${count.stdout.trim()} words`);

const memory = await host.memory();
console.log(`promised ${memory.promisedBytes / 2 ** 20} MiB, in use ${(memory.framesInUse * 4096) / 2 ** 20} MiB`);
