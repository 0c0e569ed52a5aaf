/** Random Sv39 tables and accesses on our hart and on QEMU: causes, addresses, values, A and D bits, memory. */
import { describe, expect, it } from 'vitest';
import {
  ACCESS_KINDS,
  ACCESSES_PER_GROUP,
  type Access,
  type AccessResult,
  type Group,
  type GroupResult,
  randomGroup,
} from './paging-cases.ts';
import { hartPaging } from './paging-hart.ts';
import { qemuPaging } from './paging-qemu.ts';
import { Random } from './random.ts';
import { GCC, QEMU_SYSTEM, temporaryFolder, whyUnavailable } from './toolchain.ts';

const FIRST_SEED = Number(process.env.ORACLE_SEED ?? 1);
const GROUPS = Number(process.env.ORACLE_GROUPS ?? 1500);

const unavailable = whyUnavailable(GCC, QEMU_SYSTEM);
if (unavailable) console.log(`paging against QEMU ${unavailable}`);

function describeAccess({ kind, va, user, sum, mxr }: Access): string {
  return `${ACCESS_KINDS[kind].text} at ${va.toString(16)} in ${user ? 'U' : 'S'}-mode SUM ${Number(sum)} MXR ${Number(mxr)}`;
}
const show = ({ cause, trapValue, value, tableHash }: AccessResult): string =>
  `cause ${cause} at ${trapValue.toString(16)}, value ${value.toString(16)}, tables ${tableHash.toString(16)}`;

function differences(group: Group, ours: GroupResult, qemu: GroupResult): string[] {
  const i = ours.accesses.findIndex((result, k) => show(result) !== show(qemu.accesses[k]));
  if (i >= 0)
    return [
      `seed ${group.seed} access ${i}: ${describeAccess(group.accesses[i])}: ${show(ours.accesses[i])}; QEMU ${show(qemu.accesses[i])}`,
    ];
  return ours.dataHash === qemu.dataHash
    ? []
    : [`seed ${group.seed}: data ${ours.dataHash.toString(16)}, QEMU ${qemu.dataHash.toString(16)}`];
}

describe.skipIf(unavailable)('Sv39 against QEMU', () => {
  it('agrees on every access', { timeout: 180_000 }, async () => {
    using folder = temporaryFolder();
    const groups = Array.from({ length: GROUPS }, (_, i) => randomGroup(FIRST_SEED + i, new Random(FIRST_SEED + i)));
    const qemu = qemuPaging(folder.path)(groups);
    const ours = (await hartPaging())(groups);
    expect(groups.flatMap((group, i) => differences(group, ours[i], qemu[i])).slice(0, 10)).toEqual([]);
    const results = ours.flatMap(({ accesses }) => accesses);
    const causes = Map.groupBy(results, ({ cause }) => cause);
    // Each way that an access can end is met often enough for the comparison to mean something.
    for (const cause of [0, 3, 4, 5, 6, 7, 12, 13, 15])
      expect(causes.get(cause)?.length ?? 0, `cause ${cause}`).toBeGreaterThan(20);
    console.log(
      `${GROUPS * ACCESSES_PER_GROUP} accesses through random Sv39 tables, no difference; ${[...causes].map(([cause, all]) => `cause ${cause}: ${all.length}`).join(', ')}`,
    );
  });
});
