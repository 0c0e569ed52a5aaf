/** A page of a guest as people name it. */
import { ShoalError } from '../base/errors.ts';
import { PAGE_SIZE } from '../base/numbers.ts';
import { RAM_BASE } from '../layout/machine.ts';

/** `0x80200000`, `page:512` or a number → a guest-physical address. Throws `bad-argument` for anything else. */
export function parsePageAddress(text: number | string): number {
  const [, hex, page] = /^(?:(0x[0-9a-f]{1,13})|page:(\d{1,12}))$/i.exec(String(text)) ?? [];
  const address =
    typeof text === 'number'
      ? text
      : hex !== undefined
        ? Number(hex)
        : page !== undefined
          ? RAM_BASE + Number(page) * PAGE_SIZE
          : -1;
  if (Number.isSafeInteger(address) && address >= 0) return address;
  throw new ShoalError(
    'bad-argument',
    `“${text}” is not a page; give a guest-physical address such as 0x${RAM_BASE.toString(16)}, or page:N counted from the begin of RAM.`,
  );
}
