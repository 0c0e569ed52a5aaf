/**
 * Composes sh code that the guest's agent runs.
 *
 * Code is carried as a "binary string", one character per byte, because file names and arguments may hold any bytes but NUL.
 */
import { ShoalError } from '../../base/errors.ts';

declare const shellCode: unique symbol;
/** POSIX shell code, one character (0–255) per byte. */
export type ShellCode = string & { readonly [shellCode]: true };
/** Text is sent as UTF-8; bytes as they are. */
export type ShellWord = string | Uint8Array;

export interface CommandOptions {
  /** Working directory; default is `/`. */
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** A user's name in the guest; default is root. */
  readonly user?: string;
}

const BUSYBOX = '/lib/shoal/busybox';

function bytesOf(word: ShellWord): string {
  const bytes = typeof word === 'string' ? Buffer.from(word, 'utf8') : Buffer.from(word.buffer, word.byteOffset, word.length);
  if (bytes.includes(0)) throw new ShoalError('bad-argument', 'A command or file name for a guest must not contain a NUL byte.');
  return bytes.toString('latin1');
}

/** One word of shell code that stands for exactly these bytes. */
export const quote = (word: ShellWord): ShellCode => quoteCode(bytesOf(word) as ShellCode);

/** One word that stands for this code. */
export const quoteCode = (code: string): ShellCode => `'${code.replaceAll("'", "'\\''")}'` as ShellCode;

/** `sh` template: literal parts are code, inserted values are quoted words. */
export function sh(parts: TemplateStringsArray, ...words: readonly (ShellWord | readonly ShellWord[])[]): ShellCode {
  let code = parts[0] as string;
  for (const [index, word] of words.entries()) {
    code += Array.isArray(word) ? word.map((one) => quote(one)).join(' ') : quote(word as ShellWord);
    code += parts[index + 1];
  }
  return code as ShellCode;
}

/** Code that runs `command` (a string is sh code, an array a program and its arguments) as the options say. */
export function composeCommand(command: string | readonly string[], options: CommandOptions): ShellCode {
  const lines: string[] = [];
  if (options.cwd !== undefined) lines.push(`cd ${quote(options.cwd)} || exit 126`);
  for (const [name, value] of Object.entries(options.env ?? {})) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw new ShoalError('bad-argument', `"${name}" cannot be the name of an environment variable in a guest.`);
    }
    lines.push(`export ${name}=${quote(value)}`);
  }
  const code = typeof command === 'string' ? bytesOf(command) : argumentVector(command);
  if (options.user === undefined || options.user === 'root') lines.push(code);
  else lines.push(`exec ${BUSYBOX} su -s /bin/sh -c ${quoteCode(code)} ${userName(options.user)}`);
  return lines.join('\n') as ShellCode;
}

function argumentVector(command: readonly string[]): string {
  if (command.length === 0 || command[0] === '') throw new ShoalError('bad-argument', 'A command needs the name of a program.');
  return `exec ${command.map((word) => quote(word)).join(' ')}`;
}

function userName(user: string): ShellCode {
  if (!/^[A-Za-z_][A-Za-z0-9_.-]*$/.test(user))
    throw new ShoalError('bad-argument', `"${user}" cannot be the name of a user in a guest.`);
  return quote(user);
}
