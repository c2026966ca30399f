import type { HostFile } from "../../host/host.ts";
import type { Inheritance } from "../../host/processes.ts";
import { SIGNAL } from "../abi/signals.ts";
import type { FileStat } from "../abi/stat.ts";
import { FileDescription } from "../files/description.ts";
import type { IoVector } from "../files/io-vector.ts";
import type { Process } from "../process.ts";
import { CHANGES, ttyIoctl } from "./ioctl.ts";
import { Pty } from "./pty.ts";
import type { Tty } from "./tty.ts";

/** How a terminal was opened: what differs between the ways that lead to one terminal. */
export interface TtyEnd {
  readonly path: string;
  stat(): FileStat;
  readonly file?: HostFile;
  /** Its number on the host. */
  readonly descriptor?: number;
  /** Runs when it has been closed. */
  release?(): void;
}

/** A terminal, opened. */
export class TtyDescription extends FileDescription {
  readonly tty: Tty;
  readonly #end: TtyEnd;
  readonly #users: { count: number };

  /** @param users of the same end, if there are others already */
  constructor(tty: Tty, end: TtyEnd, flags: number, users = { count: 0 }) {
    super(flags, tty.queue);
    this.tty = tty;
    this.#end = end;
    this.#users = users;
    if (users.count++ === 0) tty.open();
  }

  override get canSignal(): boolean {
    return true;
  }

  override get path(): string {
    return this.#end.path;
  }

  override get host(): HostFile | undefined {
    return this.#end.file;
  }

  override get writesAll(): boolean {
    return true;
  }

  override stat(): FileStat {
    return this.#end.stat();
  }

  override inherit(): Inheritance | undefined {
    const descriptor = this.#end.descriptor ?? this.#end.file?.descriptor;
    return descriptor === undefined ? undefined : { kind: "host", descriptor };
  }

  override reopen(flags: number): FileDescription {
    return new TtyDescription(this.tty, this.#end, flags, this.#users);
  }

  override read(to: IoVector): number {
    return to.length === 0 ? 0 : this.tty.read(to, !this.nonblocking);
  }

  override write(from: IoVector): number {
    return this.tty.write(from);
  }

  override poll(): number {
    return this.tty.poll();
  }

  /** Who is in the background may not change a terminal of the machine's (tty_check_change()). */
  override waitsToChange(process: Process, request: number): boolean {
    const { tty } = this;
    return tty instanceof Pty && CHANGES.has(request) && !process.jobControl.mayUse(tty, SIGNAL.SIGTTOU);
  }

  override ioctl(process: Process, request: number, argument: number): number | undefined {
    return ttyIoctl(process, this.tty, request, argument);
  }

  override endRead(to: IoVector): void {
    this.tty.endRead(to);
  }

  protected override destroy(): void {
    if (--this.#users.count > 0) return;
    this.tty.close();
    this.#end.release?.();
    this.#end.file?.close();
  }
}
