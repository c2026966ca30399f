import type { Termios } from "../syscalls/abi/termios.ts";

export interface WindowSize {
  readonly rows: number;
  readonly columns: number;
}

/**
 * A terminal of the host, with the host's own line discipline: who types, sees an echo, edits a line, interrupts. All
 * descriptors that lead to one terminal have the same object.
 */
export interface HostTerminal {
  /** Its device number, that of the terminal itself also where /dev/tty was opened. */
  readonly device: bigint;
  /** Its settings now (tcgetattr(3)). */
  attributes(): Termios;
  /** Changes its settings once what was written is through (tcsetattr(3), TCSADRAIN). @throws SyscallError EIO */
  setAttributes(attributes: Termios): void;
  windowSize(): WindowSize;
  setWindowSize(size: WindowSize): void;
  /**
   * What has been typed, at most `max` bytes, without waiting: a line at most, where the terminal makes lines. Undefined
   * if there is nothing; no bytes at the end of the file. @throws SyscallError EIO
   */
  read(max: number): Uint8Array | undefined;
  /** Writes some bytes and returns how many. @throws SyscallError EAGAIN if it takes none now, EIO */
  write(bytes: Uint8Array): number;
  /** Could something be read now, the end of the file or an error included? Undefined if the host can't tell. */
  readable?(): boolean | undefined;
  /** Calls `ready` once, later, when there is something to read. Nothing is taken out of the terminal. */
  watch(ready: () => void): void;
  unwatch(ready: () => void): void;
}

/** Where the host has put this process: process groups and sessions (credentials(7)), its controlling terminal. */
export interface HostJob {
  /** Process group. */
  readonly group: number;
  readonly session: number;
  /** Device number of the controlling terminal, 0n for none. */
  readonly terminal: bigint;
  /** Process group in the foreground of that terminal; -1 for none. */
  readonly foreground: number;
}
