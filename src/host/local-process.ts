/** A guest command with the two things the host adds: a deadline, and what happens when the caller goes away. */
import type { AgentProcess } from './guest-agent.ts';
import type { ExecRequest, ExitStatus, TerminalSize } from './protocol.ts';
import type { ByteSink, GuestProcess } from './service.ts';

/** After a hang-up signal a command has this long to end by itself. */
const HANGUP_GRACE_MS = 1000;

export class LocalProcess implements GuestProcess {
  readonly stdin: ByteSink;
  readonly stdout: AsyncIterable<Uint8Array>;
  readonly stderr: AsyncIterable<Uint8Array>;
  readonly exit: Promise<ExitStatus>;
  readonly #process: AgentProcess;
  readonly #detached: boolean;
  #ended = false;
  #abandoned = false;
  #timedOut = false;

  constructor(process: AgentProcess, request: ExecRequest) {
    this.#process = process;
    this.#detached = request.detached === true;
    this.stdin = process.stdin;
    this.stdout = process.stdout;
    this.stderr = process.stderr;
    this.exit = this.#follow(request.timeoutMs);
    this.exit.catch(() => {});
  }

  async kill(signal: string): Promise<void> {
    if (!this.#ended) await this.#process.kill(signal);
  }

  resize(size: TerminalSize): void {
    if (!this.#ended) this.#process.resize(size);
  }

  abandon(): void {
    if (this.#ended || this.#abandoned) return;
    this.#abandoned = true;
    this.#process.stdin.end();
    if (!this.#detached) void this.#hangUp();
  }

  async #hangUp(): Promise<void> {
    await this.kill('SIGHUP').catch(() => {});
    const timer = setTimeout(() => void this.kill('SIGKILL').catch(() => {}), HANGUP_GRACE_MS);
    await this.exit.catch(() => {});
    clearTimeout(timer);
  }

  async #follow(timeoutMs: number | undefined): Promise<ExitStatus> {
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            this.#timedOut = true;
            void this.kill('SIGKILL').catch(() => {});
          }, timeoutMs);
    try {
      const status = await this.#process.exit;
      return { ...status, timedOut: this.#timedOut };
    } finally {
      this.#ended = true;
      clearTimeout(timer);
    }
  }
}
